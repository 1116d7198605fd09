"""A worker's process: `main` of this module, started by `serve --workers N` alone.

Its standard input is the pipe to its parent: one line, its task; then a line each time that it is asked to
stop, first to drain, then to hurry. When the pipe closes the parent is gone, and so are we, at once.
Its standard output tells the parent that it serves, or why it cannot.
"""

import asyncio
import os
import signal
import sys
from typing import BinaryIO

import uvloop

from proxy.admin.listen import ListenError
from proxy.app import App, serve
from proxy.observe import logs
from proxy.processes.stopping import Stop
from proxy.processes.worker_task import PROBLEM, READY, TASK_BYTES_MAX, Task, unpacked
from proxy.settings import SettingsError
from proxy.store import StoreError


class _Orders(asyncio.Protocol):
    """What comes down the pipe."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop

    def data_received(self, data: bytes) -> None:
        for _ in data.splitlines():
            self._stop.heard()

    def eof_received(self) -> None:
        self._stop.asked.set()
        self._stop.heard()


async def run(task: Task, pipe: BinaryIO) -> None:
    """Serve until the parent says that it is enough.

    Raises:
        SettingsError, StoreError, ListenError: it cannot start; the text says why and what to do.
    """
    stop = Stop()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: _Orders(stop), pipe)
    try:
        await serve(task.settings, stop, _say_ready, task.worker)
    finally:
        transport.close()


def _say_ready(app: App) -> None:
    _say(READY)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Read the task and do it. Only the pipe ends us: signals are the parent's business."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    pipe = os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0)
    task = unpacked(pipe.readline(TASK_BYTES_MAX))
    logs.configure(task.settings.log_format, task.settings.log_level)
    try:
        uvloop.run(run(task, pipe))
    except (SettingsError, StoreError, ListenError) as problem:
        for line in str(problem).splitlines():
            _say(PROBLEM + line)
        sys.exit(1)
