"""The accounts of an instance: which of them enclose a session, and what each asks of the database.

No I/O here, and no clock: `now` is the instant, `now_s` a monotonic time in seconds. What is decided:

* A slice is for `SLICE_S` at the present rate, which shows in how long the last slice has lasted before it
  does in what has moved. So of many sessions that begin at once not each one has to ask.
* A lease is topped up once less than half of its last slice is free, if money was moved lately.
* What is not held goes back after `IDLE_S`, and at once when another instance wants it or the budget is so
  nearly spent that every hold is leased by itself; but nothing while the database is away.
* `granted` is what the database has given in all, less what was given back, and `taken` what postings have
  taken of it in all. After an exchange or a posting whose end is not known the next answer tells by these
  sums what has happened.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from proxy.core.allowance import FOREVER, Account, Allowance, Need, Unposted
from proxy.core.budgets import Budget, BudgetBook, OnStoreDown, Payer, Pot, pot_of
from proxy.core.windows import Window
from proxy.store.leases import Answer, Order
from proxy.store.posting import Posting

IDLE_S = 5.0
SLICE_S = 30.0  # of spending at the present rate: how much is leased at most at once
GROWTH_MAX = 4.0  # from one slice to the next
RATE_S = 10.0  # over about how long a rate is taken
LOOK_S = 0.4


@dataclass(slots=True, eq=False)
class _Kept:
    """An account, and what only its keeper needs to know. Amounts in nano-dollars."""

    account: Account
    sessions: int = 0
    granted_nanousd: int = 0
    taken_nanousd: int = 0
    borrowed_nanousd: int = 0  # taken unasked while the database was away
    slice_nanousd: int = 0
    sliced_at_s: float = float("-inf")  # when that was asked for
    moved_nanousd: int = 0  # used and held, when last looked at
    moved_at_s: float = 0.0
    looked_at_s: float = 0.0
    rate_nanousd_s: float = 0.0
    is_near_end: bool = False
    is_wanted: bool = False  # by another instance
    is_stale: bool = True  # the database has to be heard
    is_new: bool = True  # it was never heard
    is_unsure: bool = False  # whether the last exchange was carried out

    def take(self, taken_nanousd: int) -> None:
        """Note how much of the lease is taken in all. It may be older than what is known of it here."""
        more = max(0, taken_nanousd - self.taken_nanousd)
        self.taken_nanousd += more
        if not self.is_new:
            self.account.leased_nanousd -= more

    def look(self, now_s: float) -> None:
        """Note what has moved since the last look, and how fast."""
        seconds = now_s - self.looked_at_s
        if seconds < LOOK_S:
            return
        moved = self.account.used_nanousd + self.account.held_nanousd
        if moved != self.moved_nanousd:
            self.moved_at_s = now_s
        share = min(1.0, seconds / RATE_S)
        rate = max(0, moved - self.moved_nanousd) / seconds
        self.rate_nanousd_s += share * (rate - self.rate_nanousd_s)
        self.moved_nanousd, self.looked_at_s = moved, now_s

    def most(self, now_s: float) -> int:
        """Return how much to lease at most at once, where it is asked for now."""
        lasted_s, self.sliced_at_s = now_s - self.sliced_at_s, now_s
        growth = min(GROWTH_MAX, SLICE_S / max(lasted_s, 0.001))
        return int(max(self.rate_nanousd_s * SLICE_S, growth * self.slice_nanousd))

    def is_idle(self, now_s: float) -> bool:
        return now_s - self.moved_at_s >= IDLE_S


@dataclass(frozen=True, slots=True)
class Wish:
    """What sessions wait for in one account: `nanousd` free; `partly` if less helps too."""

    nanousd: int
    partly: bool


class Accounts:
    """All accounts of an instance, shared by its sessions."""

    def __init__(self) -> None:
        self.unposted: Unposted = {}
        self.instances = 1  # that share the database, this one included
        self._kept: dict[Pot, _Kept] = {}

    @property
    def have_spare(self) -> bool:
        """Say whether anything is free that another instance could want."""
        return any(kept.account.free_nanousd > 0 for kept in self._kept.values())

    # Which enclose a session

    def enclose(self, allowance: Allowance, book: BudgetBook, now: datetime, now_s: float) -> None:
        """Put a session under the accounts of the budgets that enclose it now."""
        payer, before = allowance.payer, allowance.accounts
        if payer is None:
            return
        budgets = allowance.budgets = book.enclosing(payer)
        accounts = [self._account(one, payer, allowance, now, now_s) for one in budgets if one.holds]
        allowance.enclose(accounts)
        self.release(before)
        allowance.is_priced_only = any(one.amount_nanousd is not None for one in budgets)
        allowance.until = min((*_changes(budgets, now), *(one.ends_at for one in accounts)), default=FOREVER)
        allowance.version = book.version

    def follow(self, book: BudgetBook) -> None:
        """Let the budgets be as `book` has them: what is at hand may be too much of them now.

        Of one that was deleted, or has no end any more, nothing is leased: what is at hand goes back.
        """
        for kept in self._kept.values():
            budget = book.budgets.get(kept.account.budget.id)
            if budget is not None and budget.amount_nanousd is not None:
                self._renew(kept, budget)

    def release(self, accounts: Iterable[Account]) -> None:
        """Note that a session has left `accounts`."""
        for account in accounts:
            kept = self._kept.get(account.pot)
            if kept is not None and kept.account is account:
                kept.sessions -= 1

    def _account(
        self, budget: Budget, payer: Payer, allowance: Allowance, now: datetime, now_s: float
    ) -> Account:
        pot = pot_of(budget, payer, now)
        if budget.window is Window.SESSION:
            return _own_account(budget, pot, allowance, now)
        kept = self._kept.get(pot)
        if kept is None:
            span = budget.span(now)
            account = Account(budget, pot, span.end if span else FOREVER)
            kept = self._kept[pot] = _Kept(account, moved_at_s=now_s, looked_at_s=now_s)
        self._renew(kept, budget)
        kept.sessions += 1
        return kept.account

    @staticmethod
    def _renew(kept: _Kept, budget: Budget) -> None:
        if kept.account.budget != budget:
            kept.account.budget, kept.account.refused_until, kept.is_stale = budget, None, True

    # What is asked of the database

    def orders(
        self, wishes: Mapping[Pot, Wish], now: datetime, now_s: float, *, gives: bool = True
    ) -> list[Order]:
        """Return what to exchange now. What is given back is taken off here: nobody may hold it any more.

        Not `gives`: nothing is given back, since the database is away, and sessions live on what is at hand.
        """
        self._forget()
        found = (self._order(kept, wishes.get(pot), now, now_s, gives) for pot, kept in self._kept.items())
        return [order for order in found if order is not None]

    def _order(
        self, kept: _Kept, wish: Wish | None, now: datetime, now_s: float, gives: bool
    ) -> Order | None:
        kept.look(now_s)
        account, free = kept.account, kept.account.free_nanousd
        budget = account.budget
        if account.limit_nanousd != (budget.amount_at(now) or 0):
            kept.is_stale = True  # it was raised for a time, or is no longer
        if wish is not None and wish.nanousd > free:
            need = wish.nanousd - free
            return Order(account.pot, budget, 0, need, kept.most(now_s), partial=wish.partly)
        if gives and (give := self._spare(kept, free, wish, now_s)):
            account.leased_nanousd -= give
            kept.granted_nanousd -= give
            return Order(account.pot, budget, give_nanousd=give)
        if self._is_low(kept, free, now, now_s):
            need = max(1, kept.slice_nanousd - free)
            return Order(account.pot, budget, 0, need, kept.most(now_s), partial=True)
        return Order(account.pot, budget) if kept.is_stale else None

    @staticmethod
    def _spare(kept: _Kept, free: int, wish: Wish | None, now_s: float) -> int:
        """Return what to give back: all that is free, and not borrowed, where it is not needed here."""
        is_unneeded = kept.is_wanted or kept.is_near_end or kept.is_idle(now_s) or not kept.sessions
        spare = free - kept.borrowed_nanousd
        return spare if wish is None and is_unneeded and spare > 0 else 0

    @staticmethod
    def _is_low(kept: _Kept, free: int, now: datetime, now_s: float) -> bool:
        active = kept.sessions > 0 and not (kept.is_idle(now_s) or kept.is_near_end or kept.is_wanted)
        return active and free < kept.slice_nanousd // 2 and kept.account.may_ask(now)

    def _forget(self) -> None:
        """Drop accounts that nobody uses and nothing is in, as far as the database agrees."""
        unused = [
            pot
            for pot, kept in self._kept.items()
            if not kept.sessions
            and not kept.is_unsure
            and not (
                kept.account.leased_nanousd or kept.account.held_nanousd or kept.account.unposted_nanousd
            )
        ]
        for pot in unused:
            del self._kept[pot]

    def undo(self, orders: Iterable[Order]) -> None:
        """Note that `orders` are never carried out: what was to be given back is here still."""
        for order in orders:
            for kept in self._those_of([order.pot]):
                kept.account.leased_nanousd += order.give_nanousd
                kept.granted_nanousd += order.give_nanousd

    def failed(self, orders: Iterable[Order]) -> None:
        """Note that nobody knows whether `orders` were carried out: what was given back may be gone."""
        for kept in self._those_of(order.pot for order in orders):
            kept.is_stale = kept.is_unsure = True

    # What the database answers

    def take_over(self, order: Order, answer: Answer) -> int:
        """Take over what the database has granted, or taken back, and what it knows; return how much."""
        given = 0
        for kept in self._those_of([order.pot]):
            account = kept.account
            if (
                kept.is_new
            ):  # what was taken of it was granted to an account that was forgotten, or to the last run
                kept.take(answer.taken_nanousd)
                kept.granted_nanousd = kept.taken_nanousd
            given = answer.granted_nanousd - kept.granted_nanousd
            account.leased_nanousd += given - kept.borrowed_nanousd
            account.lowered += given < 0
            kept.granted_nanousd, kept.borrowed_nanousd = answer.granted_nanousd, 0
            account.limit_nanousd = answer.limit_nanousd
            if answer.taken_nanousd >= kept.taken_nanousd:  # else a later posting was heard of first
                account.spent_nanousd = answer.spent_nanousd
            account.is_unknown = False
            kept.is_stale = kept.is_wanted = kept.is_new = kept.is_unsure = False
            if order.need_nanousd:
                kept.slice_nanousd = max(account.free_nanousd, order.need_nanousd)
                kept.is_near_end = answer.left_nanousd // 4 // self.instances <= order.need_nanousd
        return given

    def want(self, pots: Iterable[Pot]) -> None:
        """Note that other instances need what is free in `pots`."""
        for kept in self._those_of(pots):
            kept.is_wanted = True

    def borrow(self, need: Need) -> None:
        """The database is away: let `continue` take what is missing; else what is left is not known."""
        account = need.account
        missing = need.nanousd - account.free_nanousd
        for kept in self._those_of([account.pot]):
            if missing <= 0:
                continue
            budget = account.budget
            may = budget.store_down_nanousd if budget.on_store_down is OnStoreDown.CONTINUE else 0
            if kept.borrowed_nanousd + missing <= may:
                kept.borrowed_nanousd += missing
                account.leased_nanousd += missing
            else:
                account.is_unknown = True
            kept.is_stale = True

    def take_off(self, posting: Posting) -> None:
        """Take off what a posting has counted: it is spent in the database now, and off the leases there."""
        for key in posting.handled:
            for accounts, charged in self.unposted.pop(key, ()):
                for account in accounts:
                    account.unposted_nanousd -= charged[account.basis]
        for pot, charge in posting.charged.items():
            for kept in self._those_of([pot]):
                if charge.taken_nanousd - kept.taken_nanousd < charge.amount_nanousd:
                    kept.is_stale = True  # there is less in its lease than is known of here: it was forgotten
                kept.take(charge.taken_nanousd)
                kept.account.spent_nanousd = charge.spent_nanousd
        for pot, taken in posting.taken.items():
            for kept in self._those_of([pot]):
                kept.take(taken)

    def _those_of(self, pots: Iterable[Pot]) -> Iterator[_Kept]:
        for pot in pots:
            if (kept := self._kept.get(pot)) is not None:
                yield kept


def _own_account(budget: Budget, pot: Pot, allowance: Allowance, now: datetime) -> Account:
    """Return the account of a session's own window: its amount is all there is, and nobody is asked.

    Of a budget that is made in mid-session, what the session has cost until now is spent.
    """
    amount = budget.amount_at(now) or 0
    account = next((one for one in allowance.accounts if one.pot == pot), None)
    if account is None:
        account = Account(budget, pot, is_leased=False)
        account.settle(allowance.charged[account.basis])
    account.budget = budget
    account.leased_nanousd += amount - account.limit_nanousd
    account.limit_nanousd = amount
    return account


def _changes(budgets: Iterable[Budget], now: datetime) -> Iterator[datetime]:
    """Yield when amounts will change by themselves."""
    for budget in budgets:
        for one in budget.raises:
            yield from (at for at in (one.starts_at, one.ends_at) if at > now)
