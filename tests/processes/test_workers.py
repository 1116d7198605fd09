"""The parent of workers. tests/faults/test_workers.py runs a whole fleet."""

import asyncio
import os
import signal
from asyncio.subprocess import Process
from pathlib import Path

import aiohttp
import pytest

from proxy import children
from proxy.admin.listen import bind, reserve
from proxy.processes import workers
from proxy.processes.addresses import Addresses, address_of
from proxy.processes.control_config import control_config
from proxy.processes.stopping import Stop
from proxy.processes.worker_task import Task, Worker, WorkerFailed
from tests.apps import settings_in

START_S = 60


async def test_a_worker_that_hangs_is_killed_when_somebody_hurries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Else Ctrl-C would end nothing, however often it is pressed."""
    monkeypatch.setattr(workers, "END_S", 0.2)
    settings, stop = settings_in(tmp_path, "http://127.0.0.1:1"), Stop()
    with reserve("127.0.0.1", 0, "TALKMETER_LISTEN") as kept:
        here = settings.model_copy(update={"listen": address_of(kept)})
        worker = workers._Child(Task(here, Worker(1, str(tmp_path / "s"))), stop)
        async with asyncio.timeout(START_S), asyncio.TaskGroup() as group:
            group.create_task(worker.run())
            await worker.has_tried.wait()
            assert worker._process is not None
            os.kill(worker._process.pid, signal.SIGSTOP)
            stop.hurry = worker.hurry
            stop.heard()
            worker.tell_to_stop()
            stop.heard()
    assert worker.bad_end == -signal.SIGKILL
    assert "a worker does not end: it is killed" in caplog.text


@pytest.mark.parametrize("how", ["killed", "not started"])
async def test_a_worker_that_is_lost_before_it_serves_is_waited_for_only_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Its journal takes more memory than there is, say: that must keep no control plane from starting."""
    start, starts = children.start, 0

    async def lost(module: str, *, stdout: int) -> Process:
        nonlocal starts
        starts += 1
        if how == "not started":
            raise OSError("no room")
        process = await start(module, stdout=stdout)
        process.kill()
        return process

    monkeypatch.setattr(children, "start", lost)
    settings, stop = settings_in(tmp_path, "http://127.0.0.1:1"), Stop()
    with reserve("127.0.0.1", 0, "LISTEN") as kept, bind("127.0.0.1", 0, "ADMIN_LISTEN") as admin:
        places = Addresses(address_of(kept), address_of(admin), is_tls=False)
        worker = workers._Child(Task(settings, Worker(1, str(tmp_path / "s"))), stop)
        control = control_config(settings, admin.fileno(), [])
        with pytest.raises(ExceptionGroup) as failed:
            async with asyncio.timeout(START_S), asyncio.TaskGroup() as group:
                group.create_task(workers._serve(group, [worker], control, stop, places))
    (failure,) = failed.value.exceptions
    assert isinstance(failure, WorkerFailed)
    assert (
        str(failure)
        == {
            "killed": "worker 1 ended with -9: its log says why",
            "not started": "worker 1 cannot be started: no room",
        }[how]
    )
    assert starts == 2


async def test_a_worker_that_cannot_start_keeps_no_other_from_serving(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its journal is damaged, say: here it is that one of both has SQLite. It is tried again and again."""
    settings = settings_in(tmp_path, "http://127.0.0.1:1", journal_path=tmp_path / "j.db", workers=2)
    stop = Stop()
    with reserve("127.0.0.1", 0, "LISTEN") as kept, bind("127.0.0.1", 0, "ADMIN_LISTEN") as admin:
        places = Addresses(address_of(kept), address_of(admin), is_tls=False)
        tasks = list(workers._tasks(settings, places, tmp_path))
        control = control_config(settings, admin.fileno(), [task.worker.private for task in tasks])
        both = [workers._Child(task, stop) for task in tasks]
        async with asyncio.timeout(START_S), asyncio.TaskGroup() as group:
            group.create_task(workers._serve(group, both, control, stop, places))
            while "worker ended: it is started again" not in caplog.messages:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            said = [vars(record).get("why", "") for record in caplog.records]
            assert any("used by another Talkmeter instance" in why for why in said)
            async with aiohttp.ClientSession() as http:
                assert (await http.get(f"http://{places.listen}/healthz")).status == 200
                assert 'talkmeter_worker_up{worker="' in await scraped(http, places)
            assert sorted(one.is_ready for one in both) == [False, True]
            stop.heard()


async def scraped(http: aiohttp.ClientSession, places: Addresses) -> str:
    async with http.get(f"http://{places.admin_listen}/metrics") as answer:
        return await answer.text()
