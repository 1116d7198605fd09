"""Money in two phases, like a card payment: `hold` before a response, then `settle` or `void`.

An `Account` is what this instance may spend of one budget window, shared by its sessions:
`free = leased − held − settled but unposted`. An `Allowance` is one session's view of the accounts that
enclose it: all of them must grant. Whoever keeps the accounts (`store/lease_keeper.py`) leases for them,
and takes off what was posted.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from proxy.core.budgets import Budget, OnExhausted, Payer, Pot, Scope
from proxy.core.rating import NO_AMOUNTS, Amounts
from proxy.core.refusal import Refusal, budget_spent, budget_unknown

FOREVER = datetime.max.replace(tzinfo=UTC)


@dataclass(slots=True, eq=False)
class Account:
    """What may be spent without asking anybody, of one pot. Amounts in nano-dollars."""

    budget: Budget
    pot: Pot
    ends_at: datetime = FOREVER  # of the window: later responses spend from another pot
    is_leased: bool = True  # more may be asked for; else it is a session's own, and what is here is all
    leased_nanousd: int = 0
    held_nanousd: int = 0
    unposted_nanousd: int = 0  # settled, and not yet in the database's count
    used_nanousd: int = 0  # settled in all, to know the rate
    limit_nanousd: int = 0  # the budget's amount …
    spent_nanousd: int = 0  # … and what of it was spent, as last heard
    asked_nanousd: int = 0  # the last amount that the database did not have, on top of what was free
    refused_until: datetime | None = None  # the database said no a moment ago: it need not be asked again
    lowered: int = 0  # how often more was taken back than was free: the budget was lowered
    is_unknown: bool = False  # the database was asked for more, and did not answer

    basis: int = field(init=False)  # which of two `Amounts` it counts: the organisation's what it costs us

    def __post_init__(self) -> None:
        self.basis = 0 if self.budget.scope is Scope.ORGANISATION else 1

    @property
    def free_nanousd(self) -> int:
        return self.leased_nanousd - self.held_nanousd - self.unposted_nanousd

    @property
    def policy(self) -> OnExhausted:
        return self.budget.on_exhausted

    @property
    def refusal(self) -> Refusal:
        budget = self.budget
        if self.is_unknown:
            return budget_unknown(budget.scope.label, budget.window)
        return replace(budget_spent(budget.scope.label, budget.window), budget=(budget.scope, budget.window))

    @property
    def spent_so_far_nanousd(self) -> int:
        """Return what is known to be spent: by all until last heard, and by this instance since."""
        return self.spent_nanousd + self.unposted_nanousd

    def may_ask(self, now: datetime, more_nanousd: int | None = None) -> bool:
        """Say whether the database might have more: so much, or whatever there is.

        A no holds for a moment, and for as much as was asked for: there may be less than that.
        """
        is_open = self.refused_until is None or now >= self.refused_until
        return self.is_leased and (is_open or (more_nanousd or self.asked_nanousd) < self.asked_nanousd)

    def refuse(self, more_nanousd: int, until: datetime) -> None:
        """Note that the database does not have so much more."""
        self.asked_nanousd, self.refused_until = more_nanousd, until

    def can_hold(self, amount_nanousd: int) -> bool:
        return self.free_nanousd >= max(amount_nanousd, 1)

    def settle(self, cost_nanousd: int) -> None:
        """Note what something has cost."""
        self.used_nanousd += cost_nanousd
        if self.is_leased:
            self.unposted_nanousd += cost_nanousd
        else:
            self.leased_nanousd -= cost_nanousd
            self.spent_nanousd += cost_nanousd


@dataclass(frozen=True, slots=True)
class Need:
    """So much has to be free in `account`; `least_nanousd` of it does for the moment."""

    account: Account
    nanousd: int
    least_nanousd: int

    @property
    def is_partial(self) -> bool:
        """Say whether less than all of it would help."""
        return self.least_nanousd < self.nanousd

    @property
    def is_met(self) -> bool:
        return self.account.free_nanousd >= self.nanousd

    @property
    def is_bearable(self) -> bool:
        return self.account.free_nanousd >= self.least_nanousd

    @property
    def missing_nanousd(self) -> int:
        return self.nanousd - self.account.free_nanousd

    def may_ask(self, now: datetime) -> bool:
        """Say whether the database might have what is missing."""
        return self.account.may_ask(now, self.missing_nanousd)


def refusers(needs: Sequence[Need], now: datetime) -> list[Account]:
    """Return the accounts that refuse what is needed: of which the database has no more, or does not tell.

    In others too little is at hand too, and there might be more: they are no reason, if there is another.
    """
    said_no = [need.account for need in needs if not need.may_ask(now)]
    short = [need.account for need in needs]
    return said_no or [one for one in short if one.is_unknown] or short


@dataclass(slots=True)
class Hold:
    """What is reserved for one thing, in each of the accounts that enclosed the session then."""

    amounts: Amounts
    accounts: list[Account]


# What was settled and is not posted, by the entry's key: in which accounts, and how much. An upstream that
# uses its ids again settles two things under one key.
Unposted = dict[str, list[tuple[Sequence[Account], Amounts]]]


@dataclass(slots=True)
class Allowance:
    """One session's holds on its enclosing accounts. Without accounts everything is granted."""

    accounts: Sequence[Account] = ()
    payer: Payer | None = None  # whose session it is; None where no budget was looked for
    budgets: Sequence[Budget] = ()  # all that enclose it, those too that only count
    end_user: str | None = None  # the name that the app gave
    unposted: Unposted = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    charged: Amounts = NO_AMOUNTS  # settled in all
    is_priced_only: bool = False  # an enclosing budget has an amount: nothing without a price
    is_finishing: bool = False  # what runs may finish: budgets under `block` do not bind it any more
    lowered: int = 0  # how often its accounts were, when last looked at
    version: int = -1  # of the book of budgets that this follows …
    until: datetime = FOREVER  # … and when that changes by itself: a window ends, a raise begins

    def remaining_nanousd(self, spent: Mapping[Pot, int]) -> int | None:
        """Return what is left of the narrowest budget; None if none has an end.

        `spent` tells what all instances have spent, where somebody has looked since it was heard here.
        """
        left = (
            one.limit_nanousd
            - (max(one.spent_nanousd, spent.get(one.pot, 0)) if spent else one.spent_nanousd)
            - one.unposted_nanousd
            for one in self.accounts
        )
        return min(left, default=None)

    @property
    def is_binding(self) -> bool:
        """Say whether any budget can end what runs."""
        return bool(self._bound(self.accounts))

    def held(self, key: str) -> Amounts:
        """Return how much is held under `key`."""
        hold = self.holds.get(key)
        return hold.amounts if hold else NO_AMOUNTS

    def hold(self, key: str, amounts: Amounts) -> Account | None:
        """Hold `amounts` in every account or in none; return the account that has too little."""
        for account in self.accounts:
            if not account.can_hold(amounts[account.basis]):
                return account
        self._take(key, amounts)
        return None

    def needs(self, amounts: Amounts, accounts: Iterable[Account] | None = None) -> tuple[Need, ...]:
        """Return what has to be free, and where there is too little for that."""
        found = self.accounts if accounts is None else accounts
        wanted = ((account, max(amounts[account.basis], 1)) for account in found)
        return tuple(
            Need(account, nanousd, nanousd) for account, nanousd in wanted if account.free_nanousd < nanousd
        )

    def add(self, key: str, amounts: Amounts) -> bool:
        """Hold `amounts` more under `key` if no account has less; return whether."""
        for account in self._binding(key):
            if account.free_nanousd < amounts[account.basis]:
                return False
        if any(amounts):
            self._take(key, amounts)
        return True

    def grow(self, key: str, amounts: Amounts) -> Amounts:
        """Hold up to `amounts` more under `key`; return how much there was."""
        most = list(amounts)
        for account in self._binding(key):
            most[account.basis] = min(most[account.basis], account.free_nanousd)
        granted = Amounts(*most).at_least(NO_AMOUNTS)
        self._take(key, granted)
        return granted

    def left(self, key: str) -> Amounts:
        """Return how much may be spent under `key`: less than is held, where an account is overdrawn."""
        overdrawn = [0, 0]
        for account in self._binding(key):
            overdrawn[account.basis] = min(overdrawn[account.basis], account.free_nanousd)
        return self.held(key).plus(Amounts(*overdrawn))

    def rename(self, key: str, new: str) -> None:
        """Let the hold of a request pass to the response that answers it."""
        if (hold := self.holds.pop(key, None)) is not None:
            self.holds[new] = hold

    def lend(self, key: str, other: str, amounts: Amounts) -> None:
        """Let up to `amounts` of one hold be held for something else."""
        if (hold := self.holds.get(key)) is None:
            return
        lent = Amounts(*map(min, hold.amounts, amounts))
        hold.amounts = hold.amounts.minus(lent)
        for account in hold.accounts:
            account.held_nanousd -= lent[account.basis]
        self._take(other, lent)

    def void(self, key: str) -> Sequence[Account]:
        """Give a hold back; return the accounts it was in."""
        hold = self.holds.pop(key, None)
        if hold is None:
            return self.accounts
        for account in hold.accounts:
            account.held_nanousd -= hold.amounts[account.basis]
        return hold.accounts

    def settle(self, key: str, charged: Amounts, entry_key: str) -> None:
        """Replace a hold, if there was one, by what it really cost, even above the hold."""
        accounts = self.void(key)
        self.charged = self.charged.plus(charged)
        for account in accounts:
            account.settle(charged[account.basis])
        leased = [account for account in accounts if account.is_leased]
        if leased:
            self.unposted.setdefault(entry_key, []).append((leased, charged))

    def lacks(self, key: str, wanted: Amounts, least: Amounts) -> tuple[Need, ...]:
        """Return what has to be free where `key` is held and even the least is not, the narrowest first.

        Accounts of which at least 0 is needed lack nothing.
        """
        accounts = sorted(self._binding(key), key=lambda account: account.free_nanousd)
        needs = (
            Need(account, wanted[account.basis], least[account.basis])
            for account in accounts
            if least[account.basis]
        )
        return tuple(need for need in needs if not need.is_bearable)

    def enclose(self, accounts: Sequence[Account]) -> None:
        """Take over other accounts: budgets were made, changed or deleted, or a window has ended.

        What is held stays in a window that has ended. It joins the account of a new budget, and leaves
        that of a deleted one.
        """
        before = {account.budget.id for account in self.accounts}
        after = {account.budget.id for account in accounts}
        new = [account for account in accounts if account.budget.id not in before]
        for hold in self.holds.values():
            gone = [account for account in hold.accounts if account.budget.id not in after]
            for account in gone:
                account.held_nanousd -= hold.amounts[account.basis]
            for account in new:
                account.held_nanousd += hold.amounts[account.basis]
            hold.accounts = [one for one in hold.accounts if one not in gone] + new
        self.accounts = accounts

    def _binding(self, key: str) -> Sequence[Account]:
        hold = self.holds.get(key)
        return self._bound(self.accounts if hold is None else hold.accounts)

    def _bound(self, accounts: Sequence[Account]) -> Sequence[Account]:
        """Return those of `accounts` that can end what runs."""
        if not self.is_finishing:
            return accounts
        return [one for one in accounts if one.policy is not OnExhausted.BLOCK]

    def _take(self, key: str, amounts: Amounts) -> None:
        hold = self.holds.get(key)
        if hold is None:
            hold = self.holds[key] = Hold(NO_AMOUNTS, list(self.accounts))
        hold.amounts = hold.amounts.plus(amounts)
        for account in hold.accounts:
            account.held_nanousd += amounts[account.basis]
