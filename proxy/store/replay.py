"""What a start does with what the process before it left open.

A session that opened and did not close had its connections cut by the crash. Whatever it had opened and not
booked was billed by the upstream all the same, so it is booked here as lost: by the estimate of its last
progress, or of its opening; where nothing was known, as an unrated entry without lines, which is listed until
somebody looks. Then the session is closed. All of it is journalled like anything else; dying in the middle
and starting again finds the rest, and writes the same entries under the same keys.
"""

import asyncio
from contextlib import closing
from dataclasses import dataclass

import msgspec

from proxy.core.records import Entry, Kind, Progress, SessionClosed, SessionOpened, SubjectOpened
from proxy.core.usage import Flag
from proxy.store import StoreError
from proxy.store.columns import from_micros
from proxy.store.journal import Journal
from proxy.store.journal_file import Row

STATUS_LOST = "lost"
REASON_CRASH = "crash"

_progress: msgspec.json.Decoder[Progress] = msgspec.json.Decoder(Progress)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What was found open."""

    sessions: int
    subjects: int
    parked: int  # rows that the ledger refused before, queued again


async def replay(journal: Journal) -> Replayed:
    """Settle and close everything that is open in `journal`, durably; before the first session.

    Raises:
        JournalFailed: it could not be written.
        StoreError: it holds a record that this version cannot read.
    """
    parked = journal.parked
    await asyncio.wrap_future(journal.unpark())
    unsettled, unfinished = await asyncio.to_thread(_find, journal)
    try:
        entries = [lost(row, progress) for row, progress in unsettled]
        ends = [_closed(row, last_at) for row, last_at in unfinished]
    except msgspec.DecodeError as error:
        raise StoreError(
            f"The journal {journal.path} holds a record that this version cannot read ({error}): start the"
            " version that wrote it, and let it post everything and stop before changing versions."
        ) from error
    for entry in entries:
        journal.append(entry)
    for end in ends:
        journal.append(end)
    await journal.flush()
    return Replayed(len(ends), len(entries), parked)


def _find(journal: Journal) -> tuple[list[tuple[Row, bytes | None]], list[tuple[Row, int]]]:
    with closing(journal.reader()) as reader:
        return reader.unsettled(), reader.unfinished()


def lost(row: Row, progress: bytes | None) -> Entry:
    """Return the entry for an opened thing whose end nobody saw. The same input gives the same entry.

    A transcription's subject is its first content part: user audio has one.
    """
    opened = row.record()
    if not isinstance(opened, SubjectOpened):
        raise TypeError(f"row {row.seq} of the journal is a {row.kind}, not something that was opened")
    estimate = _progress.decode(progress) if progress is not None else opened
    subject_id = opened.subject_id if opened.kind is not Kind.TRANSCRIPTION else f"{opened.subject_id}:0"
    return Entry(
        session_id=opened.session_id,
        upstream_session_id=opened.upstream_session_id,
        provider=opened.provider,
        kind=opened.kind,
        subject_id=subject_id,
        model=opened.model,
        status=STATUS_LOST,
        occurred_at=opened.opened_at,
        estimated=True,
        flags=(Flag.ESTIMATE_CRASH,),
        lines=estimate.lines,
        cost_nanousd=estimate.cost_nanousd,
        charge_nanousd=estimate.charge_nanousd,
        billing=opened.billing,
    )


def _closed(row: Row, last_at: int) -> SessionClosed:
    """Return the end of a session: when it was last heard of is as near as anybody can say."""
    opened = row.record()
    if not isinstance(opened, SessionOpened):
        raise TypeError(f"row {row.seq} of the journal is a {row.kind}, not a session that was opened")
    return SessionClosed(
        session_id=opened.session_id, closed_at=from_micros(last_at), close_code=None, reason=REASON_CRASH
    )
