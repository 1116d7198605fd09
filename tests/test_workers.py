"""The parent of workers. tests/faults/test_workers.py runs a whole fleet."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from proxy import workers
from proxy.addresses import address_of
from proxy.admin.listen import reserve
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
            await worker.is_ready.wait()
            assert worker._process is not None
            os.kill(worker._process.pid, signal.SIGSTOP)
            stop.hurry = worker.hurry
            stop.heard()
            worker.tell_to_stop()
            stop.heard()
    assert worker.bad_end == -signal.SIGKILL
    assert "a worker does not end: it is killed" in caplog.text
