"""What may be archived, and by whom; and that nobody else removes a line."""

from datetime import UTC, date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, insert, text
from sqlalchemy.exc import DatabaseError, ProgrammingError

from proxy.core.reconcile import Threshold
from proxy.core.usage import Meter
from proxy.exports.archiving import archive
from proxy.store import Conflict, StoreError
from proxy.store.database import open_database, reading, writing
from proxy.store.filters import Filters
from proxy.store.reconciliations import Scope, Terms, TheirSide, compare_bill, record
from proxy.store.rerate import Rerating
from proxy.store.schema import ledger_archive
from proxy.store.sealing import Content, archivable, seal
from proxy.store.verify import verify
from tests.archiving import (
    ARCHIVING,
    OCTOBER,
    archive_month,
    archived,
    file_of,
    lines_of,
    owner_of,
    price_of_new,
    year,
)
from tests.closing import LATER, ZONE, close_month
from tests.ledgers import Books
from tests.tampering import owning


def test_what_has_no_price_yet_is_not_archived(database: Engine, tmp_path: Path) -> None:
    books = Books(database)
    books.open("s1", at=OCTOBER)
    books.bill("s1", "r1", {Meter.TEXT_IN: 7}, at=OCTOBER, model="gpt-realtime-9")
    books.close("s1")
    close_month(database, "2026-10", {"unrated": "a test"})
    with pytest.raises(Conflict, match="1 entries of 2026-10 have no price yet"):
        archive_month(database, "2026-10", tmp_path)
    price_of_new(database)
    list(Rerating(Filters(unrated=True), {}, UTC, ARCHIVING).run(database))
    with pytest.raises(
        Conflict, match="Entry 2 of 2026-11 corrects an entry of 2026-10, and 2026-11 is open"
    ):
        archive_month(database, "2026-10", tmp_path)
    close_month(database, "2026-11")
    archive_month(database, "2026-10", tmp_path)
    verdict = verify(database, UTC)
    assert (verdict.fault, verdict.sealed) == (None, ("2026-10",))
    assert verify(database, UTC, files=[file_of(tmp_path, "2026-10")]).fault is None


def test_what_can_never_be_rated_stands_in_no_archives_way(database: Engine, tmp_path: Path) -> None:
    """The provider did not say what was used: no price helps, and no line is needed for it."""
    books = Books(database)
    books.open("s1", at=OCTOBER)
    books.bill("s1", "r1", {Meter.TEXT_IN: 7}, at=OCTOBER)
    books.bill("s1", "missing", at=OCTOBER)
    books.close("s1")
    close_month(database, "2026-10", {"unrated": "a test"})
    archive_month(database, "2026-10", tmp_path)
    for files in ([], [file_of(tmp_path, "2026-10")]):
        assert verify(database, UTC, files=files).fault is None
    books.bill("s1", "r2", {Meter.TEXT_IN: 7}, model="gpt-realtime-9")
    price_of_new(database)
    (changed,) = Rerating(Filters(unrated=True), {}, UTC, ARCHIVING).run(database)
    assert changed.entry_id == 3 and verify(database, UTC).fault is None


@pytest.mark.parametrize(
    ("zone", "days"), [("UTC", [1]), ("Europe/Berlin", [31, 1]), ("America/New_York", [1, 2])]
)
def test_the_first_day_of_the_next_month_is_compared_before(
    database: Engine, tmp_path: Path, zone: str, days: list[int]
) -> None:
    """Comparing it reads the day before, without whose lines nobody could clear it for the close."""
    books = Books(database, ZoneInfo(zone))
    books.open("s1", at=OCTOBER)
    books.bill("s1", "r1", {Meter.TEXT_IN: 7}, at=OCTOBER)
    books.close("s1")
    close_month(database, "2026-10", zone=ZoneInfo(zone))
    compared(database, date(2026, 10, 20))
    for day in days:
        on = date(2026, 10 if day == 31 else 11, day)
        said = f"{on} is not compared with the provider's bill yet, and that takes lines of 2026-10"
        with pytest.raises(Conflict, match=said):
            archive_month(database, "2026-10", tmp_path)
        compared(database, on)
    archive_month(database, "2026-10", tmp_path)


def test_what_a_close_has_overridden_is_compared_no_more(database: Engine, tmp_path: Path) -> None:
    year(database)
    compared(database, date(2026, 10, 20))
    archive_month(database, "2026-10", tmp_path)
    with pytest.raises(Conflict, match="2026-12-01 is not compared"):
        archive_month(database, "2026-11", tmp_path)


def compared(engine: Engine, on: date) -> None:
    terms = Terms(timedelta(hours=48), Threshold(0, 0))
    with writing(engine) as connection:
        scope, said = Scope(on, on + timedelta(days=1)), TheirSide([], [], LATER)
        record(connection, scope, terms, said, compare_bill(connection, scope, terms, said, {}), ARCHIVING)


def test_only_the_owner_archives(migrated_postgres_url: str, tmp_path: Path) -> None:
    """The role that everything else connects as can neither remove a line nor say that one is archived."""
    app = open_database(migrated_postgres_url)
    year(app)
    with pytest.raises(StoreError, match="Only the owner of the tables can archive"):
        archive(app, "2026-10", tmp_path, ARCHIVING, ZONE)
    archive_month(app, "2026-11", tmp_path)
    for statement in (
        "DELETE FROM ledger_line",
        "INSERT INTO ledger_archive SELECT * FROM ledger_archive",
        "DELETE FROM ledger_archive",
        "UPDATE ledger_archive SET file = 'x'",
        "INSERT INTO ledger_archive_block SELECT * FROM ledger_archive_block",
        "INSERT INTO ledger_archive_cell SELECT * FROM ledger_archive_cell",
    ):
        with pytest.raises(ProgrammingError, match="permission denied"), writing(app) as connection:
            connection.execute(text(statement))
    assert lines_of(app, "2026-10") > 0
    app.dispose()


def test_a_month_that_is_open_cannot_be_sealed(database: Engine) -> None:
    """Not even by hand: an archive is one of a period that was closed."""
    year(database)
    facts = dict.fromkeys(("entries", "lines", "first_entry", "last_entry"), 0)
    words = dict.fromkeys(("file", "file_digest", "statements_digest", "digest", "archived_by"), "")
    row = {"period": "2026-12", "number": 1, "archived_at": OCTOBER, "sums": {}, **facts, **words}
    with pytest.raises(DatabaseError), owning(database) as connection:
        connection.execute(insert(ledger_archive).values(row))


def test_what_is_sealed_is_what_was_read(database: Engine) -> None:
    """Other lines than the file has, or another archive in between: nothing is done."""
    year(database)
    lines = lines_of(database, "2026-10")
    for more, archives, said in (
        (1, 0, "nothing was removed"),
        (0, 1, "Another period was archived meanwhile"),
    ):
        content = Content("2026-10", "f", "d", 1, lines + more, 1, 1, {}, [], [], archives)
        with owner_of(database) as owner, pytest.raises(StoreError, match=said), writing(owner) as connection:
            seal(connection, content, ARCHIVING)
    assert (archived(database), lines_of(database, "2026-10")) == ([], lines)
    with owner_of(database) as owner, reading(owner) as connection:
        assert archivable(connection, "2026-10").period == "2026-10"
