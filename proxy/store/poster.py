"""The poster: takes what the journal holds into the ledger, in order, whatever the database does.

One thread reads rows after the last posted one, in batches that grow with the backlog, and books each batch
in one transaction together with the checkpoint (see `posting`). Only then does the journal forget them.

* The database is down, slow, full or of the wrong schema: the same batch is tried again after 0.1 s, later
  every 5 s, for as long as it takes; `healthy` and `last_error` say so.
* The database works but refuses one record: the batch is halved until the record is alone, tried once more,
  and parked in the journal: an alarm (`posted["parked"]`, the journal's `parked`), never a loss. Parked
  rows are queued again at the next start.
* At a start every row still in the journal is posted from the first on, those kept for a replay included.
  The unique keys make that harmless, and it depends on no memory of what was posted: a journal that was
  copied or restored, or a database that lost its last second, loses nothing that is still here.
"""

import asyncio
import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from datetime import datetime, tzinfo

from sqlalchemy import Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError

from proxy.store import StoreError
from proxy.store.budget_cache import BudgetCache
from proxy.store.database import writing
from proxy.store.journal import Journal, JournalFailed
from proxy.store.journal_file import Reader, Row
from proxy.store.posting import Posting, post

BATCH_MAX = 1_000
PAUSE_S = 0.25  # between small batches: fewer, larger transactions, and less of the relay's interpreter
BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 5.0
IDLE_S = 1.0
HALT_S = 6.0  # longer than a database call waits for a lock

# PostgreSQL's classes of errors that one record causes: data, integrity, a limit exceeded.
_RECORD_ERRORS = ("22", "23", "54")

_log = logging.getLogger(__name__)


class Poster:
    """See the module. Its attributes may be read from any thread."""

    def __init__(
        self,
        journal: Journal,
        engine: Engine,
        *,
        zone: tzinfo,
        clock: Callable[[], datetime],
        on_posted: Callable[[Posting], None] | None = None,
        batch_max: int = BATCH_MAX,
    ) -> None:
        """`zone` bounds the accounting periods; `on_posted` is called in the poster's thread."""
        self._journal = journal
        self._engine = engine
        self._zone = zone
        self._clock = clock
        self._on_posted = on_posted
        self._batch_max = batch_max
        self._budgets = BudgetCache()
        self._thread = threading.Thread(target=self._run, name="poster", daemon=True)
        self._bell = threading.Event()
        self._stopping = threading.Event()
        self._halted = threading.Event()
        self._waiters: list[tuple[int, Future[None]]] = []
        self._waiters_lock = threading.Lock()
        self._has_ended = False
        self._position = 0  # of the last row that was posted or parked since the start
        self.posted: Counter[str] = (
            Counter()
        )  # "new", "duplicate", "conflict", "parked", "batches", "retries"
        self.healthy = True
        self.last_error: str | None = None

    def start(self) -> None:
        """Begin to post; the journal calls when there is something new."""
        self._journal.on_commit = self._bell.set
        self._thread.start()

    async def stop(self, flush_s: float) -> None:
        """Post what was appended so far, for at most `flush_s`; the rest waits for the next start."""
        with contextlib.suppress(JournalFailed):  # what it has kept is posted all the same
            await self._journal.flush()
        self._stopping.set()
        self._bell.set()
        await asyncio.to_thread(self._thread.join, flush_s)
        self._halted.set()
        await asyncio.to_thread(self._thread.join, HALT_S)
        self._journal.on_commit = None
        with contextlib.suppress(JournalFailed):  # so that its depth is what really is left
            await self._journal.flush()

    async def posted_up_to_now(self) -> None:
        """Return when everything that was appended before is posted (or parked) and settled.

        Raises:
            JournalFailed: the journal can keep nothing any more.
            RuntimeError: the poster has stopped.
        """
        await self._journal.flush()
        waiter: Future[None] = Future()
        with self._waiters_lock:
            self._waiters.append((self._journal.last_seq, waiter))
        if self._has_ended:
            self._wake_waiters(_stopped())
        self._bell.set()
        await asyncio.wrap_future(waiter)
        await self._journal.flush()

    # The poster's thread.

    def _run(self) -> None:
        pauses = _backoff()
        while not self._halted.is_set():
            try:
                with contextlib.closing(self._journal.reader()) as reader:
                    self._post_from(reader)
                break
            except _Halted:
                break
            except Exception as error:  # noqa: BLE001  reported; this thread must outlive any fault
                self._note_failure(error)
                self._halted.wait(next(pauses))
        self._has_ended = True
        self._wake_waiters(_stopped())

    def _post_from(self, reader: Reader) -> None:
        while not self._halted.is_set():
            self._bell.clear()
            durable_seq = self._journal.last_seq
            rows = reader.rows(self._position, self._batch_max)
            if rows:
                self._post(rows)
            else:  # the numbers up to `durable_seq` that were not found were forgotten before
                self._position = max(self._position, durable_seq)
                if self._stopping.is_set():
                    return
            self._wake_waiters()
            if len(rows) < self._batch_max:
                self._rest()

    def _rest(self) -> None:
        """Let more rows arrive, then wait for the journal's call."""
        if not self._stopping.wait(PAUSE_S):
            self._bell.wait(IDLE_S)

    def _post(self, rows: Sequence[Row]) -> None:
        """Post `rows`; if the ledger refuses one of them, find it by halves and park it."""
        fault = self._persist(rows)
        if fault is None:
            return
        if len(rows) > 1:
            middle = len(rows) // 2
            self._post(rows[:middle])
            self._post(rows[middle:])
        elif fault := self._persist(rows):  # once more: it may have collided with another's transaction
            self._park(rows[0], fault)

    def _park(self, row: Row, fault: Exception) -> None:
        problem = explain(fault)
        self._journal.park(row.seq, problem).result()
        self._position = row.seq
        self.posted["parked"] += 1
        _log.error("the ledger refused %s of %s, it is parked: %s", row.kind, row.session_id, problem)

    def _persist(self, rows: Sequence[Row]) -> Exception | None:
        """Post `rows`, however long the database is away; return an error that the records cause."""
        for pause in _backoff():
            try:
                posting = self._transact(rows)
            except Exception as error:
                if is_records_fault(error):
                    return error
                self._note_failure(error)
                if self._halted.wait(pause):
                    raise _Halted from error
            else:
                self._note_success(rows[-1].seq, posting)
                break
        return None

    def _transact(self, rows: Sequence[Row]) -> Posting:
        records = [row.record() for row in rows]
        with writing(self._engine) as connection:
            return post(
                connection,
                records,
                instance_id=self._journal.instance_id,
                upto=rows[-1].seq,
                zone=self._zone,
                now=self._clock(),
                budgets=self._budgets,
            )

    def _note_success(self, seq: int, posting: Posting) -> None:
        self._position = seq
        self._journal.settle(seq)
        self.posted.update(
            new=len(posting.new), duplicate=posting.duplicates, conflict=posting.conflicts, batches=1
        )
        if posting.conflicts:
            _log.error("%d entries came back with another payload, see entry_conflict", posting.conflicts)
        if not self.healthy:
            _log.info("the database takes entries again")
        self.healthy, self.last_error = True, None
        self._tell(posting)

    def _tell(self, posting: Posting) -> None:
        if self._on_posted is None:
            return
        try:
            self._on_posted(posting)
        except Exception:  # noqa: BLE001  whoever counts must not stop what is counted
            _log.exception("what wanted to know of a posting raised")

    def _note_failure(self, error: Exception) -> None:
        self.last_error = explain(error)
        self.posted["retries"] += 1
        if self.healthy:
            _log.warning("the ledger cannot be written, the journal holds: %s", self.last_error)
        self.healthy = False

    def _wake_waiters(self, error: Exception | None = None) -> None:
        """Tell those whose rows are posted; with an error, tell all."""
        with self._waiters_lock:
            ready = [one for one in self._waiters if error or one[0] <= self._position]
            self._waiters = [one for one in self._waiters if one not in ready]
        for _, waiter in ready:
            if not waiter.set_running_or_notify_cancel():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)


class _Halted(Exception):
    """The time to flush is over."""


def _stopped() -> RuntimeError:
    return RuntimeError("the poster has stopped")


def _backoff() -> Iterator[float]:
    pause = BACKOFF_FIRST_S
    while True:
        yield pause
        pause = min(2 * pause, BACKOFF_MAX_S)


def is_records_fault(error: Exception) -> bool:
    """Say whether a record caused `error`, so that it would come again for ever.

    Anything that can be the database's state is not: connections, locks, space, a missing table.
    """
    if isinstance(error, DBAPIError):
        state = str(getattr(error.orig, "sqlstate", None) or "")
        return isinstance(error, IntegrityError | DataError) or state.startswith(_RECORD_ERRORS)
    if isinstance(error, StoreError):  # a budget that this version cannot read, say
        return False
    if isinstance(error, SQLAlchemyError):
        return isinstance(error, StatementError)  # a value that the statement cannot carry
    return not isinstance(error, OSError)


def explain(error: Exception) -> str:
    """Return one line about `error`, without the statement and the values that SQLAlchemy adds."""
    cause = error.orig if isinstance(error, StatementError) and error.orig is not None else error
    lines = str(cause).strip().splitlines() or [""]
    return f"{type(cause).__name__}: {lines[0]}"
