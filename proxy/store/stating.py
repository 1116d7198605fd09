"""What a period's entries come to, tenant by tenant: the lines of its statements.

Usage is summed by project, model and meter; what has no price stands apart, without an amount. What concerns
an earlier period that was closed is summed by that period. Each adjustment and credit has its own line.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Row,
    Select,
    Text,
    and_,
    case,
    func,
    literal,
    null,
    or_,
    select,
)

from proxy.core.periods import Periods, month_before, span_of
from proxy.core.records import Role
from proxy.core.usage import Meter
from proxy.store.adjustments import KINDS
from proxy.store.calendar import local_micros, month_of, offset_of
from proxy.store.periods import Closes
from proxy.store.schema import ledger_entry, ledger_line, ledger_period
from proxy.store.sums import exact, parts

ENTRY = "entry"  # the unit of what was billed without saying what for
_corrected = ledger_entry.alias("corrected")
_METERS = {meter.value: number for number, meter in enumerate(Meter)}


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedLine:
    """A line of a statement. `billed_nanousd` is None where there is no price."""

    kind: str
    project_id: str | None = None
    project: str | None = None
    model: str | None = None
    meter: str | None = None
    corrects_period: str | None = None
    entry_id: int | None = None
    reason: str | None = None
    quantity: int | None = None
    unit: str | None = None
    billed_nanousd: int | None = None

    @property
    def says_nothing(self) -> bool:
        """Tell whether reversals have taken back all of it."""
        return not self.quantity and not self.billed_nanousd

    @property
    def rank(self) -> tuple[Any, ...]:
        """Return what to sort by: usage, then what has no price, then adjustments, then corrections."""
        return (
            self.corrects_period or "",
            self.kind in KINDS,
            self.billed_nanousd is None,
            self.project or "",
            self.model or "",
            self.kind,
            _METERS.get(self.meter or "", -1),
            self.entry_id or 0,
        )


@dataclass(slots=True)
class Stated:
    """What one tenant's entries of a period come to."""

    entries: int
    unrated_entries: int
    billed_nanousd: int
    lines: list[StatedLine] = field(default_factory=list)


def state(
    connection: Connection, closes: Closes, periods: Periods, period: str, projects: Mapping[str, str]
) -> dict[str, Stated]:
    """Return what a period's entries come to, by tenant; `projects` has names by id.

    `closes` are those before this period's.
    """
    stated = {
        row.tenant_id: Stated(row.entries, int(row.unrated), exact(row, "billed"))
        for row in connection.execute(_totals(period))
    }
    correction = _correction(connection, closes, periods, period)
    for row in connection.execute(_usage(period, correction)):
        stated[row.of_tenant].lines.append(_usage_line(row, projects))
    for row in connection.execute(_adjustments(period, correction)):
        stated[row.of_tenant].lines.append(_adjustment_line(row, projects))
    for one in stated.values():
        one.lines = sorted((line for line in one.lines if not line.says_nothing), key=lambda line: line.rank)
    return stated


def _totals(period: str) -> Select[Any]:
    of = ledger_entry.c
    unrated = case((of.billed_nanousd.is_not(None), 0), else_=_sign())
    return (
        select(
            of.tenant_id,
            func.count().label("entries"),
            func.sum(unrated).label("unrated"),
            *parts(of.billed_nanousd, "billed"),
        )
        .where(of.period == period)
        .group_by(of.tenant_id)
    )


def _sign() -> ColumnElement[int]:
    """Return what an entry counts as: the reversal of one takes it away again."""
    return case((ledger_entry.c.role == Role.REVERSAL, -1), else_=1)


def _correction(
    connection: Connection, closes: Closes, periods: Periods, period: str
) -> ColumnElement[str | None]:
    """Return the closed period that an entry concerns, in SQL; null where there is none."""
    of = ledger_entry.c
    cases: list[tuple[ColumnElement[bool], Any]] = [
        (ledger_period.c.period.is_not(None), ledger_period.c.period)
    ]
    before = closes.find(month_before(period))
    if before is not None:
        start = span_of(period, periods.zone).start
        late = and_(of.id > before.entries, of.occurred_at < start)
        first = connection.execute(select(func.min(of.occurred_at)).where(of.period == period, late)).scalar()
        if first is not None:
            cases.append((late, _month(connection, periods, first, start)))
    return case(*cases, else_=null())


def _month(connection: Connection, periods: Periods, first: datetime, last: datetime) -> ColumnElement[str]:
    at = ledger_entry.c.occurred_at
    return month_of(local_micros(at, offset_of(at, periods.zone, first, last)), connection.dialect.name)


def _with_corrected(source: FromClause) -> FromClause:
    """Add to entries the close of what they correct, if it had been closed when they were booked."""
    return source.outerjoin(_corrected, _corrected.c.id == ledger_entry.c.corrects).outerjoin(
        ledger_period,
        and_(
            ledger_period.c.period == _corrected.c.period,
            ledger_period.c.entries < ledger_entry.c.id,
        ),
    )


def _usage(period: str, correction: ColumnElement[str | None]) -> Select[Any]:
    entry, line = ledger_entry.c, ledger_line.c
    without_lines = line.entry_id.is_(None)
    columns = {
        **_common(correction),
        "of_meter": line.meter,
        "of_unit": func.coalesce(line.unit, literal(ENTRY, Text)),
        "of_unrated": case((entry.billed_nanousd.is_(None), 1), else_=0),
    }
    quantity = case((without_lines, _sign()), else_=line.quantity)
    billed = case((entry.billed_nanousd.is_(None), null()), else_=line.billed_nanousd)
    return (
        select(
            *(column.label(name) for name, column in columns.items()),
            *parts(quantity, "quantity"),
            *parts(billed, "billed"),
        )
        .select_from(_with_corrected(ledger_entry.outerjoin(ledger_line)))
        .where(
            entry.period == period,
            entry.kind.not_in(KINDS),
            or_(~without_lines, entry.billed_nanousd.is_(None)),
        )
        .group_by(*columns)
    )


def _adjustments(period: str, correction: ColumnElement[str | None]) -> Select[Any]:
    entry = ledger_entry.c
    columns = (column.label(name) for name, column in _common(correction).items())
    return (
        select(*columns, entry.id, entry.status_reason, entry.billed_nanousd)
        .select_from(_with_corrected(ledger_entry))
        .where(entry.period == period, entry.kind.in_(KINDS))
    )


def _common(correction: ColumnElement[str | None]) -> dict[str, ColumnElement[Any]]:
    """Return columns by names that no table has: PostgreSQL groups by a table's column of the same name."""
    entry = ledger_entry.c
    return {
        "of_tenant": entry.tenant_id,
        "of_project": entry.project_id,
        "of_kind": entry.kind,
        "of_model": entry.model,
        "of_correction": correction,
    }


def _usage_line(row: Row[Any], projects: Mapping[str, str]) -> StatedLine:
    return StatedLine(
        kind=row.of_kind,
        project_id=row.of_project,
        project=projects.get(row.of_project, row.of_project),
        model=row.of_model,
        meter=row.of_meter,
        corrects_period=row.of_correction,
        quantity=exact(row, "quantity"),
        unit=row.of_unit,
        billed_nanousd=None if row.of_unrated else exact(row, "billed"),
    )


def _adjustment_line(row: Row[Any], projects: Mapping[str, str]) -> StatedLine:
    return StatedLine(
        kind=row.of_kind,
        project_id=row.of_project,
        project=projects.get(row.of_project, row.of_project),
        corrects_period=row.of_correction,
        entry_id=row.id,
        reason=row.status_reason,
        billed_nanousd=row.billed_nanousd,
    )


def columns_of(lines: list[StatedLine], number: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of `statement_line` for a statement's lines."""
    for position, line in enumerate(lines, 1):
        values = {name: getattr(line, name) for name in StatedLine.__slots__}
        yield {**values, "statement": number, "position": position}
