"""Whether rollups are what the ledger sums to: summed again in SQL, from entries and lines, day by day.

Of lines that are in archives, what they came to is kept and sealed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    Row,
    Select,
    Table,
    case,
    distinct,
    func,
    literal,
    null,
    select,
    type_coerce,
)

from proxy.store.columns import from_micros, to_micros
from proxy.store.database import reading
from proxy.store.groups import LINES
from proxy.store.rollups import (
    AMOUNTS,
    DIMENSIONS,
    QUARTER,
    Cell,
    Part,
    cell_of,
    day_start,
    group_key,
    month_start,
    quarter_start,
    zone_of,
)
from proxy.store.schema import (
    ledger_archive,
    ledger_archive_cell,
    ledger_entry,
    ledger_line,
    rollup_day,
    rollup_group,
    rollup_month,
    rollup_quarter,
)
from proxy.store.sums import exact, parts

_entry = ledger_entry.c
_FACTS = ("entries", "quantity", *(f"{name}_nanousd" for name in AMOUNTS))

Facts = tuple[int, ...]  # in the order of _FACTS
Cells = dict[tuple[int, tuple[Any, ...]], Facts]  # by start, in microseconds, and the values of DIMENSIONS


def rollup_fault(engine: Engine) -> str | None:
    """Return which cell of a rollup, of the first day that has one, is not what the ledger sums to.

    Each day, and then each month, is read in one short transaction, in which nothing is booked.
    """
    days = (_entry.occurred_at, rollup_quarter.c.starts_at, rollup_day.c.starts_at)
    months = (rollup_day.c.starts_at, rollup_month.c.starts_at)
    return _first_fault(engine, days, _day_fault) or _first_fault(engine, months, _month_fault)


# Looks at the day or month that an instant lies in; returns a fault, and where it ends.
Look = Callable[[Connection, datetime], tuple[str | None, datetime]]


def _first_fault(engine: Engine, known: Sequence[ColumnElement[Any]], look: Look) -> str | None:
    """Look at all that holds any of the `known` instants."""
    after = datetime.min
    while True:
        with reading(engine) as connection:
            first = _first(connection, known, after)
            if first is None:
                return None
            fault, after = look(connection, first)
        if fault is not None:
            return fault


def _day_fault(connection: Connection, first: datetime) -> tuple[str | None, datetime]:
    """Compare the day's quarter hours, and the day, with what is booked."""
    zone = zone_of(connection)
    day = day_start(zone, quarter_start(first))
    following = day_start(zone, day + timedelta(hours=36))
    start, end = _next_quarter(day), _next_quarter(following)
    wanted = _of_ledger(connection, start, end)
    fault = _difference(rollup_quarter, wanted, _stored(connection, rollup_quarter, start, end))
    days = _stored(connection, rollup_day, day, following)
    return fault or _difference(rollup_day, _in_one(wanted, day), days), end


def _month_fault(connection: Connection, first: datetime) -> tuple[str | None, datetime]:
    """Compare the month with its days, which are right."""
    zone = zone_of(connection)
    month = month_start(zone, first)
    following = month_start(zone, month + timedelta(days=31, hours=12))
    wanted = _in_one(_stored(connection, rollup_day, month, following), month)
    months = _stored(connection, rollup_month, month, following)
    return _difference(rollup_month, wanted, months), following


def _first(connection: Connection, known: Sequence[ColumnElement[Any]], after: datetime) -> datetime | None:
    """Return the first of these instants from `after` on."""
    found = []
    for at in known:
        later = [at >= after] if after.tzinfo is not None else []
        found.append(connection.execute(select(func.min(at)).where(*later)).scalar_one())
    return min((at for at in found if at is not None), default=None)


def _next_quarter(at: datetime) -> datetime:
    return from_micros(-(-to_micros(at) // QUARTER) * QUARTER)


# --- What the ledger sums to


def _of_ledger(connection: Connection, start: datetime, end: datetime) -> Cells:
    within = (_entry.occurred_at >= start) & (_entry.occurred_at < end)
    has_no_lines_here = _entry.period.in_(select(ledger_archive.c.period))
    cells = _archived(connection, start, end)
    for part, query in _queries():
        wanted = within if part is Part.ENTRY else within & ~has_no_lines_here
        for row in connection.execute(query.where(wanted)):
            _add(cells, (int(row.quarter), _group_of(row)), _facts(row))
    return cells


def _archived(connection: Connection, start: datetime, end: datetime) -> Cells:
    """Return what lines came to that are in archives now."""
    of = ledger_archive_cell.c
    cells: Cells = {}
    query = select(ledger_archive_cell).where(of.starts_at >= start, of.starts_at < end)
    for row in connection.execute(query):
        cell = cell_of(row)
        key = (to_micros(row.starts_at), tuple(msgspec.json.decode(row.key)))
        _add(cells, key, (cell.entries, cell.quantity, *cell.amounts))
    return cells


def _add(cells: Cells, key: tuple[int, tuple[Any, ...]], facts: Facts) -> None:
    known = cells.get(key)
    cells[key] = facts if known is None else tuple(a + b for a, b in zip(known, facts, strict=True))


class CellRow(NamedTuple):
    """What lines of one period come to in one quarter hour and group, as `ledger_archive_cell` has it."""

    starts_at: int  # microseconds
    key: str
    entries: int
    quantity: int
    list_high: int
    list_low: int
    cost_high: int
    cost_low: int
    billed_high: int
    billed_low: int


def line_cells(connection: Connection, period: str) -> list[CellRow]:
    """Return what the lines of a period's entries come to, and those entries that have none, in order."""
    found = []
    for part, query in _queries():
        if part is not Part.ENTRY:
            for row in connection.execute(query.where(_entry.period == period)):
                entries, quantity, *amounts = _facts(row)
                cell = Cell()
                cell.add(entries, quantity, amounts)
                found.append(CellRow(int(row.quarter), group_key(_group_of(row)), *cell.facts()))
    return sorted(found)


def _queries() -> Iterator[tuple[Part, Select[Any]]]:
    """Yield a query for each part of entries."""
    nothing = literal(0, BigInteger)
    lines = ledger_entry.join(ledger_line)
    has_lines = select(ledger_line.c.entry_id).where(ledger_line.c.entry_id == _entry.id).exists()
    amounts = {name: _entry[f"{name}_nanousd"] for name in AMOUNTS}
    of_lines = {name: ledger_line.c[f"{name}_nanousd"] for name in AMOUNTS}
    yield Part.ENTRY, _query(Part.ENTRY, amounts, nothing)
    yield Part.BARE, _query(Part.BARE, amounts, nothing).where(~has_lines)
    by_modality = _query(Part.MODALITY, of_lines, nothing, modality=LINES.modality)
    yield Part.MODALITY, by_modality.select_from(lines)
    by_meter = _query(
        Part.METER, of_lines, ledger_line.c.quantity, modality=LINES.modality, meter=ledger_line.c.meter
    )
    yield Part.METER, by_meter.select_from(lines)


def _query(
    part: Part,
    amounts: Mapping[str, ColumnElement[Any]],
    quantity: ColumnElement[Any],
    *,
    modality: ColumnElement[Any] | None = None,
    meter: ColumnElement[Any] | None = None,
) -> Select[Any]:
    micros = type_coerce(_entry.occurred_at, BigInteger)
    since = (micros % QUARTER + QUARTER) % QUARTER  # also before 1970
    rated = _entry.cost_nanousd.is_not(None)
    own = (_entry.tenant_id, _entry.project_id, _entry.api_key_id, _entry.model, _entry.kind, _entry.role)
    dimensions = (*own, _entry.estimated, rated)
    sides = [column for column in (modality, meter) if column is not None]
    labels = [column.label(name) for name, column in zip(DIMENSIONS, dimensions, strict=False)] + [
        column.label(name) for name, column in zip(("modality", "meter"), sides, strict=False)
    ]
    return select(
        (micros - since).label("quarter"),
        *labels,
        literal(part.value).label("part"),
        *(null().label(name) for name in ("modality", "meter")[len(sides) :]),
        func.count(distinct(_entry.id)).label("entries"),
        *parts(quantity, "quantity"),
        *(half for name in AMOUNTS for half in parts(case((rated, amounts[name])), name)),
    ).group_by("quarter", *(label.name for label in labels))


_dimensions_of = attrgetter(*DIMENSIONS)


def _group_of(row: Row[Any]) -> tuple[Any, ...]:
    *own, estimated, rated, part, modality, meter = _dimensions_of(row)
    return (*own, bool(estimated), bool(rated), part, modality, meter)


def _facts(row: Row[Any]) -> Facts:
    return (int(row.entries), exact(row, "quantity"), *(exact(row, name) for name in AMOUNTS))


def _in_one(cells: Cells, start: datetime) -> Cells:
    """Return what cells sum to as one that begins at `start`."""
    sums: dict[tuple[Any, ...], Cell] = {}
    for (_, group), (entries, quantity, *amounts) in cells.items():
        sums.setdefault(group, Cell()).add(entries, quantity, amounts)
    starts_at = to_micros(start)
    return {(starts_at, group): (one.entries, one.quantity, *one.amounts) for group, one in sums.items()}


# --- What is stored


def _stored(connection: Connection, table: Table, start: datetime, end: datetime) -> Cells:
    query = (
        select(table, *(rollup_group.c[name] for name in DIMENSIONS))
        .join(rollup_group, rollup_group.c.id == table.c.group_id, isouter=True)
        .where(table.c.starts_at >= start, table.c.starts_at < end)
    )
    stored: Cells = {}
    for row in connection.execute(query):
        cell = cell_of(row)
        stored[to_micros(row.starts_at), _group_of(row)] = (cell.entries, cell.quantity, *cell.amounts)
    return stored


def _difference(table: Table, wanted: Cells, stored: Cells) -> str | None:
    nothing = (0,) * len(_FACTS)
    for key in sorted(wanted.keys() | stored.keys(), key=repr):
        has, should = stored.get(key, nothing), wanted.get(key, nothing)
        for name, value, right in zip(_FACTS, has, should, strict=True):
            if value != right:
                starts_at, group = key
                whose = ", ".join(str(one) for one in group if one not in (None, True, False))
                return (
                    f"{table.name}: {name} is {value} from {from_micros(starts_at):%Y-%m-%d %H:%M} UTC of"
                    f" {whose}, and the ledger sums to {right}"
                )
    return None
