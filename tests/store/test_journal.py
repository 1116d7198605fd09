"""The journal: acknowledged means on disk, a full disk is survived, a failed flush is final."""

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from proxy.store import StoreError
from proxy.store.journal import Journal, JournalFailed
from proxy.store.journal_file import JournalFile, Reader
from tests.store import made


class Failures(list[Exception]):
    """What `on_failure` was told."""


@pytest.fixture
def failures() -> Failures:
    return Failures()


def open_journal(path: Path, failures: Failures, **settings: Any) -> Journal:
    settings = {"reserve_bytes": 64 * 1024, "free_bytes_min": 0} | settings
    return Journal.open(path, on_failure=failures.append, loop=asyncio.get_running_loop(), **settings)


@pytest.fixture
async def journal(tmp_path: Path, failures: Failures) -> AsyncIterator[Journal]:
    journal = open_journal(tmp_path / "journal.db", failures)
    yield journal
    await journal.close()
    assert failures == []


def stored(path: Path) -> list[str]:
    """The subjects of the rows, as another process would find them now."""
    with closing(Reader(path)) as reader:
        return [row.subject for row in reader.rows(0, 100_000)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  seen from outside, nothing rings
            await asyncio.sleep(0.01)


async def test_durable_is_called_when_the_row_is_on_disk(journal: Journal) -> None:
    told = asyncio.Event()
    seen: list[list[str]] = []

    def durable() -> None:
        seen.append(stored(journal.path))
        told.set()

    journal.append(made.entry("r1"), durable)
    assert seen == [], "append returns at once"
    await told.wait()
    assert seen == [["response/r1"]]


async def test_acknowledgements_come_in_order_and_in_batches(journal: Journal) -> None:
    told: list[int] = []
    commits: list[int] = []
    journal.on_commit = lambda: commits.append(journal.last_seq)
    for n in range(3_000):
        journal.append(made.entry(f"r{n}"), lambda n=n: told.append(n))  # type: ignore[misc]
    await journal.flush()
    assert told == list(range(3_000))
    assert len(commits) < 300, "what waits is committed together"
    assert stored(journal.path) == [f"response/r{n}" for n in range(3_000)]


def progress(path: Path) -> list[str]:
    """The subjects whose progress is on disk."""
    with closing(sqlite3.connect(path)) as looker:
        return [subject for (subject,) in looker.execute("SELECT subject FROM progress ORDER BY 1")]


async def test_progress_goes_with_the_next_commit(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    commits: list[int] = []
    commit = journal._file.commit

    def counted(writes: list[Callable[[JournalFile], None]]) -> None:
        commits.append(len(writes))
        commit(writes)

    monkeypatch.setattr(journal._file, "commit", counted)
    for n in range(100):
        journal.append(made.progress(f"r{n}", 1))
    await journal.flush()
    assert commits == [101]
    assert len(progress(journal.path)) == 100


async def test_progress_does_not_wait_for_other_records_for_long(journal: Journal) -> None:
    journal.append(made.progress("r1", 1))
    await until(lambda: progress(journal.path) == ["response/r1"])


async def test_progress_does_not_outlive_its_entry(journal: Journal) -> None:
    for n in range(2_000):
        journal.append(made.progress(f"r{n}", 1))
        journal.append(made.entry(f"r{n}"))
        journal.append(made.progress("r_last", 1))
    await journal.flush()
    assert progress(journal.path) == ["response/r_last"]


async def test_one_callbacks_error_is_not_anothers(journal: Journal) -> None:
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    told: list[str] = []

    def broken() -> None:
        raise ValueError("mine")

    journal.append(made.opened(), broken)
    journal.append(made.opened(), lambda: told.append("yours"))
    await journal.flush()
    assert told == ["yours"]
    assert [str(context["exception"]) for context in reported] == ["mine"]


async def test_depth_and_lag_count_what_is_not_posted(journal: Journal) -> None:
    assert (journal.depth, journal.lag_s) == (0, 0.0)
    for record in (made.opened(), made.subject("r1"), made.entry("r1")):
        journal.append(record)
    await journal.flush()
    assert (journal.depth, journal.lag_s > 0, journal.last_commit_s > 0) == (3, True, True)
    await asyncio.wrap_future(journal.settle(2))
    assert journal.depth == 1
    await asyncio.wrap_future(journal.settle(3))
    assert (journal.depth, journal.lag_s) == (0, 0.0)


async def test_a_flush_that_nobody_waits_for_any_more_harms_nothing(journal: Journal) -> None:
    waiting = asyncio.ensure_future(journal.flush())
    await asyncio.sleep(0)
    waiting.cancel()
    await journal.flush()


async def test_closing_keeps_what_was_appended(tmp_path: Path, failures: Failures) -> None:
    journal = open_journal(tmp_path / "journal.db", failures)
    for n in range(100):
        journal.append(made.entry(f"r{n}"))
    await journal.close()
    journal = open_journal(tmp_path / "journal.db", failures)
    assert (journal.last_seq, journal.depth) == (100, 100)
    await journal.close()


async def test_two_on_one_journal(journal: Journal, failures: Failures) -> None:
    with pytest.raises(StoreError, match="in use by another process"):
        open_journal(journal.path, failures)


def test_another_process_on_the_journal(tmp_path: Path) -> None:
    """The lock goes with its process, however that ends."""
    path = tmp_path / "journal.db"
    script = (
        "import sys, time; from pathlib import Path; from proxy.store.journal_file import JournalFile;"
        "file = JournalFile(Path(sys.argv[1])); print('open', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"open\n"
        refused = subprocess.run(
            [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False
        )
        assert f"in use by another process (pid {holder.pid})" in refused.stderr
        holder.kill()
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"open\n"
        holder.kill()


# --- Full disk


class SmallDisk(sqlite3.Connection):
    """A disk on which the database may have 40 pages, and more once the reserve is gone: SQLITE_FULL."""

    reserve: Path | None = None  # without one it never gets larger

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        if sql == "BEGIN IMMEDIATE":
            is_small = self.reserve is None or self.reserve.exists()
            super().execute(f"PRAGMA max_page_count = {40 if is_small else 1_000_000}")
        return super().execute(sql, *arguments)


def on_small_disk(path: Path) -> SmallDisk:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=SmallDisk)
    connection.execute("PRAGMA journal_mode = WAL")
    return connection


async def test_a_full_disk_frees_the_reserve_and_the_batch_is_written(
    tmp_path: Path, failures: Failures, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    path = tmp_path / "journal.db"

    def connect(path: Path) -> sqlite3.Connection:
        connection = on_small_disk(path)
        connection.reserve = path.with_name("journal.db.reserve")
        return connection

    journal = open_journal(path, failures, connect=connect)
    states: list[tuple[bool, bool]] = []
    journal.on_commit = lambda: states.append((journal.accepting, journal.is_full))
    told: list[int] = []
    for n in range(1_000):
        journal.append(made.entry(f"r{n}"), lambda n=n: told.append(n))  # type: ignore[misc]
    await journal.flush()
    assert told == list(range(1_000)) and len(stored(path)) == 1_000
    assert (states[-1], failures) == ((False, True), [])
    await until(lambda: journal.accepting)  # there is room, so the reserve is taken back
    assert not journal.is_full
    said = [record.getMessage() for record in caplog.records if record.name == "proxy.store.journal"]
    assert said == ["the disk is full: no response is started", "there is room on the disk again"]
    assert path.with_name("journal.db.reserve").exists()
    await journal.close()


async def test_when_the_reserve_does_not_help_the_journal_fails(tmp_path: Path, failures: Failures) -> None:
    journal = open_journal(tmp_path / "journal.db", failures, connect=on_small_disk)
    told: list[str] = []
    for n in range(1_000):
        journal.append(made.entry(f"r{n}"), lambda: told.append(""))
    with pytest.raises(JournalFailed, match="full"):
        await journal.flush()
    await journal.close()
    assert [str(error) for error in failures] == ["database or disk is full"]
    kept = len(stored(journal.path))  # what a first batch had, if not all of them were in it
    assert (len(told), journal.accepting) == (kept, False) and kept < 1_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    made = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(mounted)], capture_output=True, check=False
    )
    if not made or made.returncode:
        pytest.skip("a file system of its own needs the right to mount one")
    yield mounted
    subprocess.run(["umount", "-l", str(mounted)], check=True)


async def test_a_disk_that_is_really_full(small_disk: Path, failures: Failures) -> None:
    """ENOSPC: the reserve is given, everything is acknowledged, and it recovers when there is room."""
    path = small_disk / "journal.db"
    journal = open_journal(path, failures, reserve_bytes=2**21, free_bytes_min=2**18)
    assert journal.accepting
    filler = small_disk / "filler"
    fill(filler)
    told: list[int] = []
    for n in range(1_100):  # enough for a checkpoint, too
        journal.append(made.entry(f"r{n}"), lambda n=n: told.append(n))  # type: ignore[misc]
    await journal.flush()
    assert told == list(range(1_100))
    assert (journal.accepting, journal._reserve.is_held, failures) == (False, False, [])
    filler.unlink()
    await until(lambda: journal.accepting)
    assert journal._reserve.is_held
    await journal.close()
    journal = open_journal(path, failures, reserve_bytes=2**21, free_bytes_min=2**18)
    assert journal.last_seq == 1_100
    await journal.close()


async def test_little_space_stops_admission_before_the_disk_is_full(
    small_disk: Path, failures: Failures
) -> None:
    journal = open_journal(small_disk / "journal.db", failures, reserve_bytes=2**20, free_bytes_min=2**18)
    fill(small_disk / "filler")
    await until(lambda: not journal.accepting)
    assert journal._reserve.is_held and failures == []
    await journal.close()


def fill(path: Path) -> None:
    """Write until there is no space left."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        while os.write(descriptor, b"\0" * 4096):
            pass
    except OSError:
        pass
    finally:
        os.close(descriptor)


# --- Failed flush


class FailingOnce(sqlite3.Connection):
    """A disk whose first flush fails and whose next one says that all is well."""

    failed = False
    armed = False

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        if sql == "COMMIT" and self.armed and not self.failed:
            self.failed = True
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, *arguments)


async def test_after_a_failed_flush_nothing_is_acknowledged_ever(tmp_path: Path, failures: Failures) -> None:
    connections: list[FailingOnce] = []

    def connect(path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=FailingOnce)
        connections.append(connection)
        return connection

    journal = open_journal(tmp_path / "journal.db", failures, connect=connect)
    told: list[str] = []
    journal.append(made.entry("r1"), lambda: told.append("r1"))
    await journal.flush()
    connections[0].armed = True
    journal.append(made.entry("r2"), lambda: told.append("r2"))
    with pytest.raises(JournalFailed, match="disk I/O error"):
        await journal.flush()
    journal.append(made.entry("r3"), lambda: told.append("r3"))
    with pytest.raises(JournalFailed):
        await journal.flush()
    with pytest.raises(JournalFailed):
        await asyncio.wrap_future(journal.settle(1))
    await journal.close()
    assert [str(error) for error in failures] == ["disk I/O error"], "told once"
    assert (told, journal.accepting) == (["r1"], False)


FLUSHING = """
import asyncio, json, sys
from proxy.store.journal import Journal, JournalFailed
from tests.store import made

async def main():
    told, failures = [], []
    journal = Journal.open(
        sys.argv[1], on_failure=lambda error: failures.append(str(error)), loop=asyncio.get_running_loop(),
        reserve_bytes=4096, free_bytes_min=0)
    for n in range(100):
        journal.append(made.entry(f"r{n}"), lambda n=n: told.append(n))
        try:
            await journal.flush()
        except JournalFailed:
            pass
    await journal.close()
    print(json.dumps([told, failures]))

asyncio.run(main())
"""


@pytest.mark.skipif(not shutil.which("strace"), reason="the fault is injected by strace")
@pytest.mark.slow
@pytest.mark.parametrize("failing", [12, 25, 40])
def test_a_flush_that_the_kernel_fails_once(tmp_path: Path, failing: int) -> None:
    """The real thing: one flush reports EIO, later ones succeed, and none of them is believed."""
    path = tmp_path / "journal.db"
    inject = f"inject=fsync,fdatasync:error=EIO:when={failing}"
    command = ["strace", "-f", "-o", str(tmp_path / "trace"), "-e", "trace=fsync,fdatasync", "-e", inject]
    ran = subprocess.run(
        [*command, sys.executable, "-c", textwrap.dedent(FLUSHING), str(path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    if "ptrace" in ran.stderr or "PTRACE" in ran.stderr:
        pytest.skip("strace may not trace here")
    assert ran.returncode == 0, ran.stderr
    told, failures = json.loads(ran.stdout)
    assert failures == ["disk I/O error"]
    assert told == list(range(len(told))) and 0 < len(told) < 100
    found = stored(path)
    assert found[: len(told)] == [f"response/r{n}" for n in told], "what was acknowledged is there"
    assert len(found) <= len(told) + 1, "and nothing was written after the failure"
