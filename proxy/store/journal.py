"""The journal of an instance: what is on disk before a client sees it.

Records come from the event loop; one thread writes them to one SQLite file. It commits whatever is waiting as
soon as the commit before it has returned: no timer, and batches that grow with the load by themselves. What
waits is bounded by the callers: a session stops reading a direction until its record is durable, and reports
progress at most once a second. Nobody waits for progress, so no commit is made for it alone: it goes with the
next one, or after a second.

When things fail:

* **Disk full.** Nothing of the failed transaction stands, so it is safe to do it again. The reserve beside
  the journal is given up and the same batch is written in the space it leaves: no record is lost, live
  responses finish, `accepting` is False (it was before, since room was short) and `is_full` is True. When
  there is room again the reserve is taken back and both return to what they were. If the reserve is gone
  already, the journal fails as below.
* **Anything else: a failed flush, an I/O error, a bug.** After a failed flush the kernel may have thrown the
  pages away and say "written" at the next try, so nothing is tried again on this file. `on_failure` is called
  once, on the loop; nothing that was not acknowledged by then is acknowledged ever, and later records are
  not kept. The process is expected to abort its sessions and end with an error; the next start replays
  what the disk has.
"""

import asyncio
import collections
import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from proxy.core.records import Progress, Record
from proxy.store.columns import from_micros
from proxy.store.instances import Unposted
from proxy.store.journal_file import Connect, JournalFile, Reader, open_writer, pack
from proxy.store.reserve import FREE_BYTES_MIN, RESERVE_BYTES, Reserve, reserve_path

BATCH_MAX = 1_000  # writes in one transaction
DISK_CHECK_S = 1.0

logger = logging.getLogger(__name__)

# What SQLite says when the disk is full: the data did not fit, or the WAL's index could not grow.
_FULL = frozenset({"SQLITE_FULL", "SQLITE_IOERR_SHMSIZE"})


class JournalFailed(Exception):
    """The journal can keep nothing any more; the process has been told and is ending."""


@dataclass(frozen=True, slots=True)
class _Write:
    """Something to do within the next transaction, and who waits for it to be durable."""

    apply: Callable[[JournalFile], None]
    durable: Callable[[], None] | None = None  # called on the loop, never after a failure
    future: "Future[None] | None" = None  # settled in the journal's thread, either way


_STOP = _Write(lambda file: None)


class Journal:
    """See the module. Made by `open`; used on its event loop, apart from what says otherwise."""

    def __init__(
        self,
        file: JournalFile,
        reserve: Reserve,
        *,
        on_failure: Callable[[Exception], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._file = file
        self._reserve = reserve
        self._on_failure = on_failure
        self._loop = loop
        self._waiting: queue.SimpleQueue[_Write] = queue.SimpleQueue()
        self._unhurried: collections.deque[_Write] = collections.deque()  # progress: goes with what waits
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._disk_checked_at = time.monotonic()
        self._oldest_at = file.oldest_unposted_at()
        self.path = file.path
        self.instance_id = file.instance_id
        self.accepting = reserve.check()  # False: admit nothing new
        self.last_seq = file.last_seq  # of the last durable row
        self.posted_seq = file.posted_seq  # up to here everything is in the ledger
        self.parked = file.parked  # rows that the ledger refused
        self.last_commit_s = 0.0
        self.on_commit: Callable[[], None] | None = None  # called in the journal's thread: the poster's bell

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        on_failure: Callable[[Exception], None],
        loop: asyncio.AbstractEventLoop,
        reserve_bytes: int = RESERVE_BYTES,
        free_bytes_min: int = FREE_BYTES_MIN,
        connect: Connect = open_writer,
    ) -> "Journal":
        """Open or create the journal at `path`, check it, and start its thread.

        Raises:
            StoreError: it is in use, damaged, of a newer format or not a journal; the text says what to do.
        """
        path = Path(path)
        file = JournalFile(path, connect=connect)
        reserve = Reserve(reserve_path(path), size_bytes=reserve_bytes, free_bytes_min=free_bytes_min)
        journal = cls(file, reserve, on_failure=on_failure, loop=loop)
        journal._thread.start()
        return journal

    @property
    def is_full(self) -> bool:
        """Say whether the reserve is given up: what is left of its space is for what runs already."""
        return not self._reserve.is_held

    @property
    def depth(self) -> int:
        """Durable rows that are not posted yet."""
        return max(0, self.last_seq - self.posted_seq)

    @property
    def lag_s(self) -> float:
        """How long the oldest of them has waited."""
        oldest = self._oldest_at
        return 0.0 if oldest is None else max(0.0, time.time() - oldest / 1e6)

    @property
    def unposted(self) -> Unposted:
        """What is not in the ledger yet, as the database is told."""
        oldest = self._oldest_at
        return Unposted(None if oldest is None else from_micros(oldest), self.parked)

    def append(self, record: Record, durable: Callable[[], None] | None = None) -> None:
        """Keep `record`; call `durable` on the loop once it is on disk, in the order of the appends.

        Returns at once. After a failure `durable` is never called.
        """
        row = pack(record, time.time_ns() // 1_000)
        write = _Write(lambda file: file.add(row), durable)
        if isinstance(record, Progress) and durable is None:
            self._unhurried.append(write)
        else:
            self._waiting.put(write)

    async def flush(self) -> None:
        """Return when everything appended so far is on disk, and those who waited for it were told.

        Raises:
            JournalFailed: it never will be.
        """
        await asyncio.wrap_future(self._request(lambda file: None))

    async def close(self) -> None:
        """Write what was appended, then let go of the file. The poster must have stopped."""
        self._waiting.put(_STOP)
        await asyncio.to_thread(self._thread.join)

    # For the poster and the replay, from any thread. The futures end with `JournalFailed` after a failure.

    def reader(self) -> Reader:
        """Return a reader of the rows; close it before the journal."""
        return Reader(self.path)

    def settle(self, upto: int) -> "Future[None]":
        """Note that everything up to row `upto` is in the ledger, and forget what no start needs."""
        return self._request(lambda file: file.settle(upto))

    def park(self, seq: int, problem: str) -> "Future[None]":
        """Set the row `seq` aside: the ledger cannot take it, and what follows must not wait for it."""
        return self._request(lambda file: file.park(seq, problem))

    def unpark(self) -> "Future[None]":
        """Queue all parked rows again, as the last ones: what was wrong may have been put right."""
        return self._request(lambda file: file.unpark())

    def _request(self, apply: Callable[[JournalFile], None]) -> "Future[None]":
        future: Future[None] = Future()
        self._waiting.put(_Write(apply, future=future))
        return future

    # The journal's thread.

    def _run(self) -> None:
        stopping = False
        while not stopping:
            batch = self._next_batch()
            stopping = _STOP in batch
            if self._failure is None:
                self._write(batch)
            if self._failure is not None:
                self._refuse(batch)
        self._close_file()

    def _next_batch(self) -> list[_Write]:
        """Return what is waiting, after waiting for something, or until it is time to check the disk."""
        batch = []
        with contextlib.suppress(queue.Empty):
            batch.append(self._waiting.get(timeout=DISK_CHECK_S))
        while len(batch) < BATCH_MAX and not self._waiting.empty():
            batch.append(self._waiting.get_nowait())
        # Progress is taken last and written first. So all that was reported before an entry of this batch is
        # here, and goes with that entry instead of outliving it.
        unhurried = [self._unhurried.popleft() for _ in range(len(self._unhurried))]
        return [*unhurried, *batch]

    def _write(self, batch: Sequence[_Write]) -> None:
        try:
            if batch:
                self._commit(batch)
                self._acknowledge(batch)
                self._despite_full_disk(self._file.checkpoint)
            self._check_disk()
        except Exception as error:  # noqa: BLE001  whatever it is, nothing may be acknowledged after it
            self._fail(error)

    def _commit(self, batch: Sequence[_Write]) -> None:
        began_at = time.perf_counter()
        self._despite_full_disk(partial(self._file.commit, [write.apply for write in batch]))
        self.last_commit_s = time.perf_counter() - began_at
        before = (self.posted_seq, self.parked)
        self.last_seq, self.posted_seq = self._file.last_seq, self._file.posted_seq
        self.parked = self._file.parked
        if self._oldest_at is None or before != (self.posted_seq, self.parked):
            self._oldest_at = self._file.oldest_unposted_at()

    def _despite_full_disk(self, work: Callable[[], None]) -> None:
        """Do `work`; if the disk is full, do it once more in the space of the reserve."""
        try:
            work()
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorname", None) not in _FULL or not self._reserve.release():
                raise
            self.accepting = False
            logger.error("the disk is full: no response is started", extra={"journal": str(self.path)})
            work()

    def _acknowledge(self, batch: Sequence[_Write]) -> None:
        if calls := [write.durable for write in batch if write.durable]:
            self._on_loop(lambda: self._tell(calls))
        for write in batch:
            if write.future is not None and write.future.set_running_or_notify_cancel():
                write.future.set_result(None)
        if self.on_commit is not None and self.depth:
            self.on_commit()

    def _tell(self, calls: Sequence[Callable[[], None]]) -> None:
        """On the loop: call each; an error of one session is not another's."""
        for call in calls:
            try:
                call()
            except Exception as error:  # noqa: BLE001  handed to the loop, which logs it
                context = {"message": "a journal callback raised", "exception": error}
                self._loop.call_exception_handler(context)

    def _check_disk(self) -> None:
        if time.monotonic() - self._disk_checked_at >= DISK_CHECK_S:
            self._disk_checked_at = time.monotonic()
            self._accept(self._reserve.check())

    def _accept(self, is_room: bool) -> None:
        """Let sessions start, or none; say when that changes."""
        if is_room and not self.accepting:
            logger.info("there is room on the disk again")
        if not is_room and self.accepting:
            logger.error("the disk is nearly full: no session is started", extra={"journal": str(self.path)})
        self.accepting = is_room

    def _fail(self, error: Exception) -> None:
        self._failure = error
        self.accepting = False
        self._on_loop(lambda: self._on_failure(error))

    def _refuse(self, batch: Sequence[_Write]) -> None:
        for write in batch:
            if write.future is not None and not write.future.done():
                write.future.set_exception(JournalFailed(f"the journal {self.path} failed: {self._failure}"))

    def _on_loop(self, call: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(call)

    def _close_file(self) -> None:
        """Leave a short file behind; a failed journal is left exactly as it is."""
        try:
            if self._failure is None:
                self._file.checkpoint(force=True)
        except sqlite3.Error as error:
            self._fail(error)
        finally:
            self._file.close()
