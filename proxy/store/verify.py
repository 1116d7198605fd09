"""Checking that the ledger adds up, entry by entry, from what it stores alone."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, select

from proxy.core.money import divide_half_even
from proxy.core.rating import Line, RateCard
from proxy.core.records import Entry, Kind, Role
from proxy.core.usage import Meter
from proxy.store.budget_list import load_book
from proxy.store.changes import current
from proxy.store.database import reading
from proxy.store.posting import period_of
from proxy.store.prices import load_cards
from proxy.store.schema import budget_window, chain_head, ledger_entry, ledger_line
from proxy.store.spend import ledger_sums, pot_in

PAGE_ENTRIES = 1_000
_AMOUNTS = ("list_nanousd", "cost_nanousd", "billed_nanousd")
_METERED = (Kind.RESPONSE, Kind.TRANSCRIPTION, Kind.DURATION)
_REPLACED = "\ufffd"  # stands for what the database cannot keep; the digest was made before that


@dataclass(frozen=True, slots=True)
class Verdict:
    """How many entries were checked, and the first thing that is wrong, if anything is."""

    entries: int
    fault: str | None = None


def verify(engine: Engine, zone: tzinfo, progress: Callable[[int, int], None] | None = None) -> Verdict:
    """Recompute every entry, then the counters of budgets, and report the first that differs.

    `zone` decides an entry's period. `progress` is told how many entries of how many are done.
    """
    checked = 0
    with reading(engine) as connection:
        total = int(connection.execute(select(chain_head.c.entries)).scalar_one())
        cards = {card.id: card for card in load_cards(connection)}
    for row, lines in _rows(engine, total):
        fault = _fault(row, lines, cards, zone, expected_id=checked + 1)
        if fault is not None:
            return Verdict(checked, f"entry {row.id}: {fault}")
        checked += 1
        if progress is not None and (checked % PAGE_ENTRIES == 0 or checked == total):
            progress(checked, total)
    if checked != total:
        return Verdict(checked, f"there should be {total} entries, and there are {checked}")
    return Verdict(checked, _repeated_key(engine) or _counter_fault(engine))


def _rows(engine: Engine, total: int) -> Iterator[tuple[Row[Any], Sequence[Row[Any]]]]:
    """Yield the entries with their lines, by id, up to `total`; later ones are still being booked.

    Read in pages, each a short transaction: what is booked does not change, and a long transaction
    would hold back vacuum or checkpoints.
    """
    after = 0
    while True:
        wanted = ledger_entry.c.id.between(after + 1, total)
        with reading(engine) as connection:
            query = select(ledger_entry).where(wanted).order_by(ledger_entry.c.id)
            page = connection.execute(query.limit(PAGE_ENTRIES)).all()
            lines = _lines(connection, page)
        if not page:
            return
        yield from ((row, lines[row.id]) for row in page)
        after = page[-1].id


def _lines(connection: Connection, page: Sequence[Row[Any]]) -> Mapping[int, Sequence[Row[Any]]]:
    lines: dict[int, list[Row[Any]]] = {row.id: [] for row in page}
    if page:
        inside = ledger_line.c.entry_id.between(page[0].id, page[-1].id)
        for line in connection.execute(select(ledger_line).where(inside).order_by(ledger_line.c.meter)):
            if line.entry_id in lines:
                lines[line.entry_id].append(line)
    return lines


def _fault(
    row: Row[Any], lines: Sequence[Row[Any]], cards: Mapping[str, RateCard], zone: tzinfo, *, expected_id: int
) -> str | None:
    if row.id != expected_id:
        return f"expected entry {expected_id} here: one or more are missing"
    if row.period != period_of(row.occurred_at, zone):
        return f"its period {row.period} is not the month of {row.occurred_at:%Y-%m-%d %H:%M} UTC in {zone}"
    for line in lines:
        fault = _line_fault(line, cards)
        if fault is not None:
            return f"{line.meter}: {fault}"
    return _sum_fault(row, lines) or _record_fault(row, lines)


def _line_fault(line: Row[Any], cards: Mapping[str, RateCard]) -> str | None:
    if line.unit != ("ms" if line.meter == Meter.DURATION_MS else "token"):
        return f"counted in {line.unit!r}"
    if line.price_nanousd is None or line.price_per is None:
        priced = any(getattr(line, name) is not None for name in _AMOUNTS)
        return "an amount without a price" if priced else None
    card = cards.get(line.rate_card_id)
    price = card.prices.get(line.meter) if card else None
    if price is None or (price.nanousd, price.per) != (line.price_nanousd, line.price_per):
        return f"its price is not that of rate card {line.rate_card_id}"
    amount = divide_half_even(line.quantity * line.price_nanousd, line.price_per)
    for name in ("list_nanousd", "cost_nanousd"):
        if getattr(line, name) != amount:
            return f"{name} is {getattr(line, name)}, and quantity × price is {amount}"
    return None


def _sum_fault(row: Row[Any], lines: Sequence[Row[Any]]) -> str | None:
    """Return which of the entry's amounts is not the sum of its lines; unrated is all or nothing."""
    for name in _AMOUNTS:
        parts = [getattr(line, name) for line in lines]
        booked = getattr(row, name)
        if booked is None:
            if parts and None not in parts:
                return f"{name} is missing although every line has one"
        elif None in parts or sum(parts) != booked:
            return f"{name} is {booked}, and its lines do not sum to that"
    return None


def _record_fault(row: Row[Any], lines: Sequence[Row[Any]]) -> str | None:
    """Return how a metered entry differs from what its key and digest were made of."""
    if row.kind not in _METERED or _REPLACED in f"{row.entry_key}{row.model}":
        return None
    record = _record(row, lines)
    if record.entry_key != row.entry_key:
        return f"its key should be {record.entry_key}"
    if record.digest != row.digest:
        return "what it bills is not what was posted (its digest differs)"
    return None


def _record(row: Row[Any], lines: Sequence[Row[Any]]) -> Entry:
    return Entry(
        session_id=row.session_id,
        upstream_session_id=row.upstream_session_id,
        provider=row.provider,
        kind=Kind(row.kind),
        subject_id=row.subject_id,
        model=row.model,
        status=row.status,
        status_reason=row.status_reason,
        occurred_at=row.occurred_at,
        estimated=row.estimated,
        flags=tuple(row.flags),
        lines=tuple(
            Line(
                **{name: getattr(line, name) for name in Line.__struct_fields__ if name != "meter"},
                meter=line.meter,
            )
            for line in lines
        ),
        cost_nanousd=row.cost_nanousd,
        role=Role(row.role),
        revision=row.revision,
    )


def _repeated_key(engine: Engine) -> str | None:
    query = select(ledger_entry.c.entry_key).group_by(ledger_entry.c.entry_key).having(func.count() > 1)
    with reading(engine) as connection:
        repeated = connection.execute(query.limit(1)).scalar_one_or_none()
    return f"the key {repeated} is booked more than once" if repeated is not None else None


def _counter_fault(engine: Engine) -> str | None:
    """Return which counter of a budget is not the ledger's sum; deleted budgets count no more."""
    with reading(engine) as connection:
        book = load_book(connection, current(connection))
        rows = connection.execute(select(budget_window).order_by(*budget_window.primary_key.columns)).all()
        spent = {pot_in(row): row.spent_nanousd for row in rows if row.budget_id in book.budgets}
        sums = ledger_sums(connection, {pot: book.budgets[pot.budget_id] for pot in spent})
    for pot, amount in spent.items():
        if amount != sums[pot]:
            of = f" of {pot.subject}" if pot.subject else ""
            window = f"the window{of} from {pot.starts_at:%Y-%m-%d %H:%M} UTC"
            wrong = f"spent_nanousd is {amount} in {window}, and the ledger sums to {sums[pot]}"
            return f"budget {pot.budget_id}: {wrong}"
    return None
