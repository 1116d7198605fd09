"""The control plane's process: `main` of this module, started by the data plane alone.

Its standard input is the pipe to the data plane: one line of JSON, the configuration (it holds
secrets, which have no place on a command line), then silence. When the pipe closes the data plane
is gone, and so are we.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path
from typing import BinaryIO

import msgspec

from proxy.admin.config import ControlConfig
from proxy.control import serve
from proxy.observe import logs

CONFIG_BYTES_MAX = 65_536


async def run(config: ControlConfig, pipe: BinaryIO) -> None:
    """Serve until `pipe` ends."""
    runner = await serve(config, socket.socket(fileno=config.listen_fd))
    try:
        await _end_of(pipe)
    finally:
        await runner.cleanup()
    for private in config.data_planes:
        _clear_away(Path(private))


async def _end_of(pipe: BinaryIO) -> None:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    try:
        while await reader.read(1_024):
            pass
    finally:
        transport.close()


def _clear_away(data_plane_socket: Path) -> None:
    """Remove what a killed data plane left behind; one that ended well has removed it itself."""
    with contextlib.suppress(OSError):
        data_plane_socket.unlink(missing_ok=True)
        data_plane_socket.parent.rmdir()


def main() -> None:
    """Read the configuration and serve. Only the pipe ends us: signals are the data plane's business."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    pipe = os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0)
    config = msgspec.json.decode(pipe.readline(CONFIG_BYTES_MAX), type=ControlConfig)
    logs.configure(config.log_format, config.log_level)
    asyncio.run(run(config, pipe))
