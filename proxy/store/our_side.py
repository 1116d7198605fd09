"""Our side of a reconciliation: what lines come to by UTC day, upstream account, model and meter."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Select, case, func, select, type_coerce

from proxy.core.rating import CONTRACT, PUBLIC, Price, without_date
from proxy.core.reconcile import Booked, Dated, Edge, Prices
from proxy.core.records import Role
from proxy.core.usage import Meter
from proxy.core.windows import Span, midnight
from proxy.store.archives import load_archives, refuse_archived
from proxy.store.calendar import DAY, day_text
from proxy.store.prices import load_cards
from proxy.store.schema import ledger_entry, ledger_line
from proxy.store.spend import METERED
from proxy.store.sums import exact, parts

PROVIDER = "openai"
BEFORE_MIDNIGHT = 10 * 60 * 1_000_000  # microseconds that a response may go on into the next day
AFTER_MIDNIGHT = 60 * 1_000_000  # … that audio was heard, or another clock goes, before ours

_entry, _line = ledger_entry.c, ledger_line.c
_DAY = timedelta(days=1)
_METERS = frozenset(meter.value for meter in Meter)


def our_side(connection: Connection, span: Span, shown_until: datetime) -> list[Booked]:
    """Return what was booked of full UTC days. What occurred after `shown_until` they may not show yet.

    Raises:
        StoreError: lines of that time are in an archive.
    """
    refuse_archived(connection, _metered(span), "a reconciliation")
    return [*_lines(connection, span, shown_until), *_uncounted(connection, span)]


def first_at_hand(connection: Connection, first: date, end: date) -> date:
    """Return the first of these days from which on lines are here, those of the day before it too.

    Where there is none it is `first`: that these days cannot be compared is for `our_side` to say.
    """
    span = Span(midnight(UTC, first - _DAY), midnight(UTC, end + _DAY))
    wanted = [*_metered(span), _entry.period.in_(list(load_archives(connection)))]
    last = connection.execute(select(func.max(_entry.occurred_at)).where(*wanted)).scalar_one()
    begins = first if last is None else max(first, last.astimezone(UTC).date() + 2 * _DAY)
    return begins if begins < end else first


def price_history(connection: Connection, aliases: Mapping[str, str]) -> Prices:
    """Return all prices that we are or were charged by our cards, the public's and the contract's."""
    found: dict[tuple[str, Meter], list[Dated]] = {}
    for card in load_cards(connection):
        if card.provider != PROVIDER or card.owner not in (PUBLIC, CONTRACT):
            continue
        model = without_date(aliases.get(card.model, card.model))
        for meter, price in card.prices.items():
            found.setdefault((model, meter), []).append(Dated(card.effective_from, price))
    return found


def _lines(connection: Connection, span: Span, shown_until: datetime) -> Iterator[Booked]:
    micros = type_coerce(_entry.occurred_at, BigInteger)
    into_day = micros - micros // DAY * DAY
    edge = case((into_day >= DAY - BEFORE_MIDNIGHT, "end"), (into_day < AFTER_MIDNIGHT, "start"))
    one = (
        _of(span)
        .add_columns(
            _line.meter,
            _line.price_nanousd,
            _line.price_per,
            _entry.estimated,
            edge.label("edge"),
            case((_entry.occurred_at >= shown_until, 1), else_=0).label("late"),
            case((_entry.cost_nanousd.is_(None), 1), else_=0).label("unrated"),
            _line.quantity,
            _line.cost_nanousd,
        )
        .select_from(ledger_entry.join(ledger_line))
        .subquery()
    )
    same = [column for column in one.c if column.name not in ("quantity", "cost_nanousd")]
    summed = (*parts(one.c.quantity, "quantity"), *parts(one.c.cost_nanousd, "cost"))
    for row in connection.execute(select(*same, func.count().label("lines"), *summed).group_by(*same)):
        if row.meter not in _METERS:
            continue  # of a newer version
        is_rated = not row.unrated and row.price_nanousd is not None
        yield Booked(
            on=_date(row.day),
            account=row.account,
            model=row.model,
            meter=Meter(row.meter),
            quantity=exact(row, "quantity"),
            nanousd=exact(row, "cost") if is_rated else None,
            price=Price(row.price_nanousd, row.price_per) if is_rated else None,
            estimated=row.estimated,
            late=bool(row.late),
            edge=Edge(row.edge) if row.edge else None,
            lines=row.lines,
        )


def _uncounted(connection: Connection, span: Span) -> Iterator[Booked]:
    """Yield how many entries there are of which nothing was counted, so that they have no line."""
    line = select(_line.entry_id).where(_line.entry_id == _entry.id).correlate(ledger_entry).exists()
    each = case((_entry.role == Role.REVERSAL, -1), else_=1).label("each")
    one = _of(span).add_columns(each)
    found = one.where(_entry.cost_nanousd.is_(None), ~line).subquery()
    same = (found.c.day, found.c.account, found.c.model)
    for row in connection.execute(select(*same, func.sum(found.c.each).label("entries")).group_by(*same)):
        yield Booked(_date(row.day), row.account, row.model, None, int(row.entries), None)


def _of(span: Span) -> Select[Any]:
    """Select day, account and model of what was metered in `span`."""
    day = (type_coerce(_entry.occurred_at, BigInteger) // DAY).label("day")
    return select(day, _entry.account, _entry.model).where(*_metered(span))


def _metered(span: Span) -> Sequence[ColumnElement[bool]]:
    return (
        _entry.occurred_at >= span.start,
        _entry.occurred_at < span.end,
        _entry.provider == PROVIDER,
        _entry.kind.in_(METERED),
    )


def _date(day: int) -> date:
    return date.fromisoformat(day_text(day))
