"""Sums over the rollups: the longest cells that a time holds, shorter ones at its edges."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, case, func, select

from proxy.core.records import Kind, Role
from proxy.store.columns import EPOCH
from proxy.store.groups import PERIOD, TIMES, Group, cells, make_groups, month_in
from proxy.store.line_sums import grouped
from proxy.store.rollups import FACTS, Part, day_start, month_start, quarter_start, zone_of
from proxy.store.schema import rollup_day, rollup_group, rollup_month, rollup_quarter
from proxy.store.sums import exact
from proxy.store.totals import Totals, TotalsBy

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
Segment = tuple[Table, datetime, datetime]  # the cells of one table that begin in [from, to)


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
        span = cell_span(connection)
        totals: TotalsBy = {}
        for table, start, end in self._segments(connection, span):
            groups = self._groups(connection, table.c.starts_at, span)
            within = (table.c.starts_at >= start) & (table.c.starts_at < end)
            query = self._query(table, groups, within)
            width = sum(len(group.columns) for group in groups)
            for row in connection.execute(query):
                self._add(totals.setdefault(tuple(row[:width]), Totals()), row)
        return totals

    def _groups(self, connection: Connection, at: ColumnElement[Any], span: Span) -> list[Group]:
        dialect = connection.dialect.name
        source = cells(at, month_in(dialect, at, zone_of(connection), span))
        return make_groups(dialect, self.names, self.zone, source, span)

    # --- Which cells

    def _segments(self, connection: Connection, span: Span) -> Iterator[Segment]:
        """Yield where to read what. Nothing lies outside of `span`: cells may reach beyond that."""
        zone = zone_of(connection)
        lengths = self._lengths(zone)
        longest = lengths[0]
        is_open = (self.start is None or self.start < span[0], self.end is None or self.end > span[1])
        start = longest.start(zone, span[0]) if is_open[0] else self.start or span[0]
        end = longest.end(zone, span[1]) if is_open[1] else self.end or span[1]
        yield from _split(lengths, zone, start, end)

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

    def _query(self, table: Table, groups: Sequence[Group], within: ColumnElement[bool]) -> Select[Any]:
        """Sum the cells of each group first, then groups by what is asked for: ids are quicker than names."""
        times = [column for group in groups if group.name in _BY_START for column in group.columns]
        labels = [column.label(f"time_{number}") for number, column in enumerate(times)]
        own = select(_group.id).where(*self.wanted, _group.part.in_(self._parts()))
        inner = select(table.c.group_id, *labels).where(within, table.c.group_id.in_(own))
        if set(_FINE) & set(self.names):
            summed = inner.add_columns(*(table.c[name] for name in FACTS)).subquery()
        else:
            summed = (
                inner.add_columns(*(func.sum(table.c[name]).label(name) for name in FACTS))
                .group_by(table.c.group_id, *(label.name for label in labels))
                .subquery()
            )
        looked_up = iter(summed.c[label.name] for label in labels)
        columns = [
            next(looked_up) if group.name in _BY_START else column
            for group in groups
            for column in group.columns
        ]
        facts = select(*_facts(summed.c)).select_from(
            summed.join(rollup_group, _group.id == summed.c.group_id)
        )
        return grouped(
            facts.add_columns(_group.part.label("of_part"), _group.meter.label("of_meter")),
            columns,
            _group.part,
            _group.meter,
        )

    def _parts(self) -> list[str]:
        has_meters = self.part is Part.METER or not self.with_quantities
        return [*self._counted(), *([] if has_meters else [Part.METER.value])]

    def _counted(self) -> list[str]:
        return [self.part.value, *([Part.BARE.value] if self.bare else [])]

    def _add(self, totals: Totals, row: Row[Any]) -> None:
        """Add one row: the amounts of the part that is asked for, quantities from meters."""
        if row.of_part in self._counted():
            totals.add(_totals(row))
        if row.of_part == Part.METER:
            totals.add(Totals(quantities={row.of_meter: int(row.quantity)}))


def _facts(own: Any) -> list[ColumnElement[Any]]:
    is_response = (_group.kind == Kind.RESPONSE) & (_group.role == Role.ORIGINAL)
    unrated = case((_group.rated, 0), (_group.role == Role.REVERSAL, -own.entries), else_=own.entries)
    halves = [f"{name}_{half}" for name in ("list", "cost", "billed") for half in ("high", "low")]
    return [
        func.sum(own.entries).label("entries"),
        func.sum(case((is_response, own.entries), else_=0)).label("responses"),
        func.sum(unrated).label("unrated"),
        func.sum(own.quantity).label("quantity"),
        *(func.sum(own[name]).label(name) for name in halves),
        *(
            func.sum(case((_group.estimated, own[f"{name}_{half}"]), else_=0)).label(f"{label}_{half}")
            for name, label in (("cost", "estimated"), ("billed", "estimated_billed"))
            for half in ("high", "low")
        ),
    ]


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


def _split(lengths: Sequence[Length], zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[Segment]:
    """Yield the longest cells that lie in [start, end), and what shorter ones have to say of its edges."""
    longest, *shorter = lengths
    if not shorter:
        yield longest.table, start, end
        return
    first, last = longest.end(zone, start), longest.start(zone, end)
    if first >= last:
        yield from _split(shorter, zone, start, end)
        return
    yield from _split(shorter, zone, start, first)
    yield longest.table, first, last
    yield from _split(shorter, zone, last, end)


def cell_span(connection: Connection) -> Span:
    """Return from when to when there are cells, to the end of the last quarter hour; nothing at the epoch."""
    at = rollup_quarter.c.starts_at
    first = connection.execute(select(func.min(at))).scalar_one()
    last = connection.execute(select(func.max(at))).scalar_one()
    return (first, last + timedelta(minutes=15)) if first is not None else (EPOCH, EPOCH)
