"""The load, told line by line what to do, so that whoever tells can look at the relay in between.

    python -m tests.bench.driven '{"url": …}'      reads orders, as `["open", 100]`, and answers with JSON

| order | what happens | answered |
|---|---|---|
| `open` N | N sessions more, which say nothing | when all are open |
| `speak` S | each talks for S seconds; they begin one by one, over the `seconds` of the step | at once |
| `count` – | | with what arrived since the last time, and how many sessions were cut |
| `end` – | all clients hang up | at once |
"""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from tests.bench.ends import RATE_HZ, Session
from tests.bench.load import Load, Step, main, upstream
from tests.bench.relays import ROOT

ANSWER_S_MAX = 60.0
LINE_BYTES_MAX = 1_000


class Driver:
    """Whoever tells; see the module for the orders."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def tell(self, order: str, value: float = 0) -> dict[str, float]:
        """Give an order; return the answer."""
        assert self._process.stdin and self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps([order, value]).encode() + b"\n")
        answer: dict[str, float] = json.loads(self._process.stdout.readline() or "{}")
        if not answer:
            raise RuntimeError(f"the load has ended before it had done: {order} {value}")
        return answer


@contextlib.contextmanager
def driving(step: Step) -> Iterator[Driver]:
    """A load that waits for orders until the block ends."""
    command = [sys.executable, "-m", "tests.bench.driven", json.dumps(asdict(step))]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, bufsize=0) as process:
        try:
            yield Driver(process)
        finally:
            process.kill()


class Driven(Load):
    """The load's side."""

    async def obey(self, group: asyncio.TaskGroup) -> None:
        """Do what standard input says until it ends."""
        reader = asyncio.StreamReader(LINE_BYTES_MAX)
        protocol = asyncio.StreamReaderProtocol(reader)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
        async for line in reader:
            order, value = json.loads(line)
            print(json.dumps(await self._do(order, value, group)), flush=True)

    async def _do(self, order: str, value: Any, group: asyncio.TaskGroup) -> dict[str, float]:
        match order:
            case "open":
                async with asyncio.timeout(ANSWER_S_MAX):
                    await self.open(value)
            case "speak":
                for session in self.sessions.values():
                    group.create_task(self._speak(session, value))
            case "count":
                return self._count()
            case "end":
                for session in self.sessions.values():
                    session.client.transport.close()
                self.sessions.clear()
        return {"sessions": len(self.sessions)}

    async def _speak(self, session: Session, seconds: float) -> None:
        later = session.number / len(self.sessions) * self.step.seconds * RATE_HZ
        with contextlib.suppress(RuntimeError):  # it was cut: `count` says so
            await session.speak(seconds, later)

    def _count(self) -> dict[str, float]:
        ways = [way for session in self.sessions.values() for way in (session.up, session.down)]
        delays_s = sorted(delay for way in ways for delay in way.delays_s) or [0.0]
        counted = {
            "cut": sum(session.client.is_lost for session in self.sessions.values()),
            "messages": sum(way.messages for way in ways),
            "delay_p50_s": delays_s[len(delays_s) // 2],
            "delay_p99_s": delays_s[len(delays_s) * 99 // 100],
        }
        for way in ways:
            way.messages = 0
            way.delays_s.clear()
        return counted


async def run(step: Step) -> dict[str, float]:
    """Be upstream and clients as long as somebody tells what to do."""
    load = Driven(step)
    async with upstream(step, load.sessions), asyncio.TaskGroup() as group:
        await load.obey(group)
    return {}


if __name__ == "__main__":
    main(run)
