"""Checking that the ledger adds up, entry by entry, from what it stores alone.

The chain of blocks is recomputed from what is stored, so that any byte that was changed is found; what the
other checks find is said more plainly, and before that. A ledger that was cut off at its end or written anew
as a whole adds up too: only a digest that was kept elsewhere tells. Lines that are in an archive are read
from its file, where that is given; without it what is left is checked against its seal (`verify_archives`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from sqlalchemy import Engine, Row, func, select

from proxy.core.rating import PUBLIC, RateCard, Terms
from proxy.core.records import Role
from proxy.core.usage import Meter
from proxy.store import adjustments
from proxy.store.budget_list import load_book
from proxy.store.chain import BlockHash, Head, chain
from proxy.store.chain_rows import PERIOD, StoredEntry, StoredLines, blocks, stored_rows
from proxy.store.changes import current
from proxy.store.columns import Unreadable
from proxy.store.corrections import Stored, reversal
from proxy.store.database import reading
from proxy.store.prices import load_cards
from proxy.store.rollup_check import rollup_fault
from proxy.store.schema import THREE_AMOUNTS, budget_window, ledger_entry
from proxy.store.spend import ledger_sums, pot_in
from proxy.store.verify_archives import Archives
from proxy.store.verify_closes import ClosesCheck
from proxy.store.verify_rows import METERED, PAGE_ENTRIES, UnreadableEntry, no_number, rows

_REPLACED = "\ufffd"  # stands for what the database cannot keep; the digest was made before that


@dataclass(frozen=True, slots=True)
class Verdict:
    """How many entries were checked, and the first thing that is wrong, if anything is."""

    entries: int
    fault: str | None = None
    seal: str | None = field(default=None, compare=False)  # to keep elsewhere, of a ledger that adds up
    sealed: Sequence[str] = ()  # archived periods whose lines were not at hand


def verify(
    engine: Engine,
    zone: tzinfo,
    progress: Callable[[int, int], None] | None = None,
    *,
    kept: str | None = None,
    files: Sequence[Path] = (),
) -> Verdict:
    """Recompute entries, blocks, closes, statements, counters and rollups; report the first that differs.

    `zone` decides an entry's period until a first close has fixed it. `progress` is told how many entries of
    how many are done. `kept` is the seal of an earlier verdict: the ledger has to begin with all that it was
    made of. `files` are archives: without one, the lines of its period are taken as they were sealed.

    Raises:
        StoreError: one of `files` is none of this ledger's archives, or is damaged; or lines were archived
            meanwhile.
    """
    if (fault := no_number(engine)) is not None:
        return Verdict(0, fault)
    try:
        archives = Archives.load(engine, files)
        verdict = _verified(engine, zone, progress, kept, archives)
    except UnreadableEntry as problem:
        return Verdict(problem.before, f"entry {problem.id}: {problem}")
    except Unreadable as problem:
        return Verdict(0, f"what is stored cannot be read: {problem}")
    if verdict.fault is not None:
        archives.check_same()
    return verdict


def _verified(
    engine: Engine,
    zone: tzinfo,
    progress: Callable[[int, int], None] | None,
    kept: str | None,
    archives: Archives,
) -> Verdict:
    checked = 0
    with reading(engine) as connection:
        head = chain(connection)
        total = head.entries
        cards = {card.id: card for card in load_cards(connection)}
        closes = ClosesCheck.load(engine, connection, head, zone, archives)
    links = _Links(engine, head, _kept(kept) | closes.seals, archives)
    filed = archives.reader()
    for row, here, old in rows(engine, total):
        lines = filed.lines(row.period, row.id, here)
        fault = f"it has lines, and {row.period} is archived" if here and row.period in archives else None
        fault = fault or _fault(row, lines, cards, closes, expected_id=checked + 1)
        if lines is not None and not (old is not None and old.row["period"] in archives):
            fault = fault or _correction_fault(row, lines, old)
        if fault is not None:
            return Verdict(checked, f"entry {row.id}: {fault}")
        fault = links.fault(row.id) or closes.add(row, lines, row.period_of_corrected)
        if fault is not None:
            return Verdict(checked, fault)
        checked += 1
        if progress is not None and (checked % PAGE_ENTRIES == 0 or checked == total):
            progress(checked, total)
    if checked != total:
        return Verdict(checked, f"there should be {total} entries, and there are {checked}")
    fault = links.fault_at_end() or closes.fault_at_end() or _repeated_key(engine) or _counter_fault(engine)
    fault = fault or archives.fault() or rollup_fault(engine)
    return Verdict(checked, fault, None if fault else head.seal, archives.without_file)


def _kept(seal: str | None) -> dict[str, str]:
    """Return the seal that somebody kept, with what is wrong if the ledger does not begin with it."""
    if seal in (None, Head(0, 0, "").seal):
        return {}
    return {str(seal): f"the ledger does not begin with what {seal} was made of: it was cut off or rewritten"}


class _Links:
    """Recomputes the blocks, as the entries go by."""

    def __init__(self, engine: Engine, head: Head, seals: Mapping[str, str], archives: Archives) -> None:
        """`seals` are to be met on the way, each with what is wrong if it is not."""
        self._head = head
        self._ahead = dict(seals)
        self._last = Head(0, 0, "")
        self._blocks = blocks(engine)
        self._stored = stored_rows(engine, 1, head.entries)
        self._archives = archives
        self._filed = archives.reader()
        self._block: _Block | None = None

    def fault(self, entry_id: int) -> str | None:
        """Take the next entry; say what is wrong with its block, if that ends here."""
        if self._block is None:
            row, left = next(self._blocks, (None, None))
            if row is None:
                return f"entry {entry_id}: no block covers it"
            number = self._last.blocks + 1
            if (row.id, row.first_entry) != (number, entry_id):
                return f"block {number}: it is missing, or does not begin with entry {entry_id}"
            self._block = _Block(row, self._last.digest, left)
        entry, here = next(self._stored)
        period = entry[PERIOD]
        self._block.add(
            entry, here, self._filed.lines(period, entry_id, here), archived=period in self._archives
        )
        block = self._block.row
        if entry_id < block.last_entry:
            return None
        fault, self._block = self._block.fault(), None
        self._last = Head(block.last_entry, block.id, block.digest)
        self._ahead.pop(self._last.seal, None)
        return fault

    def fault_at_end(self) -> str | None:
        """Say what is wrong with the chain's end, now that all entries were taken."""
        if self._last != self._head:
            return f"the chain should end with block {self._head.blocks}, {self._head.seal}"
        return next(iter(self._ahead.values()), None)


class _Block:
    """One block: its digest, and if lines of it are archived the one that sealed what is left."""

    def __init__(self, row: Row[Any], previous: str, left: str | None) -> None:
        self.row = row
        begins = (previous, row.id, row.first_entry, row.last_entry, row.posted_at)
        self._whole, self._rest = BlockHash(*begins), BlockHash(*begins)
        self._left = left
        self._is_archived, self._is_whole = False, True

    def add(
        self, entry: StoredEntry, here: StoredLines, lines: Sequence[Any] | None, *, archived: bool
    ) -> None:
        """Take an entry with the lines that are here, and with all that it has where these are known."""
        self._is_archived |= archived
        self._is_whole &= lines is not None
        self._whole.add(entry, lines or ())
        if self._left is not None:
            self._rest.add(entry, here)

    def fault(self) -> str | None:
        """Say what is wrong with the block, now that all of its entries were taken."""
        row = self.row
        what = f"block {row.id}: entries {row.first_entry} to {row.last_entry}"
        if self._is_archived != (self._left is not None):
            return f"{what} are not sealed as archived periods are"
        if self._left not in (None, self._rest.digest):
            return f"{what} are not what was sealed when lines of theirs were archived"
        if self._is_whole and self._whole.digest != row.digest:
            return f"{what} are not what was sealed"
        return None


def _fault(
    row: Row[Any],
    lines: Sequence[Row[Any]] | None,
    cards: Mapping[str, RateCard],
    closes: ClosesCheck,
    *,
    expected_id: int,
) -> str | None:
    if row.id != expected_id:
        return f"expected entry {expected_id} here: one or more are missing"
    if (fault := closes.period_fault(row)) is not None:
        return fault
    for line in lines or ():
        fault = _line_fault(line, row, cards)
        if fault is not None:
            return f"{line.meter}: {fault}"
    if lines is None:
        return _record_fault(row, None)
    return _sum_fault(row, lines) or _record_fault(row, lines)


def _line_fault(line: Row[Any], row: Row[Any], cards: Mapping[str, RateCard]) -> str | None:
    if line.unit != ("ms" if line.meter == Meter.DURATION_MS else "token"):
        return f"counted in {line.unit!r}"
    if line.price_nanousd is None or line.price_per is None:
        priced = any(getattr(line, name) is not None for name in THREE_AMOUNTS)
        return "an amount without a price" if priced else None
    card = cards.get(line.rate_card_id)
    price = card.prices.get(line.meter) if card else None
    if price is None or (price.nanousd, price.per) != (line.price_nanousd, line.price_per):
        return f"its price is not that of rate card {line.rate_card_id}"
    public, agreed = cards.get(row.public_card_id), cards.get(row.agreed_card_id)
    for named, found, owner in (
        (row.public_card_id, public, PUBLIC),
        (row.agreed_card_id, agreed, row.tenant_id),
    ):
        if named is not None and (found is None or found.owner != owner):
            return f"rate card {named} is not there, or is another's"
    amounts = Terms(card, public, agreed, row.markup_bp or 0).amounts(line.meter, line.quantity)
    for name, amount in zip(THREE_AMOUNTS, amounts or (), strict=True):
        if getattr(line, name) != amount:
            return f"{name} is {getattr(line, name)}, and by its prices it is {amount}"
    return None


def _sum_fault(row: Row[Any], lines: Sequence[Row[Any]]) -> str | None:
    """Return which of the entry's amounts is not the sum of its lines; unrated is all or nothing."""
    for name in THREE_AMOUNTS:
        parts = [getattr(line, name) for line in lines]
        booked = getattr(row, name)
        if row.kind in adjustments.KINDS and not parts:
            continue  # an amount that somebody gave
        if booked is None:
            if parts and None not in parts:
                return f"{name} is missing although every line has one"
        elif None in parts or sum(parts) != booked:
            return f"{name} is {booked}, and its lines do not sum to that"
    return None


def _record_fault(row: Row[Any], lines: Sequence[Row[Any]] | None) -> str | None:
    """Return how an entry differs from what its key and digest were made of; its lines may be elsewhere."""
    if row.kind in adjustments.KINDS:
        return _adjustment_fault(row, lines or ())
    if row.kind not in METERED:
        return f"its kind is {row.kind!r}"
    if _REPLACED in f"{row.entry_key}{row.model}":
        return None
    if row.role not in list(Role):
        return f"its role is {row.role!r}"
    record = _as_stored(row, lines or ()).record
    if record.entry_key != row.entry_key:
        return f"its key should be {record.entry_key}"
    if lines is not None and record.digest != row.digest:
        return "what it bills is not what was posted (its digest differs)"
    return None


def _adjustment_fault(row: Row[Any], lines: Sequence[Row[Any]]) -> str | None:
    if row.entry_key != (key := adjustments.entry_key(row.subject_id)):
        return f"its key should be {key}"
    if lines or row.digest != adjustments.digest(row):
        return "what it books is not what was posted (its digest differs)"
    return None


def _as_stored(row: Row[Any], lines: Sequence[Row[Any]]) -> Stored:
    return Stored(dict(row._mapping), [dict(line._mapping) for line in lines])


def _correction_fault(row: Row[Any], lines: Sequence[Row[Any]], old: Stored | None) -> str | None:
    """Return how a reversal or a replacement does not fit the entry that it corrects."""
    if row.kind not in METERED or row.role == Role.ORIGINAL:
        return None
    if old is None:
        return f"it corrects entry {row.corrects}, which is not there before it"
    record = _as_stored(row, lines).record
    wanted = reversal(old.record)
    if row.role == Role.REPLACEMENT:
        wanted = replace(
            wanted,
            role=Role.REPLACEMENT,
            lines=record.lines,
            cost_nanousd=record.cost_nanousd,
            billing=record.billing,
        )
    if record.entry_key != wanted.entry_key or record.digest != wanted.digest:
        return (
            f"it does not take back entry {row.corrects}"
            if row.role == Role.REVERSAL
            else (f"it does not replace entry {row.corrects}")
        )
    return None


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
