"""A `talkmeter serve` in a process of its own, to be killed, starved, attacked and started again."""

import asyncio
import itertools
import json
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxy.settings import Address, Settings
from tests.apps import environment_of
from tests.e2e.place import Home

ROOT = Path(__file__).parents[2]
START_S = 60.0  # a busy machine is not a bug
SERVE = ("-m", "proxy", "serve")
# Outside the range from which the system takes ports for clients: one of ours, connecting again and again
# to a port where nobody listens for a moment, could else be given that very port.
# Those of a worker are its own, and none is given twice: what is down for a moment would lose its port.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
PORTS = range(20_000 + WORKER % 10 * 1_000, 21_000 + WORKER % 10 * 1_000)


_ports = itertools.cycle(random.sample(PORTS, len(PORTS)))


@dataclass
class Instance:
    """One instance: its ports, journal and database stay the same however often it is started."""

    settings: Settings
    log_path: Path
    arguments: Sequence[str] = SERVE  # for Python
    process: asyncio.subprocess.Process | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Return the base URL for WebSocket clients."""
        return f"{'wss' if self.settings.tls_cert else 'ws'}://{self.settings.listen}/v1"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    async def start(self) -> None:
        """Start the process, and do not wait for it."""
        with self.log_path.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                *self.arguments,
                env=environment_of(self.settings),
                cwd=self.log_path.parent,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )

    async def ready(self) -> None:
        """Wait until it serves."""
        assert self.process is not None and self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), START_S)
        assert b"serves apps at" in line, self.said()

    async def kill(self) -> None:
        """kill -9; that it was still running is part of the test."""
        assert self.process is not None
        ended = self.process.returncode
        if ended is None:
            self.process.kill()
        await self.process.wait()
        assert ended is None, f"it had ended with {ended}:\n{self.said()}"

    async def put_down(self) -> None:
        """Kill what may still run of it."""
        if self.process is not None:
            if self.process.returncode is None:
                self.process.kill()
            await self.process.wait()

    async def stop(self) -> None:
        """End it the way that a service manager does, and see that it ends well."""
        self.signal(signal.SIGTERM)
        assert await self.ended() == 0, self.said()

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def ended(self) -> int:
        """Wait for its end; return its exit status."""
        assert self.process is not None
        return await asyncio.wait_for(self.process.wait(), START_S)

    def said(self) -> str:
        """Return what it has logged, over all its lives."""
        return self.log_path.read_text(errors="replace")

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Return the log lines about this event, over all its lives."""
        lines = [json.loads(line) for line in self.said().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"].startswith(event)]

    def memory(self) -> int:
        """Return the bytes of memory that it occupies now."""
        return _status_kb(self.pid, "VmRSS") * 1024

    def memory_peak(self) -> int:
        """Return the most bytes of memory that it ever occupied."""
        return _status_kb(self.pid, "VmHWM") * 1024


def _status_kb(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0])
    raise AssertionError(f"/proc/{pid}/status has no {name}")


def instance_of(home: Home, name: str = "serve", **changes: Any) -> Instance:
    """Return an instance that is not started yet; `changes` are settings."""
    places = {"listen": free_address(), "admin_listen": free_address()}
    return Instance(home.settings(**(places | changes)), home.folder / f"{name}.log")


@asynccontextmanager
async def started(instance: Instance) -> AsyncIterator[Instance]:
    """Run `instance` until it serves; nothing of it is left afterwards."""
    try:
        await instance.start()
        await instance.ready()
        yield instance
    finally:
        await instance.put_down()


def free_address() -> Address:
    """Return an address that nobody uses, for a port that has to be the same after a restart."""
    while True:
        address = Address("127.0.0.1", next(_ports))
        with socket.socket() as probe:
            try:
                probe.bind(address)
            except OSError:
                continue
        return address


async def refused(settings: Settings, folder: Path, **environment: str) -> str:
    """Start `talkmeter serve` where it cannot start; return the error for people.

    It must end with status 1, say one thing, and show no traceback.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *SERVE,
        env=environment_of(settings) | environment,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, errors = await asyncio.wait_for(process.communicate(), START_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    said = errors.decode()
    assert process.returncode == 1, said
    assert out == b"" and "Traceback" not in said and said.startswith("error: "), said
    return said
