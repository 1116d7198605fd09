"""Processes of our own: started, told what they have to know, started again when they die, ended with us.

A child runs one of our modules. Its standard input is a pipe from us: one line with what it has to know
(secrets are among it, which have no place on a command line), and then what it is asked for. When the pipe
closes we are gone, even by `kill -9`, and so it ends.
"""

import asyncio
import logging
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

RESTART_S_MIN = 0.2
RESTART_S_MAX = 10.0
HEALTHY_S = 30  # a child that lived so long starts again at once
END_S = 3.0

_SETTINGS = ("TALKMETER_", "OPENAI_")

logger = logging.getLogger(__name__)


async def keep_running(live: Callable[[], Awaitable[bool]]) -> None:
    """Call `live` until it returns False. It starts a child and sees it to its end.

    The sooner children end, the longer is the wait before the next one.
    """
    delay = RESTART_S_MIN
    began = time.monotonic()
    while await live():
        if time.monotonic() - began > HEALTHY_S:
            delay = RESTART_S_MIN
        await asyncio.sleep(delay)
        delay = min(delay * 2, RESTART_S_MAX)
        began = time.monotonic()


async def start(module: str, *, pass_fds: Sequence[int] = (), stdout: int | None = None) -> Process:
    """Start a child that runs `main()` of `module`; raises OSError when the system has no room for it."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # a folder called `proxy` where somebody happens to stand is not ours
        "-m",
        "proxy.loading",
        module,
        stdin=PIPE,
        stdout=stdout,
        pass_fds=pass_fds,
        start_new_session=True,  # Ctrl-C is for us alone: we tell our children what to do
        env=_environment(),
    )


def _environment() -> dict[str, str]:
    """Return our environment without our settings: the pipe tells a child those it needs, and no others.

    The key for the voice API is among them. What a database driver reads (`PGPASSFILE`) stays.
    """
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(_SETTINGS)}
    return kept | {"PYTHONPATH": _python_path()}


def _python_path() -> str:
    """Return where a child finds our package, wherever it was started from."""
    folder = str(Path(__file__).resolve().parents[1])
    return os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))


async def tell(process: Process, line: bytes) -> None:
    """Write a line to a child; nothing if it has ended."""
    assert process.stdin is not None
    try:
        process.stdin.write(line + b"\n")
        await process.stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        logger.debug("a child ended before it was told", extra={"child_pid": process.pid})


async def end(process: Process, name: str, patience_s: float | None = None) -> None:
    """Close the pipe and see the child off; one that does not end within `patience_s` is killed."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), END_S if patience_s is None else patience_s)
    except TimeoutError:
        logger.warning(f"{name} did not end: it is killed", extra={"child_pid": process.pid})
        process.kill()
        await process.wait()
