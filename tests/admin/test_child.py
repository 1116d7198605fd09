"""The control plane's process: it starts, is replaced when it dies, and ends when its pipe closes."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from proxy import children
from proxy.admin import child
from proxy.admin.child import supervise
from proxy.admin.config import ControlConfig
from proxy.admin.listen import bind
from tests.admin.data_plane import data_plane


def config(tmp_path: Path, listener: socket.socket) -> ControlConfig:
    return ControlConfig(
        listen_fd=listener.fileno(),
        data_planes=(str(tmp_path / "dp" / "s"),),
        database_url=f"sqlite:///{tmp_path / 'x.db'}",
    )


class Started(asyncio.Queue[int]):
    """The pids of the children, as they start."""

    async def next(self) -> int:
        return await asyncio.wait_for(self.get(), 60)


@contextlib.asynccontextmanager
async def supervised(tmp_path: Path) -> AsyncIterator[tuple[str, Started]]:
    """A control plane of its own process; gives its URL and the children that start."""
    started = Started()
    async with data_plane(tmp_path / "dp"), asyncio.TaskGroup() as group:
        with bind("127.0.0.1", 0, "ADMIN_LISTEN") as listener:
            task = group.create_task(supervise(config(tmp_path, listener), started.put_nowait))
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}", started
            finally:
                task.cancel()
                await asyncio.wait([task])


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_child_serves_and_ends_with_us(tmp_path: Path) -> None:
    """Its port is ours, its metrics are the data plane's, and it does not outlive its supervisor."""
    async with supervised(tmp_path) as (url, started), aiohttp.ClientSession() as http:
        pid = await started.next()
        answer = await http.get(f"{url}/metrics")  # waits in the backlog until the child accepts
        assert "talkmeter_x_total 1.0" in await answer.text()
        assert pid != os.getpid()
    assert not is_alive(pid)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="shows no environments here")
async def test_a_child_has_none_of_our_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs no key for the voice API, so a hole in it gives none away. The others it is told by pipe."""
    for name in ("OPENAI_API_KEY", "TALKMETER_UPSTREAM_API_KEY", "TALKMETER_KEY_PEPPER"):
        monkeypatch.setenv(name, "canary")
    monkeypatch.setenv("PGSSLMODE", "prefer")
    async with supervised(tmp_path) as (_, started):
        given = await asyncio.to_thread(Path(f"/proc/{await started.next()}/environ").read_bytes)
        assert b"canary" not in given and b"TALKMETER_" not in given
        assert b"PGSSLMODE=prefer" in given


async def test_a_dead_child_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """On the same port, and the log says that it happened."""
    async with supervised(tmp_path) as (url, started), aiohttp.ClientSession() as http:
        first = await started.next()
        assert (await http.get(f"{url}/healthz")).status == 200
        os.kill(first, signal.SIGKILL)
        second = await started.next()
        assert second != first
        async with aiohttp.ClientSession() as again:
            assert (await again.get(f"{url}/healthz")).status == 200
    ended = [record for record in caplog.records if record.getMessage().startswith("control plane ended")]
    assert ended[0].__dict__["code"] == -signal.SIGKILL
    assert not is_alive(second)


async def test_signals_do_not_end_a_child(tmp_path: Path) -> None:
    """A service manager that signals the whole group must not take the metrics of the drain away."""
    async with supervised(tmp_path) as (url, started), aiohttp.ClientSession() as http:
        pid = await started.next()
        assert (await http.get(f"{url}/healthz")).status == 200
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(pid, number)
        assert (await http.get(f"{url}/healthz")).status == 200
        assert started.empty()


async def test_a_child_that_hangs_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Stopping does not wait for it for ever."""
    monkeypatch.setattr(children, "END_S", 0.2)
    async with supervised(tmp_path) as (url, started), aiohttp.ClientSession() as http:
        pid = await started.next()
        assert (await http.get(f"{url}/healthz")).status == 200
        os.kill(pid, signal.SIGSTOP)
    assert not is_alive(pid)
    assert any("it is killed" in record.getMessage() for record in caplog.records)


async def test_a_child_that_cannot_start_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The data plane goes on all the while."""
    failed = asyncio.Event()
    watch = logging.Handler()
    watch.emit = lambda record: failed.set()  # type: ignore[method-assign]
    monkeypatch.setattr("sys.executable", str(tmp_path / "no-python"))
    async with supervised(tmp_path) as (url, started), aiohttp.ClientSession() as http:
        child.logger.addHandler(watch)
        await asyncio.wait_for(failed.wait(), 60)
        child.logger.removeHandler(watch)
        monkeypatch.undo()
        await started.next()
        assert (await http.get(f"{url}/healthz")).status == 200
    assert any("cannot be started" in record.getMessage() for record in caplog.records)
