"""A simulated provider in a thread of its own, with a bill that tests write: for code that blocks."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from proxy.simulator import Simulator, serve
from proxy.simulator.usage import Counts, Generated, response_usage

ADMIN_KEY = "sk-admin-simulator"
MODEL = "gpt-realtime-2.1"
PAYER = ("proj_a", "key_1")


class Provider:
    """What it bills is billed when tests say; between that its clock is the real one."""

    simulator: Simulator

    def __init__(self) -> None:
        self._billed_at: datetime | None = None

    def clock(self) -> float:
        return (self._billed_at or datetime.now(UTC)).timestamp()

    @property
    def url(self) -> str:
        return self.simulator.url.replace("ws", "http", 1)

    def bill(self, at: datetime, audio: int, model: str = MODEL, payer: tuple[str, str] = PAYER) -> None:
        """Bill so many tokens of audio that came in."""
        usage = response_usage(Counts(0, audio, 0), Counts(), Generated())
        self._billed_at = at
        self.simulator._truth.write(
            "response", "s", "r", model=model, status="completed", usage=usage, payer=payer
        )
        self._billed_at = None


@contextmanager
def providing(**options: Any) -> Iterator[Provider]:
    """Run a provider; its event loop is not the test's."""
    provider = Provider()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    serving = asyncio.run_coroutine_threadsafe(serve(clock=provider.clock, **options), loop)
    try:
        provider.simulator = serving.result()
        yield provider
        asyncio.run_coroutine_threadsafe(provider.simulator.close(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
