"""What a posting does to budgets, in its transaction: counters, leases, thresholds and cuts.

An entry counts in every budget that encloses who pays for it, in the window that contains its
`occurred_at`. Budgets of the organisation count what the upstream charges, all others what the tenant owes;
what has no price counts as the dearest. Adjustments and credits count nowhere.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from proxy.core.announced import Announced
from proxy.core.budgets import Budget, BudgetBook, Payer, Pot, Scope, pot_of
from proxy.core.money import format_usd
from proxy.core.records import BudgetCut, Entry
from proxy.store import changes
from proxy.store.budget_list import load_book
from proxy.store.budget_windows import UNCOUNTED, WindowRow, ensure_windows, lock_windows
from proxy.store.instants import format_instant
from proxy.store.leases import take_from_lease
from proxy.store.outbox import News, announce
from proxy.store.rows import insert_new
from proxy.store.schema import budget_cut, budget_window, to_micros


@dataclass(frozen=True, slots=True)
class Charge:
    """What a posting has charged to one pot, how much of it was leased, and what is spent of it now."""

    amount_nanousd: int
    taken_nanousd: int
    spent_nanousd: int


@dataclass(frozen=True, slots=True)
class Spending:
    """An entry that is new in the ledger, and who pays for it."""

    entry: Entry
    payer: Payer

    def amount_for(self, budget: Budget) -> int:
        """Return what it charges to `budget`."""
        if self.entry.cost_nanousd is None or budget.scope is Scope.ORGANISATION:
            return self.entry.charged_nanousd
        return sum(line.billed_nanousd or 0 for line in self.entry.lines)


@dataclass(slots=True)
class Books:
    """The book of budgets as a posting sees it, read again when the change counter has moved."""

    _book: BudgetBook = field(default_factory=BudgetBook)

    def read(self, connection: Connection) -> BudgetBook:
        """Return the book; the chain is locked, so that a budget made later has not counted anything yet."""
        counter = changes.current(connection)
        if counter != self._book.version:
            self._book = load_book(connection, counter)
        return self._book


def charge(
    connection: Connection,
    book: BudgetBook,
    spendings: Iterable[Spending],
    *,
    instance_id: str,
    now: datetime,
) -> Mapping[Pot, Charge]:
    """Count `spendings`, which the ledger does not hold yet, in the budgets that enclose them."""
    budgets: dict[Pot, Budget] = {}
    amounts: dict[Pot, int] = {}
    for one in spendings:
        if one.entry.kind.value in UNCOUNTED:
            continue
        for budget in book.enclosing(one.payer):
            pot = pot_of(budget, one.payer, one.entry.occurred_at)
            budgets[pot] = budget
            amounts[pot] = amounts.get(pot, 0) + one.amount_for(budget)
    if not amounts:
        return {}
    made = ensure_windows(connection, budgets)
    windows = lock_windows(connection, sorted(amounts))
    _add(connection, amounts)
    taken = take_from_lease(connection, instance_id, amounts)
    _announce_thresholds(connection, budgets, windows, amounts, made, now)
    return {
        pot: Charge(amount, taken[pot], windows[pot].spent_nanousd + amount)
        for pot, amount in amounts.items()
    }


_ADD = (
    update(budget_window)
    .where(
        budget_window.c.budget_id == bindparam("of"),
        budget_window.c.subject == bindparam("whose"),
        budget_window.c.starts_at == bindparam("since"),
    )
    .values(spent_nanousd=budget_window.c.spent_nanousd + bindparam("more"))
)


def _add(connection: Connection, amounts: Mapping[Pot, int]) -> None:
    connection.execute(
        _ADD,
        [
            {"of": pot.budget_id, "whose": pot.subject, "since": pot.starts_at, "more": amounts[pot]}
            for pot in sorted(amounts)
        ],
    )


# --- Thresholds


def _announce_thresholds(
    connection: Connection,
    budgets: Mapping[Pot, Budget],
    windows: Mapping[Pot, WindowRow],
    amounts: Mapping[Pot, int],
    made: set[Pot],
    now: datetime,
) -> None:
    """Announce what was crossed upwards; in a window that was not counted before, all that is reached."""
    found = []
    for pot, budget in budgets.items():
        limit, before = budget.amount_at(now), windows[pot].spent_nanousd
        after = before + amounts[pot]
        if not limit or limit < 0:
            continue
        for percent in budget.thresholds:
            is_news = pot in made or before * 100 < limit * percent
            if is_news and after * 100 >= limit * percent:
                found.append(_threshold(pot, budget, percent, limit, after, now))
    announce(connection, found)


def _threshold(pot: Pot, budget: Budget, percent: int, limit: int, spent: int, now: datetime) -> News:
    return News(
        key=f"threshold/{pot.budget_id}/{pot.subject}/{to_micros(pot.starts_at)}/{percent}",
        kind=Announced.BUDGET_THRESHOLD,
        tenant_id=budget.tenant_id,
        at=now,
        payload={
            "budget_id": budget.id,
            "scope": budget.scope.value,
            "window": budget.window.value,
            "zone": budget.zone.key,
            "subject": pot.subject or None,
            "starts_at": format_instant(pot.starts_at),
            "percent": percent,
            "amount_nanousd": limit,
            "amount_usd": format_usd(limit),
            "spent_nanousd": spent,
            "spent_usd": format_usd(spent),
        },
    )


# --- Cuts


def record_cuts(connection: Connection, cuts: Sequence[BudgetCut]) -> None:
    """Keep what was cut; its real cost comes with its entry."""
    rows = [
        {
            "session_id": cut.session_id,
            "subject_id": cut.subject_id,
            "budget_id": cut.budget_id,
            "cut_at": cut.cut_at,
            "limit_nanousd": cut.limit_nanousd,
            "spent_nanousd": cut.spent_nanousd,
            "held_nanousd": cut.held_nanousd,
            "estimate_nanousd": cut.estimate_nanousd,
        }
        for cut in cuts
    ]
    if rows:
        insert_new(connection, budget_cut, ("session_id", "subject_id"), rows)


@dataclass(frozen=True, slots=True)
class Completed:
    """A cut whose response has been billed. Overshoot is what it cost beyond what was held for it."""

    session_id: str
    subject_id: str
    overshoot_nanousd: int


def complete_cuts(
    connection: Connection, spendings: Iterable[Spending], now: datetime
) -> tuple[Completed, ...]:
    """Fill in what was cut with what it cost in the end, and announce it."""
    bills = {(one.entry.session_id, one.entry.subject_id): one for one in spendings}
    columns = budget_cut.c
    open_cuts = select(budget_cut).where(
        columns.session_id.in_({session_id for session_id, _ in bills}), columns.cost_nanousd.is_(None)
    )
    completed, announcements = [], []
    for row in connection.execute(open_cuts).mappings().all():
        bill = bills.get((row["session_id"], row["subject_id"]))
        if bill is None:
            continue
        cost = bill.entry.charged_nanousd
        figures = {"cost_nanousd": cost, "overshoot_nanousd": max(0, cost - row["held_nanousd"])}
        this = (columns.session_id == row["session_id"]) & (columns.subject_id == row["subject_id"])
        connection.execute(update(budget_cut).where(this).values(**figures))
        completed.append(Completed(row["session_id"], row["subject_id"], figures["overshoot_nanousd"]))
        announcements.append(_cut({**row, **figures}, bill.payer.tenant_id, now))
    announce(connection, announcements)
    return tuple(completed)


def _cut(row: Mapping[str, Any], tenant_id: str, now: datetime) -> News:
    return News(
        key=f"cut/{row['session_id']}/{row['subject_id']}",
        kind=Announced.BUDGET_CUT,
        tenant_id=tenant_id,
        at=now,
        payload={**row, "cut_at": format_instant(row["cut_at"])},
    )
