"""Rollups: what the ledger sums to by quarter hours, days and months, kept with every block that is booked.

The caller of `add` holds the lock of the chain's head, so nobody else writes these tables. Days and
months are those of one time zone, which the database remembers. Another one is taken on when `serve` starts
with it: they are summed anew then, from the quarter hours, which make up the days of every zone in use.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from operator import attrgetter
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    Executable,
    Select,
    Table,
    TableValuedAlias,
    Text,
    bindparam,
    cast,
    delete,
    func,
    insert,
    select,
    text,
    true,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB

from proxy.core.usage import MODALITIES
from proxy.core.windows import midnight
from proxy.store.columns import from_micros, storable, to_micros
from proxy.store.database import writing
from proxy.store.instants import parse_zone
from proxy.store.schema import (
    chain_head,
    rollup_day,
    rollup_group,
    rollup_month,
    rollup_quarter,
    rollup_zone,
)

QUARTER = 900_000_000  # microseconds
AMOUNTS = ("list", "cost", "billed")
FACTS = ("entries", "quantity", *(f"{name}_{half}" for name in AMOUNTS for half in ("high", "low")))
DIMENSIONS = tuple(column.name for column in rollup_group.columns if column.name not in ("id", "key"))
CELLS_PER_PAGE = 10_000
_HALF = 1 << 32


class Part(StrEnum):
    """Which part of entries a cell sums."""

    ENTRY = "entry"
    BARE = "bare"
    MODALITY = "modality"
    METER = "meter"


class Cell:
    """A sum in the making: entries, quantity, and the amounts in the order of `AMOUNTS`."""

    __slots__ = ("amounts", "entries", "quantity")

    def __init__(self) -> None:
        self.entries = 0
        self.quantity = 0
        self.amounts = [0, 0, 0]

    def add(self, entries: int, quantity: int, amounts: Sequence[int]) -> None:
        self.entries += entries
        self.quantity += quantity
        own = self.amounts
        own[0] += amounts[0]
        own[1] += amounts[1]
        own[2] += amounts[2]

    def facts(self) -> tuple[int, ...]:
        """Return it in the order of `FACTS`."""
        return (self.entries, self.quantity, *(half for one in self.amounts for half in divmod(one, _HALF)))


Key = tuple[Any, ...]  # the values of DIMENSIONS
Cells = dict[tuple[int, Key], Cell]  # by the quarter hour, in microseconds
Stored = dict[tuple[int, int], Cell]  # by the start, in microseconds, and the group's id


def add(
    connection: Connection, entries: Sequence[Mapping[str, Any]], lines: Iterable[Mapping[str, Any]]
) -> None:
    """Count rows that are new in the ledger."""
    cells = fold(entries, lines)
    ids = _group_ids(connection, {key for _, key in cells})
    quarters = {(starts_at, ids[key]): cell for (starts_at, key), cell in cells.items()}
    _upsert(connection, rollup_quarter, quarters)
    _add_longer(connection, quarters, zone_of(connection))


# --- From entries to cells


def fold(entries: Sequence[Mapping[str, Any]], lines: Iterable[Mapping[str, Any]]) -> Cells:
    """Return what ledger rows sum to, quarter hour by quarter hour and group by group."""
    lines_of: dict[int, list[Mapping[str, Any]]] = {}
    for line in lines:
        lines_of.setdefault(line["entry_id"], []).append(line)
    cells: Cells = {}
    for entry in entries:
        rated = entry["cost_nanousd"] is not None
        quarter = to_micros(entry["occurred_at"]) // QUARTER * QUARTER
        who = (
            entry["tenant_id"],
            entry["project_id"],
            entry["api_key_id"],
            entry["model"],
            str(entry["kind"]),
            str(entry["role"]),
            entry["estimated"],
            rated,
        )
        for part, quantity, amounts in _parts(entry, lines_of.get(entry["id"], ()), rated):
            cell = cells.get((quarter, who + part))
            if cell is None:
                cell = cells[quarter, who + part] = Cell()
            cell.add(1, quantity, amounts)
    return cells


_NOTHING = (0, 0, 0)


def _parts(
    entry: Mapping[str, Any], lines: Sequence[Mapping[str, Any]], rated: bool
) -> Iterator[tuple[Key, int, Sequence[int]]]:
    """Yield the parts of an entry: (part, modality, meter), the quantity of a meter, amounts."""
    whole = _amounts(entry) if rated else _NOTHING
    yield (Part.ENTRY.value, None, None), 0, whole
    if not lines:
        yield (Part.BARE.value, None, None), 0, whole
    modalities: dict[str, Cell] = {}
    for line in lines:
        modality = MODALITIES[line["meter"]].value
        amounts = _amounts(line) if rated else _NOTHING
        yield (Part.METER.value, modality, str(line["meter"])), line["quantity"], amounts
        modalities.setdefault(modality, Cell()).add(0, 0, amounts)
    for modality, own in modalities.items():
        yield (Part.MODALITY.value, modality, None), 0, own.amounts


def _amounts(row: Mapping[str, Any]) -> tuple[int, int, int]:
    return row["list_nanousd"] or 0, row["cost_nanousd"] or 0, row["billed_nanousd"] or 0


def _add_longer(connection: Connection, quarters: Stored, zone: ZoneInfo) -> None:
    """Add the cells of quarter hours to those of days and months."""
    days = _longer(quarters, functools.partial(day_start, zone))
    _upsert(connection, rollup_day, days)
    _upsert(connection, rollup_month, _longer(days, functools.partial(month_start, zone)))


def _longer(cells: Stored, start_of: Callable[[datetime], datetime]) -> Stored:
    """Return what `cells` come to in the longer times that they lie in."""
    starts: dict[int, int] = {}
    longer: Stored = {}
    for (starts_at, group_id), cell in cells.items():
        if starts_at not in starts:
            starts[starts_at] = to_micros(start_of(from_micros(starts_at)))
        own = longer.setdefault((starts[starts_at], group_id), Cell())
        own.add(cell.entries, cell.quantity, cell.amounts)
    return longer


def quarter_start(at: datetime) -> datetime:
    """Return when the quarter hour began that the instant `at` lies in."""
    return from_micros(to_micros(at) // QUARTER * QUARTER)


def day_start(zone: ZoneInfo, at: datetime) -> datetime:
    """Return when the day in `zone` began that the instant `at` lies in."""
    return midnight(zone, at.astimezone(zone).date())


def month_start(zone: ZoneInfo, at: datetime) -> datetime:
    """Return when the month in `zone` began that the instant `at` lies in."""
    return midnight(zone, at.astimezone(zone).date().replace(day=1))


# --- Groups and cells in the database


def _group_ids(connection: Connection, groups: Iterable[Key]) -> dict[Key, int]:
    """Return the ids of these groups, new ones for those that are new."""
    keys = {group_key(group): group for group in groups}
    found = connection.execute(_find(connection.dialect.name), _elements(list(keys)))
    ids = {keys[row.key]: row.id for row in found}
    new = [name for name in sorted(keys) if keys[name] not in ids]
    if new:
        last = connection.execute(select(func.coalesce(func.max(rollup_group.c.id), 0))).scalar_one()
        rows = [
            {"id": number, "key": name, **dict(zip(DIMENSIONS, keys[name], strict=True))}
            for number, name in enumerate(new, last + 1)
        ]
        connection.execute(insert(rollup_group), rows)
        ids |= {keys[name]: last + number for number, name in enumerate(new, 1)}
    return ids


def group_key(group: Key) -> str:
    """Return a group as the text that it is found by, made of what the database can store."""
    kept = [storable(value) if isinstance(value, str) else value for value in group]
    return msgspec.json.encode(kept).decode()


def _upsert(connection: Connection, table: Table, cells: Stored) -> None:
    """Add `cells` to a table."""
    if cells:
        rows = [(*key, *cells[key].facts()) for key in sorted(cells)]
        connection.execute(_add_all(table, connection.dialect.name), _elements(rows))


# One statement for all cells of a posting, and made once: the poster shares its interpreter with the relay.


def _elements(values: Sequence[Any]) -> Mapping[str, str]:
    return {"elements": msgspec.json.encode(values).decode()}


@functools.cache
def _find(dialect: str) -> Select[Any]:
    """Find the groups whose keys are `elements`."""
    keys = _table(dialect)
    key = keys.c.value.op("#>>")(text("'{}'")) if dialect == "postgresql" else keys.c.value
    return select(rollup_group.c.key, rollup_group.c.id).join(keys, rollup_group.c.key == key)


@functools.cache
def _add_all(table: Table, dialect: str) -> Executable:
    """Add the cells that are `elements` to a table."""
    names = ("starts_at", "group_id", *FACTS)
    cells = _table(dialect)
    values = [_number(cells.c.value, place, dialect) for place in range(len(names))]
    rows = select(*values).where(true())  # `where`, or SQLite would take ON for a join's
    new = (postgresql if dialect == "postgresql" else sqlite).insert(table)
    sums = {name: table.c[name] + new.excluded[name] for name in FACTS}
    added: Executable = new.from_select(names, rows).on_conflict_do_update(
        index_elements=["starts_at", "group_id"], set_=sums
    )
    return added


def _table(dialect: str) -> TableValuedAlias:
    """Return the JSON array `elements` as a table with the column `value`."""
    array = bindparam("elements", type_=Text)
    if dialect == "postgresql":
        return func.jsonb_array_elements(cast(array, JSONB)).table_valued("value", name="given")
    return func.json_each(array).table_valued("value", name="given")


def _number(element: ColumnElement[Any], place: int, dialect: str) -> ColumnElement[Any]:
    if dialect == "postgresql":
        return cast(element.op("->>")(place), BigInteger)
    return func.json_extract(element, f"$[{place}]")


# --- The zone of the days


def zone_of(connection: Connection) -> ZoneInfo:
    """Return the zone that the days of `rollup_day` and the months of `rollup_month` are those of."""
    return parse_zone(connection.execute(_ZONE).scalar_one())


_ZONE = select(rollup_zone.c.zone)


def use_zone(engine: Engine, zone: ZoneInfo) -> None:
    """Sum days and months in `zone` from now on, and those before anew if they were another zone's."""
    with writing(engine) as connection:
        connection.execute(select(chain_head.c.id).with_for_update()).one()
        if zone_of(connection).key == zone.key:
            return
        connection.execute(update(rollup_zone).values(zone=zone.key))
        connection.execute(delete(rollup_day))
        connection.execute(delete(rollup_month))
        for quarters in _pages(connection):
            _add_longer(connection, quarters, zone)


def _pages(connection: Connection) -> Iterator[Stored]:
    """Yield all cells of `rollup_quarter`, some quarter hours at a time."""
    at = rollup_quarter.c.starts_at
    after = datetime.min.replace(tzinfo=UTC)
    while True:
        query = select(at).where(at > after).order_by(at).limit(CELLS_PER_PAGE)
        starts = connection.execute(query).scalars().all()
        if not starts:
            return
        own = connection.execute(select(rollup_quarter).where(at > after, at <= starts[-1]))
        yield {(to_micros(row.starts_at), row.group_id): cell_of(row) for row in own}
        after = starts[-1]


_highs_of = attrgetter(*(f"{name}_high" for name in AMOUNTS))
_lows_of = attrgetter(*(f"{name}_low" for name in AMOUNTS))


def cell_of(row: Any) -> Cell:
    """Return the cell that a row of `rollup_quarter` or `rollup_day` holds."""
    cell = Cell()
    halves = zip(_highs_of(row), _lows_of(row), strict=True)
    cell.add(row.entries, row.quantity, [(high << 32) + low for high, low in halves])
    return cell
