"""Usage on its way to the ledger: how long that takes."""

import threading
import time
from collections.abc import Callable, Iterable

UNDERWAY_MAX = 10_000  # while the database is away the oldest are not measured


class Underway:
    """The keys of entries whose usage was read and which are not posted yet. Used by two threads."""

    def __init__(self, arrived: Callable[[float], None]) -> None:
        """`arrived` hears how many seconds an entry was on its way."""
        self._arrived = arrived
        self._since_s: dict[str, float] = {}
        self._lock = threading.Lock()

    def read(self, key: str) -> None:
        """Note that an entry's usage has just been read."""
        with self._lock:
            self._since_s[key] = time.monotonic()
            if len(self._since_s) > UNDERWAY_MAX:
                del self._since_s[next(iter(self._since_s))]

    def posted(self, keys: Iterable[str]) -> None:
        """Note that entries are in the ledger. Those of an earlier run are not known, and not measured."""
        now_s = time.monotonic()
        with self._lock:
            known = [since_s for key in keys if (since_s := self._since_s.pop(key, None)) is not None]
        for since_s in known:
            self._arrived(now_s - since_s)
