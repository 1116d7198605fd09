"""Sums over the rollups: the longest cells that a time holds, shorter ones at its edges.

Where a time holds the greater part of a cell, that cell is added and the rest of it taken away again: sums
are whole numbers, so that is as exact as adding up what the time holds, and reads less.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, case, func, select, union_all

from proxy.core.records import Kind, Role
from proxy.store.columns import EPOCH
from proxy.store.groups import PERIOD, TIMES, Group, cells, make_groups, month_in
from proxy.store.line_sums import grouped
from proxy.store.rollups import Part, day_start, month_start, quarter_start, zone_of
from proxy.store.schema import rollup_day, rollup_group, rollup_month, rollup_quarter
from proxy.store.sums import exact
from proxy.store.totals import Key, Totals, TotalsBy

_FINE = ("hour", "day")  # nothing is won by summing a group's cells before its names are looked up
_BY_START = (*TIMES, PERIOD)  # what is known of a cell by its start
_group = rollup_group.c

Span = tuple[datetime, datetime]  # from, to


@dataclass(frozen=True, slots=True)
class Length:
    """Cells of one length: their table, when one begins, and a time that is longer than any of them."""

    table: Table
    start_of: Callable[[ZoneInfo, datetime], datetime]
    over: timedelta

    def start(self, zone: ZoneInfo, at: datetime) -> datetime:
        return self.start_of(zone, at)

    def end(self, zone: ZoneInfo, at: datetime) -> datetime:
        """Return when the next cell begins, at or after `at`."""
        start = self.start_of(zone, at)
        return at if start == at else self.start_of(zone, start + self.over)


MONTHS = Length(rollup_month, month_start, timedelta(days=31, hours=12))
DAYS = Length(rollup_day, day_start, timedelta(hours=36))
QUARTERS = Length(rollup_quarter, lambda _, at: quarter_start(at), timedelta(minutes=15))


@dataclass(frozen=True, slots=True)
class Segment:
    """The cells of one table that begin in [start, end): to be added, or where `sign` is -1 taken away."""

    table: Table
    start: datetime
    end: datetime
    sign: int

    def signed(self, amount: ColumnElement[Any]) -> ColumnElement[Any]:
        return amount if self.sign > 0 else -amount


@dataclass(frozen=True, slots=True)
class OfMeter:
    """What entries of a group have of one meter, None where they have no lines: rated ones, or unrated."""

    meter: str | None
    is_rated: bool
    quantity: int
    cost_nanousd: int
    billed_nanousd: int


@dataclass(frozen=True, slots=True)
class Cells:
    """Which cells are meant: those of groups that fulfil `wanted`, from `start` to `end`; None is open.

    `part` is the part of entries that is summed; with `bare`, entries without lines beside it. `names` is
    what is grouped by, its times are those of `zone`. Everything is taken to be accounted in the month
    in which it occurred, in the zone of the rollups.
    """

    wanted: Sequence[ColumnElement[bool]]
    start: datetime | None
    end: datetime | None
    part: Part
    bare: bool
    names: Sequence[str]
    zone: tzinfo
    with_quantities: bool = True  # of meters, beside the amounts: several times as many cells

    def sums(self, connection: Connection) -> TotalsBy:
        """Return what each group comes to, but for sessions."""
        totals: TotalsBy = {}
        of_meters = self.part is Part.METER
        for key, row in self._rows(connection, self._parts(), _FACTS, *([_group.meter] if of_meters else [])):
            own = totals.setdefault(key, Totals())
            own.add(_totals(row))
            if of_meters and row.meter is not None:
                own.add(Totals(quantities={row.meter: int(row.quantity)}))
        if self.with_quantities and not of_meters:
            for key, row in self._rows(connection, [Part.METER], (_QUANTITY,), _group.meter):
                totals.setdefault(key, Totals()).add(Totals(quantities={row.meter: int(row.quantity)}))
        return {key: one for key, one in totals.items() if one.entries}

    def spent(self, connection: Connection) -> dict[Key, tuple[int, int]]:
        """Return what each group cost, and what is billed of it: in a fraction of the time of `sums`."""
        rows = self._rows(connection, self._parts(), _SPENT)
        return {key: (exact(row, "cost"), exact(row, "billed")) for key, row in rows}

    def by_meter(self, connection: Connection) -> list[tuple[Key, OfMeter]]:
        """Return what each group has of each meter, and apart from it what it has of it without a price."""
        rows = self._rows(connection, self._parts(), (_QUANTITY, *_SPENT), _group.meter, _group.rated)
        return [(key, _of_meter(row)) for key, row in rows]

    def groups(self, connection: Connection) -> list[Group]:
        """Return what it is grouped by, in the order of keys. Not by times."""
        return self._groups(connection, rollup_month.c.starts_at, zone_of(connection), (EPOCH, EPOCH))

    def _groups(
        self, connection: Connection, at: ColumnElement[Any], zone: ZoneInfo, span: Span
    ) -> list[Group]:
        dialect = connection.dialect.name
        period = month_in(dialect, at, zone, span) if PERIOD in self.names else at
        return make_groups(dialect, self.names, self.zone, cells(at, period), span)

    def _parts(self) -> list[Part]:
        return [self.part, *([Part.BARE] if self.bare else [])]

    # --- Which cells

    def _segments(self, zone: ZoneInfo, span: Span) -> Iterator[Segment]:
        """Yield where to read what. Nothing lies outside of `span`: cells may reach beyond that."""
        lengths = self._lengths(zone)
        longest = lengths[0]
        is_open = (self.start is None or self.start < span[0], self.end is None or self.end > span[1])
        start = longest.start(zone, span[0]) if is_open[0] else self.start or span[0]
        end = longest.end(zone, span[1]) if is_open[1] else self.end or span[1]
        yield from _cover(lengths, zone, start, end, 1)

    def _lengths(self, zone: ZoneInfo) -> Sequence[Length]:
        """Return which cells tell enough, the longest first."""
        times = set(TIMES) & set(self.names)
        same = str(self.zone) == zone.key  # also of `datetime.UTC`
        if not times:
            return (MONTHS, DAYS, QUARTERS)
        if not same or "hour" in times:
            return (QUARTERS,)
        return (MONTHS, DAYS, QUARTERS) if times == {"month"} else (DAYS, QUARTERS)

    # --- What of them

    def _rows(
        self, connection: Connection, parts: Sequence[Part], facts: Sequence["Fact"], *by: ColumnElement[Any]
    ) -> Iterator[tuple[Key, Row[Any]]]:
        """Yield keys and sums: of all cells in one statement, grouped by what is asked for and `by`."""
        zone, span = zone_of(connection), cell_span(connection)
        own = select(_group.id).where(*self.wanted, _group.part.in_([part.value for part in parts]))
        inner, groups = [], self._groups(connection, rollup_month.c.starts_at, zone, span)
        for segment in self._segments(zone, span):
            groups = self._groups(connection, segment.table.c.starts_at, zone, span)
            inner.append(self._cells_of(segment, groups, facts, own))
        if not inner:
            return
        summed = (union_all(*inner) if len(inner) > 1 else inner[0]).subquery()
        looked_up = iter([column for column in summed.c if column.name.startswith(_TIME)])
        columns = [
            next(looked_up) if group.name in _BY_START else column
            for group in groups
            for column in group.columns
        ]
        wanted = [column for fact in facts for column in fact.columns(summed.c)]
        query = select(*wanted).select_from(summed.join(rollup_group, _group.id == summed.c.group_id))
        if not columns and not by:
            by = (_group.part,)  # or nothing would be one row too
        for row in connection.execute(grouped(query.add_columns(*by), columns, *by)).all():
            yield tuple(row[: len(columns)]), row

    def _cells_of(
        self, segment: Segment, groups: Sequence[Group], facts: Sequence["Fact"], own: Select[Any]
    ) -> Select[Any]:
        """Sum the cells of each group first, then groups by what is asked for: ids are quicker than names."""
        of = segment.table.c
        times = [column for group in groups if group.name in _BY_START for column in group.columns]
        labels = [column.label(f"{_TIME}{number}") for number, column in enumerate(times)]
        within = (of.starts_at >= segment.start) & (of.starts_at < segment.end)
        query = select(of.group_id, *labels).where(within, of.group_id.in_(own))
        names = dict.fromkeys(name for fact in facts for name in fact.needs)
        if set(_FINE) & set(self.names):
            return query.add_columns(*(segment.signed(of[name]).label(name) for name in names))
        sums = (segment.signed(func.sum(of[name])).label(name) for name in names)
        return query.add_columns(*sums).group_by(of.group_id, *(label.name for label in labels))


_TIME = "time_"  # begins the labels of times


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is summed: the columns of cells that it needs, and how they are summed up."""

    needs: Sequence[str]
    columns: Callable[[Any], Sequence[ColumnElement[Any]]]


def _amount(name: str, label: str, which: ColumnElement[bool] | None = None) -> Fact:
    """Sum an amount in its two halves; of those groups only that are meant."""

    def half(own: Any, end: str) -> ColumnElement[Any]:
        amount = own[f"{name}_{end}"]
        summed = func.sum(amount if which is None else case((which, amount), else_=0))
        return summed.label(f"{label}_{end}")

    return Fact((f"{name}_high", f"{name}_low"), lambda own: [half(own, "high"), half(own, "low")])


def _entries(label: str, counted: Callable[[Any], Any]) -> Fact:
    return Fact(("entries",), lambda own: [func.sum(counted(own.entries)).label(label)])


_is_response = (_group.kind == Kind.RESPONSE) & (_group.role == Role.ORIGINAL)
_QUANTITY = Fact(("quantity",), lambda own: [func.sum(own.quantity).label("quantity")])
_SPENT = (_amount("cost", "cost"), _amount("billed", "billed"))
_FACTS = (
    _entries("entries", lambda entries: entries),
    _entries("responses", lambda entries: case((_is_response, entries), else_=0)),
    _entries(
        "unrated",
        lambda entries: case((_group.rated, 0), (_group.role == Role.REVERSAL, -entries), else_=entries),
    ),
    _QUANTITY,
    _amount("list", "list"),
    *_SPENT,
    _amount("cost", "estimated", _group.estimated),
    _amount("billed", "estimated_billed", _group.estimated),
)


def _totals(row: Row[Any]) -> Totals:
    return Totals(
        responses=int(row.responses),
        entries=int(row.entries),
        unrated=int(row.unrated),
        list_nanousd=exact(row, "list"),
        cost_nanousd=exact(row, "cost"),
        billed_nanousd=exact(row, "billed"),
        estimated_nanousd=exact(row, "estimated"),
        estimated_billed_nanousd=exact(row, "estimated_billed"),
    )


def _of_meter(row: Row[Any]) -> OfMeter:
    return OfMeter(row.meter, row.rated, int(row.quantity), exact(row, "cost"), exact(row, "billed"))


def _cover(
    lengths: Sequence[Length], zone: ZoneInfo, start: datetime, end: datetime, sign: int
) -> Iterator[Segment]:
    """Yield what [start, end) is made of: the longest cells that lie in it, and its edges."""
    if start >= end:
        return
    longest, *shorter = lengths
    if not shorter:
        yield Segment(longest.table, start, end, sign)
        return
    first, last = longest.end(zone, start), longest.start(zone, end)
    if first > last:
        yield from _part_of(lengths, zone, (last, first), (start, end), sign)
        return
    if start < first:
        yield from _part_of(lengths, zone, (longest.start(zone, start), first), (start, first), sign)
    if first < last:
        yield Segment(longest.table, first, last, sign)
    if last < end:
        yield from _part_of(lengths, zone, (last, longest.end(zone, end)), (last, end), sign)


def _part_of(
    lengths: Sequence[Length], zone: ZoneInfo, cell: Span, part: Span, sign: int
) -> Iterator[Segment]:
    """Yield what `part` of one of the longest cells is made of: shorter ones, or itself without the rest."""
    longest, *shorter = lengths
    if 2 * (part[1] - part[0]) <= cell[1] - cell[0]:
        yield from _cover(shorter, zone, *part, sign)
        return
    yield Segment(longest.table, *cell, sign)
    yield from _cover(shorter, zone, cell[0], part[0], -sign)
    yield from _cover(shorter, zone, part[1], cell[1], -sign)


def cell_span(connection: Connection) -> Span:
    """Return from when to when there are cells, to the end of the last quarter hour; nothing at the epoch."""
    at = rollup_quarter.c.starts_at
    first = connection.execute(select(func.min(at))).scalar_one()
    last = connection.execute(select(func.max(at))).scalar_one()
    return (first, last + timedelta(minutes=15)) if first is not None else (EPOCH, EPOCH)
