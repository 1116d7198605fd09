"""A worker's process by itself: its task comes through its pipe, which alone tells it to end."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from proxy import simulator
from proxy.admin.listen import reserve
from proxy.app import running
from proxy.processes.addresses import address_of
from proxy.processes.worker_task import READY, STOP, Task, Worker, unpacked
from tests.apps import UPSTREAM_KEY, answer, call, make_key, settings_in

START_S = 60


async def test_it_drains_when_it_is_told_and_ends_with_its_parent(tmp_path: Path) -> None:
    """Signals are its parent's business. What it is told is on no command line."""
    upstream = await simulator.serve(api_keys={UPSTREAM_KEY})
    settings = settings_in(tmp_path, upstream.url, drain_s=600)
    async with running(settings) as app:
        secret = make_key(app)
    with reserve("127.0.0.1", 0, "TALKMETER_LISTEN") as kept:
        here = address_of(kept)
        task = Task(settings.model_copy(update={"listen": here}), Worker(2, str(tmp_path / "s")))
        command = (sys.executable, "-m", "proxy.loading", "proxy.processes.worker_process")
        process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE)
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        process.stdin.write(task.packed() + b"\n")
        assert await asyncio.wait_for(process.stdout.readline(), START_S) == f"{READY}\n".encode()
        process.send_signal(signal.SIGTERM)
        socket = await call(f"http://{here}/v1", secret)
        assert (await answer(socket))["response"]["status"] == "completed"
        process.stdin.write(STOP + b"\n")
        while (line := await process.stderr.readline()) and b'"draining"' not in line:
            assert UPSTREAM_KEY.encode() not in line
        with pytest.raises(InvalidStatus, match="503"):
            await call(f"http://{here}/v1", secret)
        assert (await answer(socket))["response"]["status"] == "completed"
        process.stdin.close()  # as the end of the parent does
        with pytest.raises(ConnectionClosedError):
            await answer(socket)
        log = await process.stderr.read()
        assert await asyncio.wait_for(process.wait(), START_S) == 0, log
    await upstream.close()


def test_a_task_says_nothing_of_what_is_secret(tmp_path: Path) -> None:
    """And comes out of the pipe as it went in."""
    task = Task(settings_in(tmp_path, "http://127.0.0.1:1"), Worker(1, "/tmp/s"))
    assert UPSTREAM_KEY not in repr(task)
    assert unpacked(task.packed()) == task
    assert unpacked(task.packed()).settings.need_upstream_key() == UPSTREAM_KEY
