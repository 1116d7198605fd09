"""Faults of the kernel, injected into a running process by strace."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

INSTALL = ("apt-get", "install", "--yes", "--no-install-recommends", "strace")
ATTACH_S = 20.0


def strace() -> str:
    """Return the program; in CI it is installed when missing, elsewhere the test is skipped, saying how."""
    found = shutil.which("strace")
    if not found and os.environ.get("CI") and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update"], check=False, capture_output=True)
        subprocess.run(INSTALL, check=False, capture_output=True)
        found = shutil.which("strace")
    if not found:
        pytest.skip(f"flushes are made to fail by strace, which is missing: {' '.join(INSTALL)}")
    return found


@asynccontextmanager
async def failing_flushes(pid: int, path: Path) -> AsyncIterator[None]:
    """Let the next flush of the file `path` by this process fail with EIO; later ones succeed, as they do."""
    command = (
        *(strace(), "-f", "-p", str(pid), "-o", os.devnull, "-P", str(path)),
        *("-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO:when=1"),
    )
    tracer = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    try:
        assert tracer.stderr is not None
        line = (await asyncio.wait_for(tracer.stderr.readline(), ATTACH_S)).decode()
        while "Requested path" in line:  # it resolves links
            line = (await asyncio.wait_for(tracer.stderr.readline(), ATTACH_S)).decode()
        if "attached" not in line:
            pytest.skip(f"strace may not trace here ({line.strip()}); it needs root, or ptrace_scope 0")
        yield
    finally:
        if tracer.returncode is None:
            tracer.terminate()
        await tracer.communicate()
