"""How many sessions each tenant and each API key has, and how many it may begin.

What runs on this instance is counted here; what runs on others is as it was last published. Two
instances that let sessions in at the same moment do not see each other's yet.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from proxy.core.identity import Principal
from proxy.core.limits import LimitName, Limits, SlidingMinute
from proxy.core.refusal import Refusal


class Turnstile:
    """Lets sessions in as long as the limits of their tenant and of their key allow it.

    `enter` and `leave` belong together; `begin` counts a session that is new, once, and `unbegin` one that
    was none. A session that lingers for its bill is still there.
    """

    def __init__(self, limits_of: Callable[[str], Limits]) -> None:
        """`limits_of` tells the limits of an owner, a tenant's or a key's id, as they are now."""
        self.elsewhere: Mapping[str, int] = {}  # sessions on other instances by owner; may be replaced
        self._limits_of = limits_of
        self._here: Counter[str] = Counter()
        self._begun: dict[str, SlidingMinute] = {}  # of owners for whom there is a limit

    def refusal(self, principal: Principal, now: datetime) -> Refusal | None:
        """Return why there may be no further session now."""
        for owner in _owners(principal):
            limits = self._limits_of(owner)
            if limits.sessions is not None and self._running(owner) >= limits.sessions:
                return LimitName.SESSIONS.refusal(limits.sessions)
            most = limits.sessions_per_minute
            if most is not None and owner in self._begun and self._begun[owner].total(now) >= most:
                return LimitName.SESSIONS_PER_MINUTE.refusal(most)
        return None

    def begin(self, principal: Principal, now: datetime) -> None:
        """Note that a session begins, before anything is waited for: others come meanwhile."""
        for owner in _owners(principal):
            if self._limits_of(owner).sessions_per_minute is None:
                self._begun.pop(owner, None)
            else:
                self._begun.setdefault(owner, SlidingMinute()).add(1, now)

    def unbegin(self, principal: Principal, now: datetime) -> None:
        """Take `begin` at that instant back: there was no money for the session."""
        for owner in _owners(principal):
            if owner in self._begun:
                self._begun[owner].add(-1, now)

    def enter(self, principal: Principal) -> None:
        """Note that a session is there."""
        self._here.update(_owners(principal))

    def leave(self, principal: Principal) -> None:
        """Note that it is there no more."""
        for owner in _owners(principal):
            self._here[owner] -= 1
            if not self._here[owner]:
                del self._here[owner]

    def _running(self, owner: str) -> int:
        return self._here[owner] + self.elsewhere.get(owner, 0)


def _owners(principal: Principal) -> Iterator[str]:
    yield principal.tenant_id
    yield principal.api_key_id
