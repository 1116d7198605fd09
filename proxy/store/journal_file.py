"""The file under the journal: an SQLite database with one writer, and what stands in it.

`record` holds what a session asked to keep, in order; a row stays until it is posted and nothing at a later
start needs it any more: what a session or a billed thing *opened* stays until its end is posted. `progress`
is the only table that is overwritten: the latest estimate of each open response. `parked` holds rows that the
ledger refused, never dropped.

SQLite before 3.51.3 can corrupt a WAL when two connections write or checkpoint at once. So one connection,
used by one thread, does both, and a `Reader` opens the file read-only, which cannot checkpoint.
Automatic checkpoints are off: SQLite ignores their errors, and a failed flush of the main file followed by a
reuse of the WAL would lose what was acknowledged. `checkpoint` raises them instead.
"""

import os
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from proxy.core.records import Entry, Kind, Progress, Record, SubjectOpened
from proxy.ids import new_id
from proxy.store import StoreError
from proxy.store.journal_lock import private, take

FORMAT = 1
APPLICATION_ID = 0x544D4A4C  # "TMJL": what `file` and SQLite show
BUSY_TIMEOUT_S = 5
ROWS_PER_CHECKPOINT = 1_000  # a commit counts for a few; keeps the WAL at some 10 MB

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE record (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    session_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    payload BLOB NOT NULL
);
CREATE INDEX record_opened ON record (session_id, subject) WHERE kind IN ('session_opened', 'subject_opened');
CREATE TABLE progress (
    session_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    at INTEGER NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (session_id, subject)
) WITHOUT ROWID;
CREATE TABLE parked (
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    session_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    payload BLOB NOT NULL,
    problem TEXT NOT NULL
);
"""

# What is deleted once everything up to `upto` is posted. Each statement sees what those before it left.
_SETTLE = (
    """DELETE FROM record WHERE seq IN (
        SELECT opened.seq FROM record AS entry JOIN record AS opened
            ON opened.session_id = entry.session_id AND opened.subject = entry.subject
            AND opened.kind IN ('session_opened', 'subject_opened')
        WHERE entry.kind = 'entry' AND entry.seq <= :upto AND opened.kind = 'subject_opened')""",
    """DELETE FROM record WHERE seq IN (
        SELECT opened.seq FROM record AS closed JOIN record AS opened
            ON opened.session_id = closed.session_id AND opened.kind IN ('session_opened', 'subject_opened')
        WHERE closed.kind = 'session_closed' AND closed.seq <= :upto)""",
    "DELETE FROM record WHERE seq <= :upto AND kind NOT IN ('session_opened', 'subject_opened')",
    "UPDATE meta SET value = max(value, :upto) WHERE key = 'posted_seq'",
)

Connect = Callable[[Path], sqlite3.Connection]

_decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of `record`. `seq` is 0 until it is written; `at` is microseconds since the epoch."""

    seq: int
    at: int
    kind: str
    session_id: str
    subject: str
    payload: bytes

    def record(self) -> Record:
        """Return what was journalled; raises msgspec.DecodeError for what this version cannot read."""
        return _decoder.decode(self.payload)


def pack(record: Record, at: int) -> Row:
    """Return the row that `record` becomes; content never stands in a record, so none reaches the disk."""
    kind = str(type(record).__struct_config__.tag)
    return Row(0, at, kind, record.session_id, subject_of(record), msgspec.json.encode(record))


def subject_of(record: Record) -> str:
    """Return what ties an opened thing to its progress and its entry within a session; "" for neither.

    A transcription opens as its item and ends as `item:content_index`.
    """
    match record:
        case SubjectOpened() | Progress():
            return f"{record.kind}/{record.subject_id}"
        case Entry(kind=Kind.TRANSCRIPTION):
            item, _, index = record.subject_id.rpartition(":")
            return f"{record.kind}/{item if index.isdecimal() else record.subject_id}"
        case Entry():
            return f"{record.kind}/{record.subject_id}"
        case _:
            return ""


def open_writer(path: Path) -> sqlite3.Connection:
    """Return the connection that writes: a commit returns when its rows are on the disk."""
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    return connection


class JournalFile:
    """The writing side. One thread at a time; sqlite3's errors pass through, `StoreError` from opening."""

    def __init__(self, path: Path, *, connect: Connect = open_writer) -> None:
        """Open or create the journal at `path` and check it wholly.

        Raises:
            StoreError: in use by another process, damaged, of a newer format, or no journal at all; the
                text names the file and says what to do.
        """
        self.path = path
        try:
            self._lock = take(path)
        except OSError as error:
            raise StoreError(f"The journal {path} cannot be opened: {error.strerror}.") from error
        try:
            self._connection = _opened(path, connect)
        except BaseException:
            self._lock.close()
            raise
        self.instance_id = str(self._meta("instance_id"))
        self.posted_seq = int(self._meta("posted_seq"))
        self.last_seq = self._last_seq()
        self.parked = self._parked()
        self._added_seq = 0  # of the last row of the commit under way
        self._is_stale = False  # it did more than add rows
        self._rows_in_wal = 0

    def commit(self, writes: Iterable[Callable[["JournalFile"], None]]) -> None:
        """Do all of `writes` in one transaction and return when it is on the disk.

        After an error nothing of it stands, so that it may be done again where the error allows that.
        """
        self._added_seq, self._is_stale = 0, False
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for write in writes:
                write(self)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self._rows_in_wal += 4
        if self._is_stale:
            self.last_seq = self._last_seq()
            self.posted_seq = int(self._meta("posted_seq"))
            self.parked = self._parked()
        elif self._added_seq:
            self.last_seq = self._added_seq

    def add(self, row: Row) -> None:
        """Within a commit: keep `row`. Progress replaces what was known; an end removes it."""
        self._rows_in_wal += 1
        values = (row.session_id, row.subject)
        if row.kind == "progress":
            self._connection.execute(
                "INSERT OR REPLACE INTO progress (session_id, subject, at, payload) VALUES (?, ?, ?, ?)",
                (*values, row.at, row.payload),
            )
            return
        added = self._connection.execute(
            "INSERT INTO record (at, kind, session_id, subject, payload) VALUES (?, ?, ?, ?, ?)",
            (row.at, row.kind, *values, row.payload),
        )
        self._added_seq = added.lastrowid or 0
        if row.kind == "entry":
            self._connection.execute("DELETE FROM progress WHERE session_id = ? AND subject = ?", values)
        elif row.kind == "session_closed":
            self._connection.execute("DELETE FROM progress WHERE session_id = ?", values[:1])

    def settle(self, upto: int) -> None:
        """Within a commit: forget what is posted up to and including `upto` and not needed at a start."""
        self._is_stale = True
        for statement in _SETTLE:
            self._connection.execute(statement, {"upto": upto})

    def park(self, seq: int, problem: str) -> None:
        """Within a commit: set the row `seq` aside, since the ledger cannot take it."""
        self._is_stale = True
        self._connection.execute("INSERT INTO parked SELECT *, ? FROM record WHERE seq = ?", (problem, seq))
        self._connection.execute("DELETE FROM record WHERE seq = ?", (seq,))

    def unpark(self) -> None:
        """Within a commit: put all parked rows at the end of the queue, in their order."""
        self._is_stale = True
        self._connection.execute(
            "INSERT INTO record (at, kind, session_id, subject, payload)"
            " SELECT at, kind, session_id, subject, payload FROM parked ORDER BY seq"
        )
        self._connection.execute("DELETE FROM parked")

    def checkpoint(self, *, force: bool = False) -> None:
        """Copy the WAL into the main file when it has grown, so that it starts anew."""
        if force or self._rows_in_wal >= ROWS_PER_CHECKPOINT:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._rows_in_wal = 0

    def oldest_unposted_at(self) -> int | None:
        """Return when the first row that is not posted yet was written, None if there is none."""
        found = self._connection.execute(
            "SELECT at FROM record WHERE seq > ? ORDER BY seq LIMIT 1", (self.posted_seq,)
        ).fetchone()
        return int(found[0]) if found else None

    def close(self) -> None:
        """Close the file, and only then let another process have it."""
        self._connection.close()
        self._lock.close()

    def _meta(self, key: str) -> str | int:
        found: tuple[str | int] = self._connection.execute(
            "SELECT value FROM meta WHERE key = ?", (key,)
        ).fetchone()
        return found[0]

    def _parked(self) -> int:
        return int(self._connection.execute("SELECT count(*) FROM parked").fetchone()[0])

    def _last_seq(self) -> int:
        """Return the last number given out: SQLite remembers it even when its row is gone."""
        found = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'record'").fetchone()
        return int(found[0]) if found else 0


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a journal has that is not in the ledger: rows in all, those it refused, since when (µs)."""

    unposted: int
    parked: int
    oldest_at: int | None


class Reader:
    """Reads the journal of a running writer, in any one thread, without ever writing or checkpointing."""

    def __init__(self, path: Path) -> None:
        uri = f"{path.resolve().as_uri()}?mode=ro"
        self._connection = sqlite3.connect(
            uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )

    def rows(self, after: int, limit: int) -> list[Row]:
        """Return at most `limit` rows with a higher number than `after`, in order."""
        found = self._connection.execute(
            "SELECT * FROM record WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit)
        )
        return [Row(*values) for values in found]

    def backlog(self) -> Backlog:
        """Return what is not posted yet.

        Raises:
            sqlite3.DatabaseError: it cannot be read, or is no journal.
        """
        after = "FROM record WHERE seq > (SELECT value FROM meta WHERE key = 'posted_seq')"
        unposted, oldest_at = self._connection.execute(f"SELECT count(*), min(at) {after}").fetchone()
        parked = self._connection.execute("SELECT count(*) FROM parked").fetchone()[0]
        return Backlog(int(unposted), int(parked), oldest_at)

    def unsettled(self) -> list[tuple[Row, bytes | None]]:
        """Return the opened things of unfinished sessions that have no entry, each with its progress."""
        found = self._connection.execute(
            """SELECT opened.*, progress.payload
            FROM record AS opened LEFT JOIN progress
                ON progress.session_id = opened.session_id AND progress.subject = opened.subject
            WHERE kind = 'subject_opened'
            AND opened.session_id NOT IN (SELECT session_id FROM record WHERE kind = 'session_closed')
            AND (opened.session_id, opened.subject)
                NOT IN (SELECT session_id, subject FROM record WHERE kind = 'entry')
            ORDER BY seq"""
        )
        return [(Row(*values[:-1]), values[-1]) for values in found]

    def unfinished(self) -> list[tuple[Row, int]]:
        """Return each session that opened and did not close, with when it was last heard of."""
        found = self._connection.execute(
            """SELECT opened.*, max(
                (SELECT max(at) FROM record WHERE record.session_id = opened.session_id),
                coalesce((SELECT max(at) FROM progress WHERE progress.session_id = opened.session_id), 0))
            FROM record AS opened WHERE kind = 'session_opened'
            AND session_id NOT IN (SELECT session_id FROM record WHERE kind = 'session_closed')
            ORDER BY seq"""
        )
        return [(Row(*values[:-1]), int(values[-1])) for values in found]

    def close(self) -> None:
        self._connection.close()


def _opened(path: Path, connect: Connect) -> sqlite3.Connection:
    os.close(private(str(path), os.O_RDWR | os.O_CREAT))  # before SQLite has it open, for the mode
    connection: sqlite3.Connection | None = None
    try:
        connection = connect(path)
        _check_format(path, connection)
        _check_pages(path, connection)
        return connection
    except sqlite3.DatabaseError as error:
        if connection is not None:
            connection.close()
        if isinstance(error, sqlite3.OperationalError):
            raise StoreError(f"The journal {path} cannot be opened: {error}.") from error
        raise _damaged(path, str(error)) from error
    except StoreError:
        if connection is not None:
            connection.close()
        raise


def _check_format(path: Path, connection: sqlite3.Connection) -> None:
    application_id, version, tables = (
        connection.execute(question).fetchone()[0]
        for question in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_schema")
    )
    if not application_id and not tables:
        _create(connection)
    elif application_id != APPLICATION_ID:
        raise StoreError(f"{path} is not a journal of Talkmeter: set JOURNAL_PATH to another file.")
    elif version > FORMAT:
        raise StoreError(
            f"The journal {path} was from a newer Talkmeter (format {version}, this one reads {FORMAT}):"
            " start that version again, or let it post everything and stop before going back."
        )


def _create(connection: sqlite3.Connection) -> None:
    connection.executescript(
        f"BEGIN IMMEDIATE; {_SCHEMA}"
        f"INSERT INTO meta VALUES ('instance_id', '{new_id('i')}'), ('posted_seq', 0);"
        f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}; COMMIT;"
    )


def _check_pages(path: Path, connection: sqlite3.Connection) -> None:
    problems = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
    if problems != ["ok"]:
        raise _damaged(path, "; ".join(problems))


def _damaged(path: Path, problem: str) -> StoreError:
    return StoreError(
        f"The journal {path} is damaged ({' '.join(problem.split())}). It may hold usage that is not in the"
        f" ledger yet: move {path}, {path}-wal and {path}-shm away together and keep them (`sqlite3 FILE"
        " .recover` reads what is left), then start again, which begins a new journal."
    )
