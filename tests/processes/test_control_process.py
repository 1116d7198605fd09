"""The control plane's process by itself: configured through its pipe, ended by it."""

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import msgspec

from proxy.admin.config import ControlConfig
from proxy.admin.listen import bind


def start(tmp_path: Path, database_url: str, listener: socket.socket) -> subprocess.Popen[bytes]:
    config = ControlConfig(
        listen_fd=listener.fileno(),
        data_planes=(str(tmp_path / "dp" / "s"),),
        database_url=database_url,
        metrics_token="canary-token",
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "proxy.loading", "proxy.processes.control_process"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=[listener.fileno()],
    )
    assert process.stdin is not None
    process.stdin.write(msgspec.json.encode(config) + b"\n")
    process.stdin.flush()
    return process


def command_line(pid: int) -> bytes:
    """Return what anybody on this machine may read about a process (Linux; else nothing)."""
    arguments = Path(f"/proc/{pid}/cmdline")
    return arguments.read_bytes() if arguments.exists() else b""


async def test_it_ends_when_its_pipe_closes_and_clears_away(tmp_path: Path, sqlite_url: str) -> None:
    """What a killed data plane left behind is a socket in a private folder."""
    folder = tmp_path / "dp"
    folder.mkdir()
    (folder / "s").touch()
    with bind("127.0.0.1", 0, "ADMIN_LISTEN") as listener:
        process = start(tmp_path, sqlite_url, listener)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with aiohttp.ClientSession() as http:
            assert (await http.get(f"{url}/healthz")).status == 200
        assert b"canary" not in command_line(process.pid)
        _, errors = await asyncio.to_thread(process.communicate)
    assert (process.returncode, errors) == (0, b"")
    assert not folder.exists()
