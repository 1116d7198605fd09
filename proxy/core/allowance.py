"""Money in two phases, like a card payment: `hold` before a response, then `settle` or `void`.

An `Account` is what this instance may still spend of one budget window, shared by its sessions. An
`Allowance` is one session's view of the accounts that enclose it: all of them must grant.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from proxy.core.refusal import Refusal, budget_spent


class Policy(StrEnum):
    """What happens when a budget has nothing left."""

    BLOCK = "block"  # no new responses; running ones finish, then the session closes
    CUT = "cut"  # the running response is cancelled and the session closes


@dataclass(slots=True)
class Account:
    """What may be spent without asking anybody, of one budget window."""

    scope: str
    window: str
    free_nanousd: int
    policy: Policy = Policy.CUT

    @property
    def refusal(self) -> Refusal:
        return budget_spent(self.scope, self.window)


@dataclass(slots=True)
class Allowance:
    """One session's holds on its enclosing accounts. Without accounts everything is granted."""

    accounts: Sequence[Account] = ()
    held: dict[str, int] = field(default_factory=dict)

    def hold(self, key: str, amount_nanousd: int) -> Account | None:
        """Hold `amount_nanousd` in every account or in none; return the account that refused."""
        for account in self.accounts:
            if account.free_nanousd < amount_nanousd or account.free_nanousd <= 0:
                return account
        self._take(key, amount_nanousd)
        return None

    def grow(self, key: str, amount_nanousd: int) -> int:
        """Hold up to `amount_nanousd` more under `key`; return how much there was."""
        most = min((account.free_nanousd for account in self.accounts), default=amount_nanousd)
        amount = max(0, min(amount_nanousd, most))
        self._take(key, amount)
        return amount

    def rename(self, key: str, new: str) -> None:
        """Let the hold of a request pass to the response that answers it."""
        self.held[new] = self.held.pop(key, 0)

    def void(self, key: str) -> None:
        """Give a hold back."""
        self._take(key, -self.held.pop(key, 0), keep=False)

    def settle(self, key: str, cost_nanousd: int) -> None:
        """Replace a hold, if there was one, by what it really cost, even above the hold."""
        self.void(key)
        for account in self.accounts:
            account.free_nanousd -= cost_nanousd

    def narrowest(self) -> Account | None:
        """Return the account with the least left."""
        return min(self.accounts, key=lambda account: account.free_nanousd, default=None)

    def _take(self, key: str, amount_nanousd: int, *, keep: bool = True) -> None:
        if keep:
            self.held[key] = self.held.get(key, 0) + amount_nanousd
        for account in self.accounts:
            account.free_nanousd -= amount_nanousd
