"""Rollups: what the ledger sums to by quarter hours and by days, filled from what is booked.

Days are UTC's until `serve` starts with another PERIOD_TIMEZONE. `proxy/store/rollups.py` says the rest.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

PAGE_ENTRIES = 5_000
DAY = 86_400_000_000  # microseconds
QUARTER = 900_000_000
AMOUNTS = ("list_nanousd", "cost_nanousd", "billed_nanousd")
WHO = ["tenant_id", "project_id", "api_key_id", "model", "kind", "role"]
GROUP = [*WHO, "estimated", "rated", "part", "modality", "meter"]
FACTS = ["entries", "quantity", "list_high", "list_low", "cost_high", "cost_low", "billed_high", "billed_low"]

Cells = dict[tuple[int, int], list[int]]  # entries, quantity, and the three amounts


def upgrade() -> None:
    row_number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "rollup_group",
        sa.Column("id", row_number, primary_key=True, autoincrement=False),
        sa.Column("key", sa.Text(), nullable=False, unique=True),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text()),
        sa.Column("api_key_id", sa.Text()),
        sa.Column("model", sa.Text()),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("estimated", sa.Boolean(), nullable=False),
        sa.Column("rated", sa.Boolean(), nullable=False),
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("modality", sa.Text()),
        sa.Column("meter", sa.Text()),
    )
    for table in ("rollup_quarter", "rollup_day"):
        op.create_table(
            table,
            sa.Column("starts_at", sa.BigInteger(), primary_key=True, autoincrement=False),
            sa.Column("group_id", sa.BigInteger(), primary_key=True, autoincrement=False),
            *(sa.Column(name, sa.BigInteger(), nullable=False) for name in FACTS),
            sqlite_with_rowid=False,
        )
    op.create_table(
        "rollup_zone",
        sa.Column(
            "id",
            sa.Integer(),
            sa.CheckConstraint("id = 1", name="single"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("zone", sa.Text(), nullable=False),
    )
    op.execute("INSERT INTO rollup_zone (id, zone) VALUES (1, 'UTC')")
    _fill()


def _fill() -> None:
    ids: dict[str, int] = {}
    for entries in _pages():
        quarters: Cells = {}
        days: Cells = {}
        for entry, lines in entries:
            for group, facts in _parts(entry, lines):
                number = _group_id(ids, group)
                for cells, length in ((quarters, QUARTER), (days, DAY)):
                    starts_at = entry.occurred_at // length * length
                    cell = cells.setdefault((starts_at, number), [0] * len(facts))
                    cell[:] = map(sum, zip(cell, facts, strict=True))
        _add("rollup_quarter", quarters)
        _add("rollup_day", days)


def _pages() -> Iterator[list[tuple[sa.Row[Any], list[sa.Row[Any]]]]]:
    """Yield the entries in the order of the chain, some at a time, each with its lines."""
    connection = op.get_bind()
    after = 0
    while True:
        span = {"after": after, "upto": after + PAGE_ENTRIES}
        page = "> :after AND {0} <= :upto ORDER BY {0}"
        entries = connection.execute(
            sa.text(f"SELECT * FROM ledger_entry WHERE id {page.format('id')}"), span
        ).all()
        if not entries:
            return
        found = connection.execute(
            sa.text(f"SELECT * FROM ledger_line WHERE entry_id {page.format('entry_id')}"), span
        )
        lines = {entry_id: list(own) for entry_id, own in groupby(found, lambda line: line.entry_id)}
        yield [(entry, lines.get(entry.id, [])) for entry in entries]
        after += PAGE_ENTRIES


def _parts(entry: sa.Row[Any], lines: list[sa.Row[Any]]) -> Iterator[tuple[list[Any], list[int]]]:
    rated = entry.cost_nanousd is not None
    who = [getattr(entry, name) for name in WHO] + [bool(entry.estimated), rated]
    whole = _amounts(entry, rated)
    yield [*who, "entry", None, None], [1, 0, *whole]
    if not lines:
        yield [*who, "bare", None, None], [1, 0, *whole]
    modalities: dict[str, list[int]] = {}
    for line in lines:
        modality = "audio" if line.meter == "duration_ms" else line.meter.partition("_")[0]
        amounts = _amounts(line, rated)
        yield [*who, "meter", modality, line.meter], [1, line.quantity, *amounts]
        own = modalities.setdefault(modality, [0, 0, 0])
        own[:] = map(sum, zip(own, amounts, strict=True))
    for modality, amounts in modalities.items():
        yield [*who, "modality", modality, None], [1, 0, *amounts]


def _amounts(row: sa.Row[Any], rated: bool) -> list[int]:
    return [getattr(row, name) or 0 if rated else 0 for name in AMOUNTS]


def _group_id(ids: dict[str, int], group: list[Any]) -> int:
    key = msgspec.json.encode(group).decode()
    if key not in ids:
        ids[key] = len(ids) + 1
        row = {"id": ids[key], "key": key, **dict(zip(GROUP, group, strict=True))}
        names = ", ".join(row)
        values = ", ".join(f":{name}" for name in row)
        op.get_bind().execute(sa.text(f"INSERT INTO rollup_group ({names}) VALUES ({values})"), row)
    return ids[key]


def _add(table: str, cells: Cells) -> None:
    rows = []
    for (starts_at, group_id), (entries, quantity, *amounts) in sorted(cells.items()):
        halves = [half for amount in amounts for half in divmod(amount, 1 << 32)]
        facts = dict(zip(FACTS, [entries, quantity, *halves], strict=True))
        rows.append({"starts_at": starts_at, "group_id": group_id, **facts})
    names = ["starts_at", "group_id", *FACTS]
    sums = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in FACTS)
    op.get_bind().execute(
        sa.text(
            f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})"
            f" ON CONFLICT (starts_at, group_id) DO UPDATE SET {sums}"
        ),
        rows,
    )
