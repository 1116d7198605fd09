"""A data plane in a process of its own, to be killed: relay, journal and poster, with no control plane.

It is what `talkmeter serve --workers` starts many of, forked from a process that has loaded all of it, and
so starts in a fraction of the time: hundreds can be killed. `is_late` makes it forward first and journal
later, which must never be done: such a proxy loses usage when it is killed, and the harness that shows that
ours does not has to see it.
"""

import asyncio
import multiprocessing
import multiprocessing.process
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from proxy.app import serve
from proxy.core.records import Record
from proxy.observe import logs
from proxy.processes.stopping import Stop
from proxy.processes.worker_task import Worker
from proxy.settings import Settings
from proxy.store.journal import Journal
from tests.e2e.place import Home
from tests.faults.instance import START_S, free_address

LATE_S = 0.25  # a busy machine forwards little in less
READY = b"ready"

_append = Journal.append
_nursery = multiprocessing.get_context("forkserver")
_nursery.set_forkserver_preload([__name__])


@dataclass
class Plane:
    """One data plane: its port, journal and database stay the same however often it is started."""

    settings: Settings
    log_path: Path
    private: Path  # the socket that a control plane would ask, in a folder of its own
    is_late: bool = False
    _process: multiprocessing.process.BaseProcess | None = field(default=None, repr=False)
    _ready: Connection | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Return the base URL for WebSocket clients."""
        return f"ws://{self.settings.listen}/v1"

    async def start(self) -> None:
        """Start the process, and do not wait for it."""
        self._ready, ready = _nursery.Pipe(duplex=False)
        self._process = _nursery.Process(
            target=_main, args=(self.settings, self.log_path, self.private, self.is_late, ready)
        )
        await asyncio.to_thread(self._process.start)
        ready.close()

    async def ready(self) -> None:
        """Wait until it serves."""
        assert self._ready is not None
        assert await asyncio.to_thread(self._ready.poll, START_S), self.said()
        try:
            assert self._ready.recv_bytes() == READY
        except EOFError:
            raise AssertionError(self.said()) from None

    async def kill(self) -> None:
        """kill -9; that it was still running is part of the test."""
        assert self._process is not None
        ended = self._process.exitcode
        await self._end()
        assert ended is None, f"it had ended with {ended}:\n{self.said()}"

    async def stop(self) -> None:
        """Let it drain, and see that it ends well."""
        assert self._process is not None
        self._process.terminate()
        await asyncio.to_thread(self._process.join, START_S)
        assert self._process.exitcode == 0, self.said()

    async def put_down(self) -> None:
        """Kill what may still run of it."""
        await self._end()
        shutil.rmtree(self.private.parent, ignore_errors=True)

    async def _end(self) -> None:
        if self._process is not None and self._ready is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.join)
            self._ready.close()

    async def metric(self, name: str) -> float:
        """Return the value of a metric without labels."""
        connector = aiohttp.UnixConnector(str(self.private))
        async with (
            aiohttp.ClientSession(connector=connector) as http,
            http.get("http://private/metrics") as answer,
        ):
            lines = (await answer.text()).splitlines()
        (line,) = [line for line in lines if line.startswith(f"{name} ")]
        return float(line.split()[1])

    def said(self) -> str:
        """Return what it has logged, over all its lives."""
        return self.log_path.read_text(errors="replace")


def plane_of(home: Home, name: str, **changes: Any) -> Plane:
    """Return a data plane that is not started yet; `changes` are settings."""
    settings = home.settings(listen=free_address(), **changes)
    private = Path(
        tempfile.mkdtemp(prefix="tm-")
    )  # elsewhere its path could be longer than a socket's may be
    return Plane(settings, home.folder / f"{name}.log", private / "s")


def _main(settings: Settings, log_path: Path, private: Path, is_late: bool, ready: Connection) -> None:
    """Serve, in the forked process, until it is told to stop."""
    log = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(log, stream)
    logs.configure(settings.log_format, settings.log_level)
    if is_late:
        Journal.append = _append_late  # type: ignore[method-assign]
    uvloop.run(_serve(settings, Worker(0, str(private)), ready))


async def _serve(settings: Settings, worker: Worker, ready: Connection) -> None:
    stop = Stop()
    stop.listen()
    await serve(settings, stop, lambda app: ready.send_bytes(READY), worker)


def _append_late(self: Journal, record: Record, durable: Callable[[], None] | None = None) -> None:
    """Tell whoever waits for a record at once that it is on disk; really write it a moment later."""
    loop = asyncio.get_running_loop()
    if durable is not None:
        loop.call_soon(durable)
    loop.call_later(LATE_S, _append, self, record)
