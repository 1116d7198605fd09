"""The parent of workers. tests/faults/test_workers.py runs a whole fleet."""

import asyncio
import os
import signal
from pathlib import Path

import aiohttp
import pytest

from proxy import workers
from proxy.addresses import Addresses, address_of
from proxy.admin.listen import bind, reserve
from proxy.control_config import control_config
from proxy.stopping import Stop
from proxy.worker_task import Task, Worker
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
