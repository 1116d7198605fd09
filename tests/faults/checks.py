"""After whatever went wrong: the ledger against what the upstream sent and what the clients saw."""

from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC
from pathlib import Path

from sqlalchemy import Engine, select

from proxy.simulator.truth import Truth
from proxy.store.database import open_database, reading
from proxy.store.journal_file import JournalFile, Reader
from proxy.store.schema import entry_conflict, session
from proxy.store.verify import verify
from tests.e2e.oracle import Booked, differences, ledger
from tests.faults.traffic import Key, Seen


def wrong(database_url: str, truth: Iterable[Truth], seen: Seen) -> list[str]:
    """Return everything that is wrong with a ledger into which everything has been posted.

    forwarded ⊆ measured ⊆ sent, at the price that was sent; estimated ⊆ opened; each once; what a client
    saw to open is measured or estimated. What was sent and neither forwarded nor booked is nobody's loss
    but the upstream's: the proxy was killed before it had read it.
    """
    engine = open_database(database_url)
    try:
        booked = ledger(engine)
        return [*_money(booked, truth, seen), *_books(engine)]
    finally:
        engine.dispose()


def _money(booked: list[Booked], truth: Iterable[Truth], seen: Seen) -> list[str]:
    keys = {_key(entry) for entry in booked}
    measured = {_key(entry) for entry in booked if not entry.estimated}
    owed = [
        line
        for line in truth
        if line.what == "opened" or (line.session, line.subject) in keys or _saw(seen, line)
    ]
    return [
        *differences(owed, booked),
        *_listed("forwarded and not booked as measured", seen.billed - measured),
        *_listed("seen to open and not booked", seen.opened - keys),
        *_transcribed_too_often(booked, seen),
    ]


def _saw(seen: Seen, line: Truth) -> bool:
    return (line.session, line.subject) in seen.billed


def _transcribed_too_often(booked: list[Booked], seen: Seen) -> list[str]:
    """Return the sessions with more transcriptions, estimated ones included, than there was audio for."""
    per_session = Counter(str(entry.session) for entry in booked if entry.kind == "transcription")
    return [
        f"{session_id} has {count} transcriptions of {seen.commits[session_id]} turns"
        for session_id, count in per_session.items()
        if count > seen.commits[session_id]
    ]


def _books(engine: Engine) -> list[str]:
    """Return what is wrong with the ledger in itself."""
    verdict = verify(engine, UTC)
    with reading(engine) as connection:
        left_open = connection.execute(select(session.c.id).where(session.c.closed_at.is_(None))).all()
        conflicts = connection.execute(select(entry_conflict.c.entry_key)).all()
    return [
        *([verdict.fault] if verdict.fault else []),
        *_listed("sessions left open", {row.id for row in left_open}),
        *_listed("conflicts", {row.entry_key for row in conflicts}),
    ]


def left_in(journal: Path) -> list[str]:
    """Return what stands in a journal after everything was posted: nothing should, parked rows included."""
    file = JournalFile(journal)
    try:
        with closing(Reader(journal)) as reader:
            rows = [f"{row.kind} of {row.session_id}" for row in reader.rows(0, 10)]
        return [f"left in {journal.name}: {row}" for row in rows] + ["parked rows"] * bool(file.parked)
    finally:
        file.close()


def _key(entry: Booked) -> Key:
    return str(entry.session), entry.subject


def _listed(what: str, found: set[Key] | set[str]) -> list[str]:
    return [f"{what}: {len(found)}, such as {sorted(map(str, found))[:3]}"] if found else []
