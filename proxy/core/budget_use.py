"""How far the budgets around live sessions are used, for people to watch."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from proxy.core.allowance import Account, Allowance
from proxy.core.budgets import EPOCH, Budget, Pot, Scope
from proxy.core.windows import Window

ALL_TENANTS = "_all"  # whose budget the organisation's is

Named = tuple[str, str]  # a tenant's name, and a budget as people call it: "tenant month"


@dataclass(slots=True)
class BudgetUse:
    """The budgets that enclose live sessions at one instant, those too that only count (`notify`).

    Without an amount there is no share of it. Made anew for each look.
    """

    now: datetime
    _of: dict[Pot, tuple[Named, int]] = field(default_factory=dict)  # its name, and its budget's amount
    _accounts: dict[Pot, Account] = field(default_factory=dict)
    _own: dict[Pot, int] = field(default_factory=dict)  # what single sessions have spent of their own
    _seen: set[tuple[str, str]] = field(default_factory=set)  # a budget's id, and whose spending it counts
    _starts: dict[str, datetime] = field(default_factory=dict)  # of its window, by the budget's id

    def add(self, tenant: str, allowance: Allowance) -> None:
        """Look at what encloses a session of `tenant`."""
        self._accounts.update((one.pot, one) for one in allowance.accounts)
        for budget, subject in self._new(allowance):
            amount = budget.amount_at(self.now)
            if amount is None:
                continue
            pot = Pot(budget.id, subject, self._starts_at(budget))
            self._of[pot] = (_named(budget, tenant), amount)
            if budget.window is Window.SESSION:
                self._own[pot] = _charged(budget, allowance)

    def _new(self, allowance: Allowance) -> Iterator[tuple[Budget, str]]:
        """Yield what encloses a session and encloses none that was looked at: most share all of it."""
        payer = allowance.payer
        if payer is None:
            return
        for budget in allowance.budgets:
            key = (budget.id, budget.subject(payer))
            if key not in self._seen:
                self._seen.add(key)
                yield budget, key[1]

    def _starts_at(self, budget: Budget) -> datetime:
        if budget.id not in self._starts:
            span = budget.span(self.now)
            self._starts[budget.id] = span.start if span else EPOCH
        return self._starts[budget.id]

    @property
    def shared(self) -> Collection[Pot]:
        """Return what other sessions may spend from too: the database knows what all have spent of it."""
        return self._of.keys() - self._own.keys()

    def ratios(self, spent: Mapping[Pot, int]) -> dict[Named, float]:
        """Return the used share of each budget by its name, the highest where several have one.

        `spent` is what all instances have spent, as far as anybody has counted.
        """
        found: dict[Named, float] = {}
        for pot, (name, amount) in self._of.items():
            used = self._used(pot, spent.get(pot, 0))
            ratio = used / amount if amount else 1.0  # an amount of 0 blocks: nothing is left of it
            found[name] = max(ratio, found.get(name, 0.0))
        return found

    def left(self, allowance: Allowance, spent: Mapping[Pot, int]) -> int | None:
        """Return what is left of the narrowest budget around a session; None if none has an amount.

        Where no budget can end it, those that only count (`notify`) are looked at, as far as anybody knows.
        """
        if allowance.accounts or allowance.payer is None:
            return allowance.remaining_nanousd(spent)
        left: list[int] = []
        for budget in allowance.budgets:
            amount = budget.amount_at(self.now)
            pot = Pot(budget.id, budget.subject(allowance.payer), self._starts_at(budget))
            is_own = budget.window is Window.SESSION
            used = _charged(budget, allowance) if is_own else spent.get(pot)
            if amount is not None and used is not None:
                left.append(amount - used)
        return min(left, default=None)

    def _used(self, pot: Pot, spent: int) -> int:
        account = self._accounts.get(pot)
        if pot in self._own:
            return self._own[pot]
        return spent if account is None else max(account.spent_nanousd, spent) + account.unposted_nanousd


def _charged(budget: Budget, allowance: Allowance) -> int:
    """Return what a session has cost, as `budget` counts it."""
    return allowance.charged[0 if budget.scope is Scope.ORGANISATION else 1]


def _named(budget: Budget, tenant: str) -> Named:
    whose = ALL_TENANTS if budget.scope is Scope.ORGANISATION else tenant
    return whose, f"{budget.scope} {budget.window}".replace("_", " ")


def overshoot(amount: int | None, spent: int, charged: int) -> int:
    """Return what of `charged`, the last of what was `spent`, lies beyond the `amount` of a budget."""
    return 0 if amount is None else max(0, min(charged, spent - amount))
