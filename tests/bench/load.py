"""The load: one measured step against one relay, in a process of its own.

    python -m tests.bench.load '{"url": …}'      prints what was measured as JSON

It is the clients and the upstream, so that the relay is the only other process at work.
"""

import asyncio
import contextlib
import gc
import json
import os
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import uvloop

from tests.bench.ends import Client, Session, Upstream
from tests.bench.meters import cpu_s, private_bytes

OPENING_MAX = 20  # handshakes at a time
PATIENCE_S = 20.0
WARM_UP_S = 0.3
QUIET_S = 0.1  # a process is done with its work when in so long …
QUIET_SHARE = 0.03  # … it uses no more than this share of a core


@dataclass(frozen=True)
class Step:
    """What to measure: `kind` is "saturated", "paced" or "memory"; `pid` is the relay's, None without one."""

    kind: str
    url: str
    key: str
    pid: int | None
    upstream_port: int
    sessions: int
    seconds: float
    deltas: int  # of a response: how often something is billed
    core: int | None = None
    tls: list[str] | None = None  # certificate chain and key: the upstream speaks TLS


class Load:
    """The sessions of a step."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self.sessions: dict[int, Session] = {}

    async def open(self, count: int) -> None:
        """Open `count` sessions more."""
        for begin in range(0, count, OPENING_MAX):
            await asyncio.gather(*(self._open_one() for _ in range(begin, min(begin + OPENING_MAX, count))))

    async def _open_one(self) -> None:
        session = Session(len(self.sessions), self.step.deltas)
        self.sessions[session.number] = session
        url = urlsplit(self.step.url)
        client = partial(Client, session, url.path, url.netloc, self.step.key)
        loop = asyncio.get_running_loop()
        tls = ssl._create_unverified_context() if url.scheme == "https" else None
        _, session.client = await loop.create_connection(client, "127.0.0.1", url.port or 80, ssl=tls)
        await self._until(lambda: session.is_open or session.client.is_lost)
        if not session.is_open:
            raise RuntimeError(f"the relay refused a session: {session.client.head.decode('latin-1')}")

    async def talk(self, seconds: float) -> None:
        """Let all sessions talk; return when everything has arrived and the relay has nothing left to do."""
        await asyncio.gather(*(self._talking(session, seconds) for session in self.sessions.values()))
        await self._until(lambda: all(s.up.is_empty and s.down.is_empty for s in self.sessions.values()))
        await self._quiet()

    def _talking(self, session: Session, seconds: float) -> Coroutine[Any, Any, None]:
        if self.step.kind == "saturated":
            return session.flood(seconds)
        return session.speak(seconds, session.number / len(self.sessions))

    async def _until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not is_so():  # noqa: ASYNC110 - of counters, which tell nobody
                await asyncio.sleep(0.002)

    async def _quiet(self) -> None:
        """Wait until what the relay does afterwards, such as booking, is done: it belongs to the messages."""
        pid = self.step.pid
        async with asyncio.timeout(PATIENCE_S):
            while pid is not None:
                before_s = cpu_s(pid)
                await asyncio.sleep(QUIET_S)
                if cpu_s(pid) - before_s < QUIET_S * QUIET_SHARE:
                    return

    async def measure_traffic(self) -> dict[str, float]:
        """Return messages that arrived, CPU seconds of the relay for them, and delays of messages."""
        await self.open(self.step.sessions)
        await self.talk(WARM_UP_S)
        ways = [way for session in self.sessions.values() for way in (session.up, session.down)]
        for way in ways:
            way.messages = 0
            way.delays_s.clear()
        before_s = cpu_s(self.step.pid) if self.step.pid else 0.0
        await self.talk(self.step.seconds)
        used_s = cpu_s(self.step.pid) - before_s if self.step.pid else 0.0
        delays_s = sorted(delay for way in ways for delay in way.delays_s)
        return {
            "messages": sum(way.messages for way in ways),
            "cpu_s": used_s,
            "delay_p50_s": delays_s[len(delays_s) // 2],
            "delay_p99_s": delays_s[len(delays_s) * 99 // 100],
        }

    async def measure_memory(self) -> dict[str, float]:
        """Return the bytes that an idle session holds which has talked before.

        A few are opened first: what a process allocates once is not the sessions'.
        """
        assert self.step.pid is not None
        await self.open(OPENING_MAX)
        await self.talk(WARM_UP_S)
        before = private_bytes(self.step.pid)
        await self.open(self.step.sessions)
        await self.talk(WARM_UP_S)
        return {"session_bytes": (private_bytes(self.step.pid) - before) / self.step.sessions}


@contextlib.asynccontextmanager
async def upstream(step: Step, sessions: dict[int, Session]) -> AsyncIterator[None]:
    """Be the upstream of `sessions`."""
    tls = None
    if step.tls:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*step.tls)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        partial(Upstream, sessions), "127.0.0.1", step.upstream_port, backlog=1024, ssl=tls
    )
    try:
        yield
    finally:
        server.close()


async def run(step: Step) -> dict[str, float]:
    """Be upstream and clients for one step."""
    load = Load(step)
    async with upstream(step, load.sessions):
        return await (load.measure_memory() if step.kind == "memory" else load.measure_traffic())


def main(do: Callable[[Step], Coroutine[Any, Any, dict[str, float]]]) -> None:
    """Do the step that the first argument describes."""
    step = Step(**json.loads(sys.argv[1]))
    if step.core is not None:
        os.sched_setaffinity(0, {step.core})
    gc.disable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(do(step))), flush=True)


if __name__ == "__main__":
    main(run)
