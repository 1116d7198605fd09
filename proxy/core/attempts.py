"""How often a password may be tried: who has failed lately, from where, and how long it has to wait."""

import math
from collections import deque
from datetime import datetime, timedelta

WITHIN = timedelta(minutes=15)
OF_ADDRESS_MAX = 5
OF_ALL_MAX = 20


class Attempts:
    """The failures of the last WITHIN: at most OF_ADDRESS_MAX of each address, OF_ALL_MAX of all together.

    Whoever checks a password asks `wait_s` first, and tells how it went before the next one asks. More
    failures than OF_ALL_MAX are never kept.
    """

    def __init__(self) -> None:
        self._failures: deque[tuple[datetime, str]] = deque(maxlen=OF_ALL_MAX)

    def wait_s(self, address: str, now: datetime) -> int:
        """Return how many seconds this address has to wait before its next attempt; 0: it may try."""
        self._forget(now)
        own = [at for at, whose in self._failures if whose == address]
        free_at = [now]
        if len(own) >= OF_ADDRESS_MAX:
            free_at.append(own[-OF_ADDRESS_MAX] + WITHIN)
        if len(self._failures) >= OF_ALL_MAX:
            free_at.append(self._failures[0][0] + WITHIN)
        return math.ceil((max(free_at) - now).total_seconds())

    def failed(self, address: str, now: datetime) -> None:
        """Count a wrong password."""
        self._forget(now)
        self._failures.append((now, address))

    def succeeded(self, address: str) -> None:
        """Forget the failures of an address: they were somebody's who knows the password."""
        self._keep([one for one in self._failures if one[1] != address])

    def _forget(self, now: datetime) -> None:
        """Forget what is over, and what a clock that was set back puts into the future."""
        self._keep([one for one in self._failures if now - WITHIN < one[0] <= now])

    def _keep(self, failures: list[tuple[datetime, str]]) -> None:
        self._failures = deque(failures, maxlen=OF_ALL_MAX)
