"""How many entries a second one PostgreSQL books: postings take place one after the other, whoever posts."""

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import URL

from proxy.core.records import Record
from proxy.core.usage import Meter
from proxy.store.budget_cache import BudgetCache
from proxy.store.database import open_database, writing
from proxy.store.posting import post
from tests import commands
from tests.ledgers import Books
from tests.postgres import Server, as_text, connect

BATCHES = (1, 10, 100, 1_000)
POSTERS = (1, 2)
RESPONSES = 20  # of a session: one every 15 seconds for five minutes
START_S = 3.0  # for all posters to be there
_TENANT = "acme"
_COUNTS = {
    Meter.TEXT_IN: 120,
    Meter.TEXT_IN_CACHED: 60,
    Meter.AUDIO_IN: 300,
    Meter.AUDIO_IN_CACHED: 900,
    Meter.TEXT_OUT: 40,
    Meter.AUDIO_OUT: 160,
}


@dataclass(frozen=True)
class Posted:
    """What so many posters did at once, with so many entries a posting."""

    posters: int
    batch: int
    entries_a_second: float

    @property
    def postings_a_second(self) -> float:
        return self.entries_a_second / self.batch


def measure(
    server: Server, template: str, seconds: float, batches: Sequence[int], posters: Sequence[int]
) -> tuple[list[Posted], float]:
    """Post under three budgets in a copy of `template`; return how quick that was, and bytes for an entry."""
    url = server.create(template)
    engine = open_database(url)
    Books(engine).key(_TENANT)
    engine.dispose()
    for owner in (("--organisation",), ("--tenant", _TENANT), ("--tenant", _TENANT, "--each-user")):
        environment = {"TALKMETER_DATABASE_URL": as_text(url)}
        done = commands.run("budget", "set", "--amount", "1e6", "--window", "month", *owner, env=environment)
        assert not done.exit_code, done.output
    empty, _ = _size(url)
    found = [_at_once(url, count, batch, seconds) for count in posters for batch in batches]
    full, entries = _size(url)
    server.drop(url)
    return found, (full - empty) / entries


def _size(url: URL) -> tuple[int, int]:
    """Return a database's bytes, and its entries."""
    with connect(url) as connection:
        row = connection.execute(
            "SELECT pg_database_size(current_database()), coalesce(max(id), 0) FROM ledger_entry"
        ).fetchone()
        assert row
        size, entries = row
        return size, entries


def _at_once(url: URL, posters: int, batch: int, seconds: float) -> Posted:
    if posters == 1:
        return Posted(1, batch, _post(url, 0, batch, 0, seconds))
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(posters, spawned) as processes:
        start_at = time.monotonic() + START_S
        each = processes.map(
            _post,
            [url] * posters,
            range(posters),
            [batch] * posters,
            [start_at] * posters,
            [seconds] * posters,
        )
        return Posted(posters, batch, sum(each))


def _post(url: URL, poster: int, batch: int, start_at: float, seconds: float) -> float:
    """Post from an instant of the machine's clock on; return how many entries were booked in a second."""
    engine = open_database(url)
    budgets, name = BudgetCache(), f"poster {poster} of {batch} at {time.monotonic()}"
    batches = _batches(Books(engine), name, batch)

    def post_one() -> None:
        records = next(batches)
        with writing(engine) as connection:
            now = datetime.now(UTC)
            post(connection, records, instance_id=name, upto=0, zone=UTC, now=now, budgets=budgets)

    post_one()  # loads what the next ones have
    time.sleep(max(0.0, start_at - time.monotonic()))
    began_s, booked, taken_s = time.monotonic(), 0, 0.0
    while taken_s < seconds:
        post_one()
        booked += batch
        taken_s = time.monotonic() - began_s
    engine.dispose()
    return booked / taken_s


def _batches(books: Books, name: str, batch: int) -> Iterator[list[Record]]:
    """Yield the records of postings: so many entries each, and the sessions that begin between them."""
    records: list[Record] = []
    entries = 0
    while True:
        now = datetime.now(UTC)
        session = f"{name}, {entries // RESPONSES}"
        if entries % RESPONSES == 0:
            records += books.opening(session, _TENANT, end_user="bob", at=now)
        records.append(books.entry(session, f"r{entries}", _COUNTS, at=now))
        entries += 1
        if entries % batch == 0:
            yield records
            records = []
