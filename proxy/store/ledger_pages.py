"""Long ways through the ledger: every entry of a time once, in pages, however many there are.

Each page is a short transaction and goes on behind the last one's end in the order of an index, so the last
page costs what the first did. What is posted meanwhile is left out: a reader says up to which entry it wants
the chain, and several ways through it up to there agree. Entries whose lines are in an archive are refused,
but where whoever reads says itself which of them it needs.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC

from sqlalchemy import ColumnElement, Connection, Engine, Select, and_, func, or_, select

from proxy.core.periods import span_of
from proxy.core.records import Role
from proxy.store.database import reading
from proxy.store.filters import Filters, conditions
from proxy.store.ledger import Booked, booked, with_lines
from proxy.store.periods import load_closes
from proxy.store.schema import ledger_entry

PAGE_ENTRIES = 500

_of = ledger_entry.c
_reversal = ledger_entry.alias("reversal")
_Behind = Callable[[Booked], ColumnElement[bool]]


def by_time(engine: Engine, filters: Filters, through: int) -> Iterator[Booked]:
    """Yield entries in the order they occurred.

    Raises:
        StoreError: a filter names what does not exist.
    """
    for one in _by_tenant(filters):
        yield from _with_all(_pages(engine, one, [_of.id <= through], (_of.occurred_at, _of.id), _later))


def count(connection: Connection, filters: Filters, through: int) -> int:
    """Return how many entries `by_time` yields."""
    query = select(func.count()).select_from(ledger_entry)
    return int(
        connection.execute(query.where(*conditions(connection, filters), _of.id <= through)).scalar_one()
    )


def accounted_late(engine: Engine, filters: Filters, month: str, through: int) -> Iterator[Booked]:
    """Yield, in the order it occurred, what is accounted in a month and occurred before that month in UTC.

    It was booked behind the first close: without one there is none.
    """
    with reading(engine) as connection:
        first = next(iter(load_closes(connection)), None)
    if first is None:
        return
    wanted = [
        _of.period == month,
        _of.occurred_at < span_of(month, UTC).start,
        _of.id.between(first.entries + 1, through),
    ]
    for one in _by_tenant(filters):
        yield from _with_all(_pages(engine, one, wanted, (_of.occurred_at, _of.id), _later))


def unrated(engine: Engine, filters: Filters, through: int) -> Iterator[Booked]:
    """Yield, in the order of the chain, what has no price and was not replaced since.

    In an archived month that is what was never counted. It has no lines, and is no reason to refuse another
    month; so whoever wants some of these asks each for its lines.

    Raises:
        StoreError: a filter names what does not exist.
    """
    yield from _pages(engine, filters, _unrated(through), (_of.id,), _behind)


def _unrated(through: int) -> list[ColumnElement[bool]]:
    taken_back = select(_reversal.c.id).where(
        _reversal.c.corrects == _of.id, _reversal.c.role == Role.REVERSAL, _reversal.c.id <= through
    )
    return [
        _of.cost_nanousd.is_(None),
        _of.role != Role.REVERSAL,
        ~taken_back.correlate(ledger_entry).exists(),
        _of.id <= through,
    ]


def _with_all(entries: Iterable[Booked]) -> Iterator[Booked]:
    for entry in entries:
        entry.need_lines()
        yield entry


def _by_tenant(filters: Filters) -> Iterator[Filters]:
    """Yield filters for one tenant after the other: an index has the order of time for one or for all."""
    if filters.within is None or filters.tenant is not None:
        yield filters
        return
    for tenant_id in sorted(filters.within):
        yield replace(filters, within=frozenset({tenant_id}))


def _later(last: Booked) -> ColumnElement[bool]:
    since = _of.occurred_at >= last.occurred_at  # said apart, for an index to begin there
    return and_(since, or_(_of.occurred_at > last.occurred_at, _of.id > last.id))


def _behind(last: Booked) -> ColumnElement[bool]:
    return _of.id > last.id


def _pages(
    engine: Engine,
    filters: Filters,
    wanted: Sequence[ColumnElement[bool]],
    order: Sequence[ColumnElement[object]],
    behind: _Behind,
) -> Iterator[Booked]:
    last: Booked | None = None
    while True:
        with reading(engine) as connection:
            more = [behind(last)] if last is not None else []
            page = with_lines(connection, _page(connection, filters, [*wanted, *more], order))
        yield from page
        if len(page) < PAGE_ENTRIES:
            return
        last = page[-1]


def _page(
    connection: Connection,
    filters: Filters,
    wanted: Sequence[ColumnElement[bool]],
    order: Sequence[ColumnElement[object]],
) -> Select[tuple[object, ...]]:
    query = booked().where(*conditions(connection, filters), *wanted)
    return query.order_by(*order).limit(PAGE_ENTRIES)
