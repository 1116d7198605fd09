"""Who has a journal: one process, which is told, and nobody once it is gone."""

import os
import stat
import threading
from pathlib import Path

import pytest

from proxy.store import StoreError
from proxy.store import journal_lock as lock


def test_it_is_taken_once(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    with lock.take(path) as held:
        assert lock.holder(path) == str(os.getpid())
        with pytest.raises(StoreError, match=f"in use by another process .pid {os.getpid()}"):
            lock.take(path)
        assert stat.S_IMODE(os.fstat(held.fileno()).st_mode) == 0o600
    assert lock.holder(path) is None
    lock.take(path).close()


def test_looking_makes_nothing(tmp_path: Path) -> None:
    assert lock.holder(tmp_path / "j.db") is None
    assert list(tmp_path.iterdir()) == []


def test_who_looks_does_not_keep_a_process_from_starting(tmp_path: Path) -> None:
    """Looking takes the lock for a moment, and starting waits that long."""
    path = tmp_path / "j.db"
    lock.take(path).close()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            lock.holder(path)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(50):
            lock.take(path).close()
    finally:
        done.set()
        looking.join()
