"""Archiving in tests: by the role that owns the tables, which on PostgreSQL is another one."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine, func, select

from proxy.core.rating import Price
from proxy.core.records import Kind
from proxy.core.usage import Meter
from proxy.exports.archiving import archive, file_name
from proxy.store.adjustments import Adjustment, book
from proxy.store.archives import Archive
from proxy.store.audit import Act
from proxy.store.card_files import NewCard
from proxy.store.database import open_database, reading, writing
from proxy.store.filters import Filters
from proxy.store.prices import import_cards
from proxy.store.rerate import Rerating
from proxy.store.schema import ledger_archive, ledger_entry, ledger_line
from tests.closing import LATER, ZONE, close_month
from tests.ledgers import NOW, Books
from tests.postgres import as_owner

ARCHIVING = Act("cli:root@desk", LATER, "a year is over")


@contextmanager
def owner_of(engine: Engine) -> Iterator[Engine]:
    """Yield an engine of the role that owns the tables."""
    if engine.dialect.name == "sqlite":
        yield engine
        return
    owner = open_database(as_owner(engine.url))
    try:
        yield owner
    finally:
        owner.dispose()


def archive_month(engine: Engine, period: str, folder: Path) -> Archive:
    """Archive a period."""
    with owner_of(engine) as owner:
        return archive(owner, period, folder, ARCHIVING, ZONE)


def file_of(folder: Path, period: str) -> Path:
    return folder / file_name(period)


def lines_of(engine: Engine, period: str) -> int:
    """Return how many lines of a period are in the ledger."""
    of = ledger_entry.join(ledger_line)
    query = select(func.count()).select_from(of).where(ledger_entry.c.period == period)
    with reading(engine) as connection:
        return connection.execute(query).scalar_one()


def archived(engine: Engine) -> list[str]:
    with reading(engine) as connection:
        return list(connection.execute(select(ledger_archive.c.period).order_by("period")).scalars())


OCTOBER = datetime(2026, 10, 5, tzinfo=UTC)


def year(engine: Engine) -> Books:
    """Return a ledger of October and November, closed, and December, open, of two tenants.

    Some blocks have entries of two months. Usage of October came late, and so did a price.
    """
    books = Books(engine)
    for session, tenant in (("s1", "acme"), ("s2", "globex")):
        books.open(session, tenant, "web", at=OCTOBER, tags={"team": "a"}, end_user="zoë")
        books.bill(session, f"{session}-r1", {Meter.TEXT_IN: 10, Meter.AUDIO_OUT: 3}, at=OCTOBER)
        books.bill(session, f"{session}-r2", {}, at=OCTOBER)
    books.bill("s1", "late-price", {Meter.TEXT_IN: 7}, at=OCTOBER, model="gpt-realtime-9")
    october, november = (
        books.entry("s1", f"mixed-{at.month}", {Meter.TEXT_IN: 5}, at=at) for at in (OCTOBER, NOW)
    )
    books.post(october, november)
    price_of_new(engine)
    list(Rerating(Filters(unrated=True), {}, UTC, ARCHIVING).run(engine))
    close_month(engine, "2026-10", {"journals": "a test"})
    credit = Adjustment("k1", Kind.CREDIT, "acme", 0, -5_000, occurred_at=NOW, corrects=1)
    with writing(engine) as connection:
        book(connection, credit, ARCHIVING, UTC)
    books.bill("s2", "late", {Meter.AUDIO_OUT: 100}, at=OCTOBER)
    books.bill("s2", "s2-r3", {Meter.TEXT_IN: 9, Meter.TEXT_OUT: 2}, at=NOW)
    close_month(engine, "2026-11", {"journals": "a test"})
    books.bill("s2", "s2-r4", {Meter.TEXT_IN: 11}, at=datetime(2026, 12, 2, tzinfo=UTC))
    return books


def price_of_new(engine: Engine) -> None:
    card = NewCard(
        "openai",
        "gpt-realtime-9",
        datetime(2026, 8, 1, tzinfo=UTC),
        "a test",
        {Meter.TEXT_IN: Price(9)},
    )
    with writing(engine) as connection:
        import_cards(connection, [card], ARCHIVING)
