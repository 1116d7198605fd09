"""A process to be killed: it journals synthetic sessions, posts them, and says what it lets its clients see.

`tests/store/test_kill.py` forks it from a process that has loaded everything: hundreds are started.

It appends a line to TRUTH, with one `write` that outlives the process, at every step:
`opened KEY` and `sent KEY COST` before the journal gets a record, as an upstream would know them;
`seen KEY` and `forwarded KEY` once the journal has it, when the client would see the message.
With `finish` it replays, posts everything and ends; else it talks until it is killed. `ack_early`
forwards first and journals 20 ms later: what Talkmeter must never do.
"""

import asyncio
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

from proxy.core.records import Entry, Kind, Record
from proxy.ids import new_id
from proxy.store.database import open_database
from proxy.store.journal import Journal
from proxy.store.poster import Poster
from proxy.store.replay import replay
from tests.store import made

SESSIONS = 12
LIFE_S = 60.0  # nobody forgets to kill it
EARLY_S = 0.02
PAUSE_S = 0.04  # at most, between a session's responses: kills meet all stages, and no worker takes a core


class Talk:
    """One session after another, until the process ends."""

    def __init__(self, journal: Journal, truth: int, *, ack_early: bool) -> None:
        self._journal = journal
        self._truth = truth
        self._ack_early = ack_early

    async def go_on(self) -> None:
        while True:
            session_id = new_id("s")
            await self._keep(made.opened(session_id, opened_at=datetime.now(UTC), end_user="ann"))
            self._journal.append(made.bound(session_id, upstream_session_id=f"sess_{session_id}"))
            for n in range(random.randrange(8)):
                await self._respond(session_id, n, random.choice([Kind.RESPONSE, Kind.TRANSCRIPTION]))
            self._journal.append(made.closed(session_id))

    async def _respond(self, session_id: str, number: int, kind: Kind) -> None:
        """Open something billed, report progress on it, and settle it."""
        opened_as = f"{kind}{number}"
        ends_as = f"{opened_as}:0" if kind is Kind.TRANSCRIPTION else opened_as
        entry = made.entry(ends_as, random.randrange(1, 10_000), session_id, kind=kind)
        self._say("opened", entry)
        await self._keep(made.subject(opened_as, session_id, kind), lambda: self._say("seen", entry))
        for tokens in range(random.randrange(3)):
            self._journal.append(made.progress(opened_as, tokens + 1, session_id, kind))
            await asyncio.sleep(random.random() * 0.01)
        self._say("sent", entry)
        if random.random() < 0.05:  # the upstream repeats itself
            self._journal.append(entry)
        await self._keep(entry, lambda: self._say("forwarded", entry))
        await asyncio.sleep(random.random() * PAUSE_S)

    async def _keep(self, record: Record, forward: Callable[[], None] = lambda: None) -> None:
        """Let the client see what `record` is about, once it is durable."""
        if self._ack_early:
            forward()
            await asyncio.sleep(EARLY_S)
            self._journal.append(record)
            return
        durable = asyncio.Event()

        def kept() -> None:
            forward()
            durable.set()

        self._journal.append(record, kept)
        await durable.wait()

    def _say(self, word: str, entry: Entry) -> None:
        os.write(self._truth, f"{word} {entry.entry_key} {entry.cost_nanousd}\n".encode())


@dataclass(frozen=True)
class Work:
    """What a process is to do."""

    journal: Path
    url: str
    truth: Path
    finish: bool = False
    ack_early: bool = False


async def work(given: Work, ready: Connection) -> None:
    def failed(error: Exception) -> None:
        raise SystemExit(f"the journal failed: {error}")

    journal = Journal.open(
        given.journal,
        on_failure=failed,
        loop=asyncio.get_running_loop(),
        reserve_bytes=4_096,
        free_bytes_min=0,
    )
    engine = open_database(given.url, checkpoints=True)
    poster = Poster(journal, engine, zone=UTC, clock=lambda: datetime.now(UTC), batch_max=100)
    await replay(journal)
    poster.start()
    ready.send_bytes(b"ready")
    if not given.finish:
        truth = os.open(given.truth, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        talk = Talk(journal, truth, ack_early=given.ack_early)
        async with asyncio.timeout(LIFE_S):
            await asyncio.gather(*(talk.go_on() for _ in range(SESSIONS)))
    await poster.posted_up_to_now()
    await poster.stop(10)
    await journal.close()
    engine.dispose()


def main(given: Work, ready: Connection) -> None:
    asyncio.run(work(given, ready))
