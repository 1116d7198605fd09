"""Many conversations begin their first response in one instant, without budgets and with three.

`python -m tests.bench.burst 600`: what has not spoken yet has to ask the database for its money. Shows how
long it takes until all have begun, on a PostgreSQL of its own, and how many were turned away.
"""

import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import websockets

from proxy.clock import utc_now
from proxy.core.budgets import Scope
from proxy.core.windows import Window
from proxy.store.audit import Act
from proxy.store.budgets import set_budget
from proxy.store.database import migrate, open_database, writing
from tests.e2e.place import Home, furnish
from tests.faults.instance import instance_of, started
from tests.postgres import as_text, find_programs, own_server

PLENTY = 10**15  # nano-dollars
AT_ONCE = 10  # that connect
SETTLED_S = 2.0
WAIT_S = 60.0
BUDGETS: Sequence[tuple[Scope, Window]] = (
    (Scope.ORGANISATION, Window.MONTH),
    (Scope.TENANT, Window.MONTH),
    (Scope.TENANT, Window.DAY),
)


def with_budgets(home: Home) -> None:
    """Enclose every session in budgets that nobody can spend."""
    engine = open_database(home.database_url)
    with writing(engine) as connection:
        for scope, window in BUDGETS:
            whose: dict[str, Any] = {} if scope is Scope.ORGANISATION else {"tenant": "acme"}
            act = Act("bench", utc_now(), "a benchmark")
            set_budget(connection, act, scope=scope, window=window, amount_nanousd=PLENTY, **whose)
    engine.dispose()


async def begin(connection: websockets.ClientConnection) -> float | None:
    """Ask for a response; return when it began, or None if it was refused."""
    await connection.send(json.dumps({"type": "response.create"}))
    with contextlib.suppress(websockets.ConnectionClosed):
        async with asyncio.timeout(WAIT_S):
            async for message in connection:
                kind = json.loads(message)["type"]
                if kind in ("response.created", "error"):
                    return time.monotonic() if kind == "response.created" else None
    return None


async def measure(home: Home, sessions: int) -> list[float]:
    """Return after how many seconds each response began."""
    async with home.simulating(speed=2.0) as simulator, contextlib.AsyncExitStack() as stack:
        instance = await stack.enter_async_context(started(instance_of(home, upstream_url=simulator.url)))
        url = f"{instance.url}/realtime?model=gpt-realtime-2.1"
        headers = {"Authorization": f"Bearer {home.secret}"}
        connections: list[websockets.ClientConnection] = []
        while len(connections) < sessions:
            some = (
                websockets.connect(url, additional_headers=headers, max_size=None, proxy=None)
                for _ in range(min(AT_ONCE, sessions - len(connections)))
            )
            connections += await asyncio.gather(*some)
        await asyncio.sleep(SETTLED_S)
        at = time.monotonic()
        began = await asyncio.gather(*map(begin, connections))
        for connection in connections:
            connection.transport.abort()
    return sorted(one - at for one in began if one is not None)


def main(sessions: int) -> None:
    """Measure both, and print a line for each."""
    for what in ("no budgets", "three budgets"):
        with tempfile.TemporaryDirectory() as folder, own_server(find_programs()) as server:
            url = as_text(server.create())
            engine = open_database(url)
            migrate(engine)
            engine.dispose()
            home = furnish(Path(folder), url)
            if what == "three budgets":
                with_budgets(home)
            seconds = asyncio.run(measure(home, sessions))
        half, last = (seconds[len(seconds) // 2], seconds[-1]) if seconds else (0.0, 0.0)
        print(f"{what}: {len(seconds)} of {sessions} began, half after {half:.2f} s, all after {last:.2f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]))
