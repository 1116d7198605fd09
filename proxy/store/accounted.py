"""Entries that are accounted in another month than the one in which they occurred.

Rollups know when entries occurred, and nothing of periods. What was late for a close, or corrects a closed
month, is in the wrong month there. It is little, and an index finds it; so reports by period put it right.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, tzinfo

from sqlalchemy import ColumnElement, Connection, func, select, union_all

from proxy.core.periods import span_of
from proxy.store.filters import Condition, Filters, accounted_months
from proxy.store.groups import LINES, Source, month_in
from proxy.store.schema import ledger_entry

_entry = ledger_entry.c


def moved(connection: Connection, zone: tzinfo) -> Condition | None:
    """Return which entries those are, None if there are none. Months are those of `zone`."""
    found = [one for period in _periods(connection) for one in _elsewhere(connection, period, zone)]
    if not found:
        return None
    return _entry.id.in_(union_all(*(select(_entry.id).where(one) for one in found)))


def _periods(connection: Connection) -> Iterator[str]:
    """Yield the periods that have entries, each found by the index."""
    period = connection.execute(select(func.min(_entry.period))).scalar_one()
    while period is not None:
        yield period
        later = select(func.min(_entry.period)).where(_entry.period > period)
        period = connection.execute(later).scalar_one()


def _elsewhere(connection: Connection, period: str, zone: tzinfo) -> Iterator[Condition]:
    """Yield a condition for what is of this period and occurred before it, and for what did after it.

    The first and the last are asked for apart: so both databases look at one end of an index only.
    """
    span, at, of_period = span_of(period, zone), _entry.occurred_at, _entry.period == period
    first = connection.execute(select(func.min(at)).where(of_period)).scalar_one()
    if first is not None and first < span.start:
        yield of_period & (at < span.start)
    last = connection.execute(select(func.max(at)).where(of_period)).scalar_one()
    if last is not None and last >= span.end:
        yield of_period & (at >= span.end)


def as_occurred(filters: Filters, zone: tzinfo) -> Filters | None:
    """Return `filters` about the time of the periods that are meant, None where nothing is between."""
    first, last = accounted_months(filters)
    starts = [span_of(first, zone).start] if first is not None else []
    ends = [span_of(last, zone).start] if last is not None else []
    if filters.months_of is None:
        starts += [filters.start] if filters.start is not None else []
        ends += [filters.end] if filters.end is not None else []
    start, end = max(starts, default=None), min(ends, default=None)
    if start is not None and end is not None and end <= start:
        return None
    return replace(filters, start=start, end=end, period=None, months_of=None)


def lines_as_occurred(dialect: str, zone: tzinfo, span: tuple[datetime, datetime]) -> Source:
    """Return entries as if each were accounted in the month in `zone` in which it occurred."""
    at: ColumnElement[datetime] = _entry.occurred_at
    return replace(LINES, period=month_in(dialect, at, zone, span))
