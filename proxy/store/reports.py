"""Cost reports: one query object, the same rows for the command line, the API and exports.

Sums are exact. Entries without a cost are counted apart and add nothing: a total is what is known,
and `unrated_entries` says how much is not.

Most questions are answered from the rollups, however large the ledger is. Those about sessions, end users,
tags and statuses read entries, and so do times that do not fall on quarter hours: they have a limit of days.
Of questions about accounting periods, what is accounted elsewhere than it occurred is read from entries too.
Sessions can only be counted from entries: that is done where few are concerned, or when it is asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Engine, func, select

from proxy.store import StoreError
from proxy.store.accounted import as_occurred, lines_as_occurred, moved
from proxy.store.archives import archive_of, need_lines, refuse_archived, whole
from proxy.store.calendar import offset_changes
from proxy.store.columns import EPOCH, to_micros
from proxy.store.database import reading
from proxy.store.filters import EVERYTHING, Condition, Filters, conditions, group_conditions, line_conditions
from proxy.store.groups import (
    LINES,
    METER,
    MODALITY,
    PERIOD,
    TAG,
    TIMES,
    Group,
    Source,
    check_groups,
    make_groups,
)
from proxy.store.instants import format_instant
from proxy.store.line_sums import Lines
from proxy.store.rollup_sums import Cells
from proxy.store.rollups import QUARTER, Part, zone_of
from proxy.store.schema import ledger_entry, rollup_group
from proxy.store.totals import Totals, TotalsBy

ROWS_MAX = 100_000
ELSEWHERE = ", or take it as an export or as CSV, which have more"
LINES_DAYS_MAX = 100  # a quarter of a year, in every zone
SESSIONS_ENTRIES_MAX = 50_000  # among so many entries sessions are counted unasked

_ROLLED_UP = (
    "start",
    "end",
    "tenant",
    "project",
    "key",
    "model",
    "kind",
    "kinds",
    "within",
    "unrated",
    "estimated",
    "period",
    "months_of",
    METER,
    MODALITY,
)
_LINE_GROUPS = ("session", "end_user", "status")

ReportRow = Mapping[str, str | int | None]


class Basis(StrEnum):
    """What the time of a report is about: when things occurred, or the months that they are accounted in."""

    OCCURRED = "occurred"
    PERIOD = "period"


@dataclass(frozen=True, slots=True)
class CostQuery:
    """What a report is about. Hours, days, weeks and months are those of `zone`.

    `group_by` holds names out of `groups.GROUPS`, or `tag:NAME`. `count_sessions` counts them among however
    many entries.
    """

    group_by: Sequence[str] = ()
    filters: Filters = EVERYTHING
    zone: tzinfo = UTC
    count_sessions: bool = False
    is_billed: bool = False  # costs are what tenants owe, and not what we are charged

    @property
    def part(self) -> Part:
        """Return which part of entries its rows are about."""
        if METER in self.group_by or self.filters.meter is not None:
            return Part.METER
        if MODALITY in self.group_by or self.filters.modality is not None:
            return Part.MODALITY
        return Part.ENTRY

    @property
    def basis(self) -> Basis:
        return Basis.OCCURRED if self.filters.months_of is None else Basis.PERIOD

    @property
    def by_period(self) -> bool:
        """Return whether it matters in which period an entry is accounted."""
        filters = self.filters
        return PERIOD in self.group_by or filters.period is not None or filters.months_of is not None

    @property
    def has_bare(self) -> bool:
        """Return whether entries without lines have a row of their own."""
        chosen = self.filters.meter is not None or self.filters.modality is not None
        return self.part is not Part.ENTRY and not chosen


@dataclass(frozen=True, slots=True)
class Report:
    """The answer: a row for every group that has entries, and the total."""

    query: CostQuery
    rows: Sequence[ReportRow]
    total: ReportRow

    def as_json(self) -> dict[str, Any]:
        filters = self.query.filters
        return {
            "from": filters.start and format_instant(filters.start),
            "to": filters.end and format_instant(filters.end),
            "basis": self.query.basis,
            "group_by": list(self.query.group_by),
            "rows": list(self.rows),
            "total": self.total,
        }


def run(engine: Engine, query: CostQuery, rows_max: int | None = None, **how: bool) -> Report:
    """Answer `query` from one state of the database, as `answer` does."""
    with reading(engine) as connection:
        return answer(connection, query, rows_max, **how)


def answer(
    connection: Connection,
    query: CostQuery,
    rows_max: int | None = None,
    *,
    in_passing: bool = True,
    with_quantities: bool = True,
) -> Report:
    """Answer `query` with at most so many rows, `ROWS_MAX` if that is not said.

    Sessions that were not asked for are counted `in_passing`, where few entries are concerned. Without
    quantities those of meters may be left out, and 0: where rollups answer, most cells are theirs.

    Raises:
        StoreError: a group or a filter does not exist or contradicts another, there would be too many rows,
            or too many days for a question that rollups cannot answer. The text says what to do.
    """
    check_groups(query.group_by)
    how = _How(ROWS_MAX if rows_max is None else rows_max, in_passing, with_quantities)
    asked = _Asked(connection, query, how)
    totals = asked.totals()
    whole = replace(query, group_by=())
    if query.part is whole.part:
        total = asked.sum_of(totals)
    else:
        total = _Asked(connection, whole, replace(how, rows_max=1)).totals().get((), Totals(sessions=0))
    rows = _rows(connection, totals, asked.groups, query) if asked.groups else []
    return Report(query, rows, _shown(total, query).as_row())


@dataclass(frozen=True, slots=True)
class _How:
    """How much of an answer is wanted: as `answer` has it."""

    rows_max: int
    in_passing: bool
    with_quantities: bool


class _Asked:
    """A query on its way to an answer."""

    def __init__(self, connection: Connection, query: CostQuery, how: _How) -> None:
        self._connection = connection
        self._query = query
        self._how = how
        self._span = _span(connection, query.filters)
        self._lines = self._lines_of(query.filters)
        self._why_lines = _why_lines(query, self._span)
        if self._why_lines:
            _check_days(query.filters, self._span, self._why_lines)
        self.groups = self._groups(LINES)
        self._counts_sessions = bool(self._why_lines)

    def totals(self) -> TotalsBy:
        """Return what each group comes to."""
        if self._why_lines:
            totals = self._sums(self.groups, self._query.filters)
        elif self._query.by_period:
            totals = self._by_period()
        else:
            totals = self._cells(self._query).sums(self._connection)
        self._check_rows(totals)
        if not self._why_lines:
            self._counts_sessions = self._may_count() and (
                self._query.count_sessions or (self._how.in_passing and self._concerns_few(totals))
            )
            if self._counts_sessions:
                for key, sessions in self._lines.sessions(self._connection, self.groups).items():
                    if key in totals:  # nothing is one group too, with no session
                        totals[key].sessions = sessions
        return totals

    def _by_period(self) -> TotalsBy:
        """Sum cells as if all were accounted when it occurred; then put right what is not."""
        connection, query = self._connection, self._query
        zone = zone_of(connection)
        within = as_occurred(query.filters, zone)
        totals: TotalsBy = {}
        if within is not None:
            totals = self._cells(replace(query, filters=within)).sums(connection)
        elsewhere = moved(connection, zone)
        if elsewhere is None:
            return totals
        if within is not None:
            groups = self._groups(lines_as_occurred(connection.dialect.name, zone, self._span))
            for key, one in self._sums(groups, within, elsewhere).items():
                totals.setdefault(key, Totals()).take(one)  # nothing is one group too
        for key, one in self._sums(self.groups, query.filters, elsewhere).items():
            totals.setdefault(key, Totals()).add(one)
        return {key: one for key, one in totals.items() if one.entries}

    def _cells(self, query: CostQuery) -> Cells:
        return replace(_cells(self._connection, query), with_quantities=self._how.with_quantities)

    def _lines_of(self, filters: Filters, *more: Condition) -> Lines:
        wanted = [*conditions(self._connection, filters), *more]
        return Lines(wanted, line_conditions(filters), by_line=self._query.part is not Part.ENTRY)

    def _groups(self, source: Source) -> list[Group]:
        dialect = self._connection.dialect.name
        return make_groups(dialect, self._query.group_by, self._query.zone, source, self._span)

    def _sums(self, groups: Sequence[Group], filters: Filters, *more: Condition) -> TotalsBy:
        wanted = [*conditions(self._connection, whole(filters)), *more]
        refuse_archived(self._connection, wanted, f"this report ({', '.join(self._why_lines or [PERIOD])})")
        totals = self._lines_of(filters, *more).sums(self._connection, groups, self._how.rows_max)
        self._check_rows(totals)
        return totals

    def _check_rows(self, totals: TotalsBy) -> None:
        if len(totals) > self._how.rows_max:
            more = "" if self._how.rows_max >= ROWS_MAX else ELSEWHERE
            raise StoreError(
                f"This report has more than {self._how.rows_max:,} rows: narrow it, or group by less{more}."
            )

    def sum_of(self, totals: TotalsBy) -> Totals:
        """Return what all groups come to together."""
        total = Totals()
        for one in totals.values():
            total.add(one)
        if not self.groups and totals:
            total.sessions = totals[()].sessions
        elif self._counts_sessions:
            total.sessions = self._lines.sessions(self._connection, ()).get((), 0)
        return total

    def _may_count(self) -> bool:
        """Return whether sessions can be counted: by meter or modality that takes lines."""
        if self._query.part is Part.ENTRY:
            return True
        if self._query.count_sessions:
            need_lines(self._connection, self._query.filters, "counting sessions by meter or modality")
            return True
        return archive_of(self._connection, conditions(self._connection, whole(self._query.filters))) is None

    def _concerns_few(self, totals: TotalsBy) -> bool:
        """Return whether sessions can be counted in passing: what is read for it are a tenant's entries."""
        filters = as_occurred(self._query.filters, zone_of(self._connection))
        if filters is None:
            return True
        read = Filters(start=filters.start, end=filters.end, tenant=filters.tenant)
        if self._query.filters != read or self._query.part is not Part.ENTRY:
            read_of = replace(_cells(self._connection, CostQuery(filters=read)), with_quantities=False)
            totals = read_of.sums(self._connection)
        return sum(one.entries for one in totals.values()) <= SESSIONS_ENTRIES_MAX


def cells_of(connection: Connection, query: CostQuery) -> Cells | None:
    """Return the cells that answer `query`, which is not by times; None where entries have to be read."""
    if query.by_period or _why_lines(query, (EPOCH, EPOCH)):
        return None
    return _cells(connection, query)


def _cells(connection: Connection, query: CostQuery) -> Cells:
    filters = query.filters
    wanted = group_conditions(connection, filters)
    if filters.meter is not None:
        wanted.append(rollup_group.c.meter == filters.meter)
    if filters.modality is not None:
        wanted.append(rollup_group.c.modality == filters.modality)
    return Cells(
        wanted=wanted,
        start=filters.start,
        end=filters.end,
        part=query.part,
        bare=query.has_bare,
        names=query.group_by,
        zone=query.zone,
    )


# --- What has to be read from entries, and how much of it may be


def _why_lines(query: CostQuery, span: tuple[datetime, datetime]) -> list[str]:
    """Return what of a question rollups know nothing of."""
    why = [name for name in query.group_by if name in _LINE_GROUPS or name.startswith(TAG)]
    given = [one.name for one in fields(Filters) if getattr(query.filters, one.name) not in (None, False)]
    why += [name for name in given if name not in _ROLLED_UP and name not in why]
    if any(at is not None and to_micros(at) % QUARTER for at in (query.filters.start, query.filters.end)):
        why.append("a time within a quarter hour")
    if set(TIMES) & set(query.group_by) and not _on_quarters(query.zone, span):
        why.append(f"the time zone {query.zone}, which was not a whole number of quarter hours from UTC")
    return why


def _on_quarters(zone: tzinfo, span: tuple[datetime, datetime]) -> bool:
    """Return whether all days and hours of the zone begin on quarter hours."""
    quarter = timedelta(microseconds=QUARTER)
    offsets = [span[0].astimezone(zone).utcoffset() or timedelta()]
    offsets += [offset for _, offset in offset_changes(zone, *span)]
    return not any(offset % quarter for offset in offsets)


def _span(connection: Connection, filters: Filters) -> tuple[datetime, datetime]:
    """Return the first and the last instant that entries can have; a session's own if that is asked for."""
    at = ledger_entry.c.occurred_at
    asked = filters if filters.months_of is None else EVERYTHING
    own = [] if filters.session is None else [ledger_entry.c.session_id == filters.session]
    first = connection.execute(select(func.min(at)).where(*own)).scalar_one()
    last = connection.execute(select(func.max(at)).where(*own)).scalar_one()
    if first is None:
        return EPOCH, EPOCH
    start = max(asked.start or first, first)
    return start, max(start, min(asked.end or last, last))


def _check_days(filters: Filters, span: tuple[datetime, datetime], why: Sequence[str]) -> None:
    start = max(filters.start or span[0], span[0])
    days = -((start - min(filters.end or span[1], span[1])) // timedelta(days=1))
    is_narrow = filters.session is not None or filters.period is not None  # each has an index
    if not is_narrow and days > LINES_DAYS_MAX:
        raise StoreError(
            f"What is asked for ({', '.join(why)}) is read from single entries, at most {LINES_DAYS_MAX} days"
            f" of them, and here are {days}: give a start and an end that are closer, or do without it."
        )


# --- Rows


def _shown(totals: Totals, query: CostQuery) -> Totals:
    return totals.as_owed() if query.is_billed else totals


def _rows(
    connection: Connection, totals: TotalsBy, groups: Sequence[Group], query: CostQuery
) -> list[ReportRow]:
    """Return the rows in the order of their groups, what has none of a kind last."""
    shown: list[dict[str, str | int | None]] = [{} for _ in totals]
    start = 0
    for group in groups:
        end = start + len(group.columns)
        values = group.show(connection, [key[start:end] for key in totals])
        for row, value in zip(shown, values, strict=True):
            row |= value
        start = end
    figures = (_shown(one, query).as_row() for one in totals.values())
    rows = [{**group, **row} for group, row in zip(shown, figures, strict=True)]
    names = [group.name for group in groups]
    return sorted(rows, key=lambda row: [_rank(name, row[name]) for name in names])


def _rank(group: str, value: str | int | None) -> tuple[bool, str]:
    """Return what to sort by: text as it is; an hour as its instant, since one a year comes twice."""
    if group == "hour" and value is not None:
        value = format_instant(datetime.fromisoformat(str(value)))
    return value is None, str(value)
