"""The negative control: `talkmeter serve` that forwards first and journals later. Never do this.

Whoever waits for a record is told at once that it is on disk; it is really written a moment later. A proxy
made like this loses usage when it is killed, and the harness that shows that ours does not has to see it.
"""

import asyncio
from collections.abc import Callable

from proxy.cli import main
from proxy.core.records import Record
from proxy.store.journal import Journal

LATE_S = 0.25  # a busy machine forwards little in less

_append = Journal.append


def _append_late(self: Journal, record: Record, durable: Callable[[], None] | None = None) -> None:
    loop = asyncio.get_running_loop()
    if durable is not None:
        loop.call_soon(durable)
    loop.call_later(LATE_S, _append, self, record)


if __name__ == "__main__":
    Journal.append = _append_late  # type: ignore[method-assign]
    main()
