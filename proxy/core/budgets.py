"""Budgets: how much may be spent by whom in which window, and what happens then.

They form a tree: the organisation (this installation), a tenant, a project, an API key, an end user.
A session is enclosed by every budget whose scope it is in, and all of them must grant.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from proxy.core.windows import Span, Window, span_at

THRESHOLDS = (50, 80, 100)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Scope(StrEnum):
    """Whose spending a budget counts."""

    ORGANISATION = "organisation"
    TENANT = "tenant"
    PROJECT = "project"
    KEY = "key"
    END_USER = "end_user"
    EACH_USER = "each_user"  # a template: every end user of the tenant has a budget like it

    @property
    def label(self) -> str:
        """Return what a refusal calls it."""
        return _LABELS[self]


_LABELS = {
    Scope.ORGANISATION: "installation",
    Scope.TENANT: "tenant",
    Scope.PROJECT: "project",
    Scope.KEY: "API key",
    Scope.END_USER: "end user",
    Scope.EACH_USER: "end user",
}


class OnExhausted(StrEnum):
    """What happens when a budget has nothing left."""

    NOTIFY = "notify"  # nothing: it is counted and announced
    BLOCK = "block"  # no new sessions and responses; what runs finishes, then the session closes
    CUT = "cut"  # the running response is cancelled and the session closes
    WRAP_UP = "wrap_up"  # the model says goodbye from a reserve, then as `CUT`


class OnStoreDown(StrEnum):
    """What happens when a lease is spent and the database does not answer."""

    TERMINATE = "terminate"  # as if the budget were spent
    CONTINUE = "continue"  # up to an allowance
    RETRY = "retry"  # wait longer for the database where nothing runs meanwhile, then terminate


@dataclass(frozen=True, slots=True)
class Raise:
    """An amount on top, from one instant to before another."""

    amount_nanousd: int
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Budget:
    """One rule. The ids that its scope needs are there, the others are None.

    `amount_nanousd` None is unlimited, 0 blocks.
    """

    id: str
    scope: Scope
    window: Window
    amount_nanousd: int | None
    tenant_id: str | None = None
    project_id: str | None = None
    api_key_id: str | None = None
    end_user_id: str | None = None
    zone: ZoneInfo = ZoneInfo("UTC")
    on_exhausted: OnExhausted = OnExhausted.CUT
    on_store_down: OnStoreDown = OnStoreDown.TERMINATE
    store_down_nanousd: int = 0  # what `CONTINUE` may spend unasked, in all sessions of an instance
    thresholds: tuple[int, ...] = THRESHOLDS
    forecast_thresholds: tuple[int, ...] = ()  # announced when that much is expected at the window's end
    raises: tuple[Raise, ...] = ()

    def amount_at(self, now: datetime) -> int | None:
        """Return what may be spent, temporary raises included."""
        if self.amount_nanousd is None:
            return None
        return self.amount_nanousd + sum(
            one.amount_nanousd for one in self.raises if one.starts_at <= now < one.ends_at
        )

    @property
    def holds(self) -> bool:
        """Say whether spending has to be asked for: there is an amount, and an end to it."""
        return self.amount_nanousd is not None and self.on_exhausted is not OnExhausted.NOTIFY

    @property
    def is_counted_whole(self) -> bool:
        """Say whether all that it encloses is one sum: not each user's, not each session's."""
        return self.scope is not Scope.EACH_USER and self.window is not Window.SESSION

    def span(self, at: datetime) -> Span | None:
        """Return the window that `at` lies in; None where it has no place in the calendar."""
        return span_at(self.window, self.zone, at)

    def encloses(self, payer: "Payer") -> bool:
        """Say whether it counts what `payer` spends."""
        match self.scope:
            case Scope.ORGANISATION:
                return True
            case Scope.TENANT:
                return self.tenant_id == payer.tenant_id
            case Scope.PROJECT:
                return self.project_id == payer.project_id
            case Scope.KEY:
                return self.api_key_id == payer.api_key_id
            case Scope.END_USER:
                return self.end_user_id == payer.end_user_id
            case Scope.EACH_USER:
                return self.tenant_id == payer.tenant_id and payer.end_user_id is not None

    def subject(self, payer: "Payer") -> str:
        """Return whose spending is counted apart: `budget_window.subject`."""
        if self.window is Window.SESSION:
            return payer.session_id
        return (payer.end_user_id or "") if self.scope is Scope.EACH_USER else ""


@dataclass(frozen=True, slots=True)
class Payer:
    """Who pays for a session: what budgets look at."""

    session_id: str
    tenant_id: str
    project_id: str | None = None
    api_key_id: str | None = None
    end_user_id: str | None = None  # the surrogate


@dataclass(frozen=True, slots=True, order=True)
class Pot:
    """One budget's money in one window: the key of its counters. Sorted, it is the order of locking."""

    budget_id: str
    subject: str
    starts_at: datetime


def pot_of(budget: Budget, payer: Payer, at: datetime) -> Pot:
    """Return the pot of `budget` that `payer` spends from at `at`."""
    span = budget.span(at)
    return Pot(budget.id, budget.subject(payer), span.start if span else EPOCH)


@dataclass(frozen=True, slots=True)
class BudgetBook:
    """All budgets of this installation that are not deleted, as the change counter stood at `version`."""

    budgets: Mapping[str, Budget] = field(default_factory=dict)
    version: int = -1
    _by_tenant: Mapping[str | None, list[Budget]] = field(default_factory=dict)

    @classmethod
    def of(cls, budgets: Iterable[Budget], version: int = 0) -> "BudgetBook":
        """Return a book of `budgets`."""
        found = sorted(budgets, key=lambda one: one.id)
        by_tenant: dict[str | None, list[Budget]] = {}
        for one in found:
            by_tenant.setdefault(one.tenant_id, []).append(one)
        return cls({one.id: one for one in found}, version, by_tenant)

    def enclosing(self, payer: Payer) -> list[Budget]:
        """Return the budgets that count what `payer` spends; the organisation's first, each by its id."""
        near = (*self._by_tenant.get(None, ()), *self._by_tenant.get(payer.tenant_id, ()))
        return [one for one in near if one.encloses(payer)]

    def asks_for_user(self, tenant_id: str) -> bool:
        """Say whether any budget of this tenant wants to know who the end user is."""
        return any(self._of_users(tenant_id))

    def goes_on_without_user(self, tenant_id: str) -> bool:
        """Say whether a session may begin in an outage though nobody knows which of them enclose it."""
        holding = (one for one in self._of_users(tenant_id) if one.holds)
        return all(one.on_store_down is OnStoreDown.CONTINUE for one in holding)

    def _of_users(self, tenant_id: str) -> Iterator[Budget]:
        near = self._by_tenant.get(tenant_id, ())
        return (one for one in near if one.scope in (Scope.END_USER, Scope.EACH_USER))
