"""Those who wait for money: what all of them together need, and for how long each may wait."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from proxy.core.allowance import Need
from proxy.core.budgets import OnStoreDown, Pot
from proxy.store.accounts import Wish

RETRY_S = 5.0  # in all, for the database under `on_store_down` retry


@dataclass(eq=False, slots=True)
class Asking:
    """Somebody who waits for money."""

    needs: tuple[Need, ...]
    done: Callable[[bool], None]  # told whether it was granted
    expired: "Callable[[Asking], None]"
    given_back_s: float  # how long it may wait in all for what others may give back …
    unanswered_s: float  # … and for a database that does not answer
    since_s: float = field(default_factory=time.monotonic)
    is_contended: bool = False  # others have leased what is missing, by the database's last word
    timer: asyncio.TimerHandle | None = None

    @property
    def waited_s(self) -> float:
        return time.monotonic() - self.since_s

    def wait(self, seconds: float) -> None:
        """Let it expire after so long, and not when it would have."""
        self.stop()
        self.timer = asyncio.get_running_loop().call_later(seconds, self.expired, self)

    def stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()

    def more_s(self, *, is_heard: bool) -> float:
        """Return how much longer it may wait; `is_heard`: the database has answered since it asked."""
        if not is_heard:
            return self.unanswered_s - self.waited_s
        return self.given_back_s - self.waited_s if self.is_contended else 0.0

    def contend(self, ask_s: float) -> None:
        """Note that others have what is missing, and were asked for it: that is no outage to wait out."""
        waited_s, self.is_contended = self.waited_s, True
        if self.given_back_s < waited_s < self.unanswered_s:  # there was one, and they hear of it now
            self.given_back_s = waited_s + ask_s
        self.wait(max(0.0, self.given_back_s - waited_s))


def unanswered_s(needs: Iterable[Need], at_least_s: float) -> float:
    """Return for how long to wait for the database where nothing is generated meanwhile."""
    patient = any(need.account.budget.on_store_down is OnStoreDown.RETRY for need in needs)
    return max(at_least_s, RETRY_S) if patient else at_least_s


def wishes_of(askings: Iterable[Asking]) -> Mapping[Pot, Wish]:
    """Return what those who wait need free in each pot, all of them together."""
    wishes: dict[Pot, Wish] = {}
    for asking in askings:
        for need in asking.needs:
            before = wishes.get(need.account.pot)
            # What does not suffice for all may for some.
            amount = need.nanousd + (before.nanousd if before else 0)
            wishes[need.account.pot] = Wish(amount, need.is_partial or before is not None)
    return wishes
