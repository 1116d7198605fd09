"""The poster: in order, each once, through outages, refused records, restarts and stale journals."""

import asyncio
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, func, make_url, select, text
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from proxy.core.rating import Line
from proxy.core.records import Record
from proxy.core.usage import Meter
from proxy.store.database import open_database, reading
from proxy.store.journal import Journal
from proxy.store.journal_file import Reader
from proxy.store.poster import Poster, explain, is_records_fault
from proxy.store.posting import Posting, Unpostable
from proxy.store.schema import entry_conflict, journal_checkpoint, ledger_entry, ledger_line, session
from tests.store import made
from tests.store.forwarder import Forwarder, dial
from tests.tampering import owning

Opener = Callable[..., Any]


def fail(error: Exception) -> None:
    raise AssertionError(f"the journal failed: {error}")


@asynccontextmanager
async def journalling(path: Path) -> AsyncIterator[Journal]:
    journal = Journal.open(
        path,
        on_failure=fail,
        loop=asyncio.get_running_loop(),
        reserve_bytes=4_096,
        free_bytes_min=0,
    )
    try:
        yield journal
    finally:
        await journal.close()


@asynccontextmanager
async def posting(
    journal: Journal, engine: Engine, *, flush_s: float = 10.0, **settings: Any
) -> AsyncIterator[Poster]:
    poster = Poster(journal, engine, zone=UTC, clock=lambda: datetime.now(UTC), **settings)
    poster.start()
    try:
        yield poster
    finally:
        await poster.stop(flush_s)


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with journalling(tmp_path / "journal.db") as journal:
        yield journal


def say(journal: Journal, *records: Record) -> None:
    for record in records:
        journal.append(record)


def booked(engine: Engine) -> list[str]:
    """The subjects in the ledger, in the order of the chain, which has no gaps."""
    with reading(engine) as connection:
        found = connection.execute(
            select(ledger_entry.c.id, ledger_entry.c.subject_id).order_by(ledger_entry.c.id)
        ).all()
    assert [row.id for row in found] == list(range(1, len(found) + 1))
    return [row.subject_id for row in found]


def left(path: Path) -> list[str]:
    with closing(Reader(path)) as reader:
        return [row.kind for row in reader.rows(0, 100_000)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  seen from outside, nothing rings
            await asyncio.sleep(0.01)


async def test_a_stop_waits_until_what_was_posted_is_settled(journal: Journal, database: Engine) -> None:
    """Else the journal would seem to hold something, and its instance not to have ended well."""

    def clock() -> datetime:  # asked while a posting is made: what settles it will have to wait its turn
        journal._request(lambda file: time.sleep(0.5))
        return datetime.now(UTC)

    poster = Poster(journal, database, zone=UTC, clock=clock)
    poster.start()
    say(journal, made.opened(), made.closed())
    await poster.stop(10)
    assert journal.depth == 0


async def test_what_is_journalled_is_booked_in_order_and_forgotten(
    journal: Journal, database: Engine
) -> None:
    seen: list[Posting] = []
    async with posting(journal, database, on_posted=seen.append) as poster:
        say(journal, made.opened(), made.subject("r1"), made.entry("r1"), made.subject("r2"))
        await poster.posted_up_to_now()
        assert booked(database) == ["r1"]
        assert left(journal.path) == ["session_opened", "subject_opened"]
        say(journal, made.entry("r2"), made.closed())
        await poster.posted_up_to_now()
        assert (booked(database), left(journal.path)) == (["r1", "r2"], [])
        assert (journal.depth, journal.lag_s, poster.healthy) == (0, 0.0, True)
    assert [one.entry.subject_id for posting in seen for one in posting.new] == ["r1", "r2"]
    assert poster.posted["new"] == 2
    with reading(database) as connection:
        (checkpoint,) = connection.execute(select(journal_checkpoint)).all()
        assert (checkpoint.instance_id, checkpoint.seq) == (journal.instance_id, 6)
        assert connection.execute(select(session.c.reason)).scalar_one() == "client_closed"


async def test_batches_grow_with_the_backlog(journal: Journal, database: Engine) -> None:
    say(journal, made.opened(), *(made.entry(f"r{n}") for n in range(2_500)))
    await journal.flush()
    async with posting(journal, database) as poster:
        await poster.posted_up_to_now()
    assert booked(database) == [f"r{n}" for n in range(2_500)]
    assert poster.posted["batches"] == 3


async def test_stopping_posts_what_is_there(journal: Journal, database: Engine) -> None:
    async with posting(journal, database):
        say(journal, made.opened(), *(made.entry(f"r{n}") for n in range(100)))
    assert len(booked(database)) == 100


async def test_waiting_for_a_poster_that_stops_ends(journal: Journal) -> None:
    broken = open_database("sqlite:////nowhere/at/all.db")
    async with posting(journal, broken, flush_s=0.0) as poster:
        say(journal, made.opened())
        waiting = asyncio.ensure_future(poster.posted_up_to_now())
        await until(lambda: not poster.healthy)
    with pytest.raises(RuntimeError, match="stopped"):
        await waiting
    with pytest.raises(RuntimeError, match="stopped"):
        await poster.posted_up_to_now()


# --- Once, whatever happens


async def test_a_start_after_the_commit_was_not_noticed_books_nothing_twice(
    tmp_path: Path, database: Engine
) -> None:
    """The journal as a crash leaves it between the ledger's commit and its own."""
    path, copy = tmp_path / "journal.db", tmp_path / "copy.db"
    async with journalling(path) as journal:
        say(journal, made.opened(), made.subject("r1"), made.entry("r1"), made.entry("r1", 99))
        await journal.flush()
        copied(path, copy)
        async with posting(journal, database) as poster:
            await poster.posted_up_to_now()
    async with journalling(copy) as journal:
        assert journal.depth == 4
        async with posting(journal, database) as poster:
            await poster.posted_up_to_now()
            assert (poster.posted["new"], poster.posted["duplicate"], poster.posted["conflict"]) == (0, 1, 1)
            assert left(copy) == ["session_opened"]
    assert booked(database) == ["r1"]
    with reading(database) as connection:
        assert len(connection.execute(select(entry_conflict)).all()) == 1


def copied(path: Path, copy: Path) -> None:
    for suffix in ("", "-wal"):
        shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")


async def test_a_journal_that_is_older_than_the_ledger_loses_nothing(
    tmp_path: Path, database: Engine
) -> None:
    """Restored from a backup: it gives numbers again that the ledger's checkpoint has passed."""
    path, copy = tmp_path / "journal.db", tmp_path / "copy.db"
    async with journalling(path) as journal, posting(journal, database) as poster:
        say(journal, made.opened())
        await journal.flush()
        copied(path, copy)
        say(journal, *(made.entry(f"r{n}") for n in range(50)))
        await poster.posted_up_to_now()
    async with journalling(copy) as journal, posting(journal, database) as poster:
        say(journal, made.entry("later"))
        await poster.posted_up_to_now()
    assert booked(database)[-1] == "later"
    with reading(database) as connection:
        assert connection.execute(select(journal_checkpoint.c.seq)).scalar_one() == 51


async def test_a_known_entry_of_another_instance_is_not_booked_again(
    tmp_path: Path, database: Engine
) -> None:
    for name in ("a", "b"):
        async with journalling(tmp_path / name) as journal, posting(journal, database) as poster:
            say(journal, made.opened(), made.entry("r1"))
            await poster.posted_up_to_now()
    assert (booked(database), poster.posted["duplicate"]) == (["r1"], 1)


async def test_two_instances_post_into_one_chain(tmp_path: Path, database: Engine) -> None:
    async with (
        journalling(tmp_path / "a") as first,
        journalling(tmp_path / "b") as second,
        posting(first, database, batch_max=7) as one,
        posting(second, database, batch_max=5) as two,
    ):
        for journal, name in ((first, "a"), (second, "b")):
            say(journal, made.opened(name))
            say(journal, *(made.entry(f"{name}{n}", session_id=name) for n in range(100)))
        await one.posted_up_to_now()
        await two.posted_up_to_now()
    found = booked(database)
    assert [name for name in found if name[0] == "a"] == [f"a{n}" for n in range(100)]
    assert len(found) == 200


# --- The database is away


async def outage(journal: Journal, engine: Engine, cut: Opener, restore: Opener) -> Poster:
    """Post, lose the database, say more, get it back; return the poster after everything is booked."""
    async with posting(journal, engine) as poster:
        say(journal, made.opened(), made.entry("r0"))
        await poster.posted_up_to_now()
        await cut()
        for n in range(1, 50):
            say(journal, made.entry(f"r{n}"))
        await until(lambda: not poster.healthy)
        assert poster.last_error is not None and journal.depth > 0 and journal.lag_s > 0
        say(journal, *(made.entry(f"r{n}") for n in range(50, 100)))
        await restore()
        await poster.posted_up_to_now()
        assert poster.healthy and not poster.last_error and not journal.depth
    return poster


async def test_the_connection_to_postgres_is_cut(journal: Journal, migrated_postgres_url: str) -> None:
    url = make_url(migrated_postgres_url)
    async with Forwarder(lambda: dial(url)) as link:
        engine = open_database(url.set(host="127.0.0.1", port=link.port, query={}))
        poster = await outage(journal, engine, link.cut, link.restore)
        engine.dispose()
    engine = open_database(url)
    assert booked(engine) == [f"r{n}" for n in range(100)]
    assert poster.posted["parked"] == 0
    engine.dispose()


async def test_sqlite_is_locked_by_somebody(journal: Journal, sqlite_url: str) -> None:
    url = make_url(sqlite_url)
    engine = open_database(url, checkpoints=True)
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout = 50"))
    with closing(sqlite3.connect(str(url.database), isolation_level=None)) as other:

        async def cut() -> None:
            other.execute("BEGIN IMMEDIATE")

        async def restore() -> None:
            other.execute("ROLLBACK")

        poster = await outage(journal, engine, cut, restore)
    assert booked(engine) == [f"r{n}" for n in range(100)]
    assert poster.posted["parked"] == 0
    engine.dispose()


async def test_a_missing_table_parks_nothing(journal: Journal, database: Engine) -> None:
    """The wrong schema is the database's fault, not the records'."""

    def alter(statement: str) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            with owning(database) as connection:
                connection.execute(text(statement))

        return run

    rename = "ALTER TABLE {} RENAME TO {}"
    poster = await outage(
        journal,
        database,
        alter(rename.format("ledger_line", "elsewhere")),
        alter(rename.format("elsewhere", "ledger_line")),
    )
    assert poster.posted["parked"] == 0
    assert booked(database) == [f"r{n}" for n in range(100)]


async def test_down_at_the_start_and_the_rest_waits(journal: Journal, tmp_path: Path) -> None:
    nowhere = open_database(f"sqlite:///{tmp_path}/no/such/folder.db")
    say(journal, made.opened(), made.entry("r1"))
    async with posting(journal, nowhere, flush_s=0.0) as poster:
        await until(lambda: poster.posted["retries"] >= 2)
        assert poster.posted["retries"] < 10, "it waits between tries"
    assert left(journal.path) == ["session_opened", "entry"]
    nowhere.dispose()


# --- Records that the database refuses

TOO_LARGE = (Line(meter=Meter.AUDIO_IN, quantity=2**70),)


async def test_a_refused_record_is_parked_alone(journal: Journal, database: Engine) -> None:
    bad = made.entry("bad", lines=TOO_LARGE, cost_nanousd=None)
    entries = [made.entry(f"r{n}") for n in range(40)]
    say(journal, made.opened(), *entries[:17], bad, *entries[17:])
    await journal.flush()
    async with posting(journal, database) as poster:
        await poster.posted_up_to_now()
        assert booked(database) == [f"r{n}" for n in range(40)]
        assert (poster.posted["parked"], journal.parked, poster.healthy) == (1, 1, True)
    with closing(sqlite3.connect(journal.path)) as looker:
        ((kind, subject, problem),) = looker.execute("SELECT kind, subject, problem FROM parked").fetchall()
    assert (kind, subject) == ("entry", "response/bad")
    assert "range" in problem or "too large" in problem


async def test_a_parked_record_is_booked_once_it_can_be(tmp_path: Path, database: Engine) -> None:
    """Its session was unknown; it is queued again at a start, and then it is known."""
    path = tmp_path / "journal.db"
    async with journalling(path) as journal, posting(journal, database) as poster:
        say(journal, made.entry("r1"), made.opened("s_2"), made.entry("r2", session_id="s_2"))
        await poster.posted_up_to_now()
        assert (booked(database), journal.parked) == (["r2"], 1)
    async with journalling(path) as journal, posting(journal, database) as poster:
        assert journal.parked == 1
        say(journal, made.opened())
        await asyncio.wrap_future(journal.unpark())
        await poster.posted_up_to_now()
        assert (booked(database), journal.parked) == (["r2", "r1"], 0)


async def test_a_row_that_cannot_be_read_is_parked(tmp_path: Path, database: Engine) -> None:
    path = tmp_path / "journal.db"
    async with journalling(path) as journal:
        say(journal, made.opened(), made.entry("r1"), made.entry("r2"))
    with closing(sqlite3.connect(path)) as writer, writer:
        writer.execute("UPDATE record SET payload = '{}' WHERE subject = 'response/r1'")
    async with journalling(path) as journal, posting(journal, database) as poster:
        await poster.posted_up_to_now()
        assert (booked(database), journal.parked) == (["r2"], 1)


async def test_what_on_posted_raises_stops_nothing(journal: Journal, database: Engine) -> None:
    def broken(posting: Posting) -> None:
        raise ValueError("mine")

    async with posting(journal, database, on_posted=broken) as poster:
        say(journal, made.opened(), made.entry("r1"))
        await poster.posted_up_to_now()
        say(journal, made.entry("r2"))
        await poster.posted_up_to_now()
    assert booked(database) == ["r1", "r2"]


class _Limit(Exception):
    sqlstate = "54000"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (IntegrityError("", {}, Exception()), True),
        (OperationalError("", {}, _Limit()), True),
        (OperationalError("", {}, sqlite3.OperationalError("database is locked")), False),
        (ProgrammingError("", {}, Exception("no such table")), False),
        (ConnectionResetError(), False),
        (Unpostable("no session"), True),
        (OverflowError(), True),
    ],
)
def test_whose_fault_it_is(error: Exception, expected: bool) -> None:
    assert is_records_fault(error) is expected


def test_an_explanation_has_one_line_without_values() -> None:
    error = IntegrityError("INSERT", {"secret": 1}, ValueError("broken\nDETAIL: (Zoë)"))
    assert explain(error) == "ValueError: broken"


async def test_the_lines_sum_to_the_entries(journal: Journal, database: Engine) -> None:
    async with posting(journal, database) as poster:
        say(journal, made.opened(), *(made.entry(f"r{n}", n) for n in range(20)))
        await poster.posted_up_to_now()
    lines, entries = ledger_line.c, ledger_entry.c
    with reading(database) as connection:
        found = connection.execute(
            select(entries.cost_nanousd, func.sum(lines.cost_nanousd))
            .join(ledger_line, lines.entry_id == entries.id)
            .group_by(entries.id, entries.cost_nanousd)
        ).all()
    assert all(cost == total for cost, total in found) and len(found) == 20
