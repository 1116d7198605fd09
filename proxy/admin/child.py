"""The control plane's process, seen from the data plane: started, watched, started again, ended.

The child has its own port's listening socket from us, so the port stays taken while a dead child is
replaced, and it learns by the pipe closing that we are gone, even by `kill -9`.
"""

import asyncio
import logging
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from pathlib import Path

import msgspec

from proxy.admin.config import ControlConfig

RESTART_S_MIN = 0.2
RESTART_S_MAX = 10.0
HEALTHY_S = 30  # a child that lived so long starts again at once
END_S = 3

_SETTINGS = ("TALKMETER_", "OPENAI_")

logger = logging.getLogger(__name__)


async def supervise(config: ControlConfig, on_start: Callable[[int], None]) -> None:
    """Keep a control plane running until this is cancelled; `on_start` hears every child's pid."""
    delay = RESTART_S_MIN
    while True:
        began = time.monotonic()
        await _live(config, on_start)
        if time.monotonic() - began > HEALTHY_S:
            delay = RESTART_S_MIN
        await asyncio.sleep(delay)
        delay = min(delay * 2, RESTART_S_MAX)


async def _live(config: ControlConfig, on_start: Callable[[int], None]) -> None:
    """Start one child and wait until it ends, or end it when cancelled."""
    try:
        process = await _start(config)
    except OSError as error:
        logger.error("the control plane cannot be started", extra={"error": str(error)})
        return
    try:
        on_start(process.pid)
        logger.info("control plane started", extra={"child_pid": process.pid})
        await _tell(process, config)
        code = await process.wait()
        logger.error(
            "control plane ended: it is started again", extra={"child_pid": process.pid, "code": code}
        )
    finally:
        await _end(process)


async def _start(config: ControlConfig) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # a folder called `proxy` where somebody happens to stand is not ours
        "-m",
        "proxy.control_process",
        stdin=PIPE,
        pass_fds=(config.listen_fd,),
        start_new_session=True,  # Ctrl-C is for the data plane, which drains first
        env=_environment(),
    )


def _environment() -> dict[str, str]:
    """Return our environment without our settings: the pipe tells the child those it needs, and no others.

    The key for the voice API is among them. What a database driver reads (`PGPASSFILE`) stays.
    """
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(_SETTINGS)}
    return kept | {"PYTHONPATH": _python_path()}


def _python_path() -> str:
    """Return where the child finds our package, wherever it was started from."""
    folder = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))


async def _tell(process: Process, config: ControlConfig) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(msgspec.json.encode(config) + b"\n")
        await process.stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        logger.debug("control plane ended before it was told anything")  # `wait` says the rest


async def _end(process: Process) -> None:
    """Close the pipe and see the child off."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), END_S)
    except TimeoutError:
        logger.warning("control plane did not end: it is killed", extra={"child_pid": process.pid})
        process.kill()
        await process.wait()
