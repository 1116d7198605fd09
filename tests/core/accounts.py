"""Accounts of budgets that exist only here."""

from proxy.core.allowance import Account
from proxy.core.budgets import EPOCH, Budget, OnExhausted, Pot, Scope
from proxy.core.windows import Window


def account(
    free: int,
    policy: OnExhausted = OnExhausted.CUT,
    *,
    name: str = "b",
    scope: Scope = Scope.TENANT,
    window: Window = Window.MONTH,
    leased: bool = False,
) -> Account:
    """Return an account with so much in it; more can be asked for if it is `leased`."""
    budget = Budget(name, scope, window, free, tenant_id="t_1", on_exhausted=policy)
    return Account(
        budget, Pot(name, "", EPOCH), is_leased=leased, leased_nanousd=free, limit_nanousd=max(free, 0)
    )
