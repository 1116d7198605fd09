"""The chain of digests over the ledger, and what refuses to change it, or to reverse anything twice.

What was booked before becomes the first block, in format 1 as `proxy/store/chain.py` describes it.
"""

import hashlib
import time
from collections.abc import Sequence

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ENTRY = (
    "id entry_key digest session_id tenant_id project_id api_key_id end_user_id tags provider account"
    " upstream_session_id model kind role subject_id revision status status_reason estimated flags"
    " occurred_at posted_at period list_nanousd cost_nanousd billed_nanousd charge_nanousd"
    " estimate_nanousd held_nanousd corrects"
)
LINE = (
    "entry_id meter quantity unit price_nanousd price_per list_nanousd cost_nanousd billed_nanousd"
    " rate_card_id"
)
# What makes a row another row's: an INSERT OR REPLACE would delete that without asking its triggers.
APPEND_ONLY = {
    "ledger_entry": "id = NEW.id OR entry_key = NEW.entry_key",
    "ledger_line": "entry_id = NEW.entry_id AND meter = NEW.meter",
    "ledger_block": "id = NEW.id",
}


def upgrade() -> None:
    op.create_table(
        "ledger_block",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("first_entry", sa.BigInteger(), nullable=False),
        sa.Column("last_entry", sa.BigInteger(), nullable=False, unique=True),
        sa.Column("posted_at", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
    )
    op.add_column("chain_head", sa.Column("blocks", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("chain_head", sa.Column("digest", sa.Text(), nullable=False, server_default=sa.text("''")))
    op.add_column("ledger_entry", sa.Column("held_nanousd", sa.BigInteger()))
    reverses = sa.text("role = 'reversal'")
    op.create_index(
        "uq_ledger_entry_reversed",
        "ledger_entry",
        ["corrects"],
        unique=True,
        sqlite_where=reverses,
        postgresql_where=reverses,
    )
    _seal_what_is_booked()
    if op.get_bind().dialect.name == "postgresql":
        _refuse_on_postgresql()
    else:
        _refuse_on_sqlite()


def _seal_what_is_booked() -> None:
    connection = op.get_bind()
    last = connection.execute(sa.text("SELECT entries FROM chain_head")).scalar_one()
    if not last:
        return
    now = time.time_ns() // 1_000
    block = hashlib.sha256(_json([1, "", 1, 1, last, now]))
    slowly = {"yield_per": 1_000}
    lines = connection.execute(_all(LINE, "ledger_line", "entry_id"), execution_options=slowly)
    line = next(lines, None)
    for entry in connection.execute(_all(ENTRY, "ledger_entry", "id"), execution_options=slowly):
        block.update(_json(_values(ENTRY, entry)))
        own = []
        while line is not None and line.entry_id == entry.id:
            own.append(line)
            line = next(lines, None)
        for one in sorted(own, key=lambda line: str(line.meter)):
            block.update(_json(_values(LINE, one)))
    sealed = {"last": last, "now": now, "digest": block.hexdigest()}
    connection.execute(
        sa.text(
            "INSERT INTO ledger_block (id, first_entry, last_entry, posted_at, digest)"
            " VALUES (1, 1, :last, :now, :digest)"
        ),
        sealed,
    )
    connection.execute(sa.text("UPDATE chain_head SET blocks = 1, digest = :digest"), sealed)


def _all(columns: str, table: str, key: str) -> sa.TextClause:
    return sa.text(f"SELECT {', '.join(columns.split())} FROM {table} ORDER BY {key}")


def _values(columns: str, row: sa.Row[tuple[object, ...]]) -> list[object]:
    """Return a row's values; SQLite has no booleans of its own."""
    return [
        bool(value) if name == "estimated" else value
        for name, value in zip(columns.split(), row, strict=True)
    ]


def _json(values: list[object]) -> bytes:
    return msgspec.json.encode(values) + b"\n"


def _refuse_on_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION talkmeter_append_only() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION talkmeter_append_only()"
        )


def _refuse_on_sqlite() -> None:
    for table, same in APPEND_ONLY.items():
        refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        for act in ("UPDATE", "DELETE"):
            op.execute(f"CREATE TRIGGER {table}_no_{act.lower()} BEFORE {act} ON {table} {refuse}")
        op.execute(
            f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table}"
            f" WHEN EXISTS (SELECT 1 FROM {table} WHERE {same}) {refuse}"
        )
