"""What needs lines says in which file they are; what does not goes on."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from proxy.core.records import Kind
from proxy.core.windows import Span
from proxy.exports.focus import Export, Wanted
from proxy.exports.focus_columns import Version
from proxy.exports.focus_rows import View
from proxy.exports.ledger import ledger_table
from proxy.store import Conflict
from proxy.store.adjustments import Adjustment, book
from proxy.store.archives import load_archives
from proxy.store.database import reading, writing
from proxy.store.filters import Filters
from proxy.store.ledger import entries, find_entry, newest
from proxy.store.our_side import our_side
from proxy.store.periods import list_periods
from proxy.store.reports import CostQuery, run
from proxy.store.rerate import Rerating
from proxy.store.session_accounts import session_account
from proxy.store.verify import verify
from tests.archiving import ARCHIVING, archive_month, lines_of, year
from tests.closing import LATER, ZONE
from tests.ledgers import Books

NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
FILE = "ledger-2026-10.jsonl.gz"


def filled(engine: Engine, folder: Path) -> Books:
    books = year(engine)
    archive_month(engine, "2026-10", folder)
    return books


@pytest.fixture
def books(database: Engine, tmp_path: Path) -> Books:
    return filled(database, tmp_path)


@pytest.fixture(scope="module")
def archived(shared_database: Engine, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The same, for tests that change nothing."""
    filled(shared_database, tmp_path_factory.mktemp("archive"))
    return shared_database


def report(*group_by: str, **filters: Any) -> Callable[[Engine], Any]:
    return lambda engine: run(engine, CostQuery(group_by, Filters(**filters)))


def reconciled(engine: Engine) -> None:
    with reading(engine) as connection:
        our_side(connection, Span(datetime(2026, 10, 1, tzinfo=UTC), NOVEMBER), LATER)


@pytest.mark.parametrize(
    ("ask", "what"),
    [
        (report("session"), r"this report \(session\)"),
        (report("end_user"), r"this report \(end_user\)"),
        (report("tag:team"), r"this report \(tag:team\)"),
        (report("status"), r"this report \(status\)"),
        (report(session="s1"), r"this report \(session\)"),
        (report("model", tag="team=a", meter="text_in"), r"this report \(tag\)"),
        (
            lambda engine: run(engine, CostQuery(("meter",), count_sessions=True)),
            "counting sessions by meter",
        ),
        (lambda engine: session_account(engine, "s1"), "the account of a session"),
        (lambda engine: list(Rerating(Filters(), {}, UTC).run(engine)), "rating again"),
        (lambda engine: list(Rerating(Filters(), {}, UTC, ARCHIVING).run(engine)), "rating again"),
        (lambda engine: list(entries(engine, Filters(meter="text_in"))), "a list by meter"),
        (lambda engine: newest(engine, Filters(modality="text")), "a list by meter"),
        (lambda engine: list(ledger_table(engine, Filters()).rows), "an export of lines"),
        (lambda engine: Export.of(engine, Wanted(Version.V1_2, View(), Filters())), "an export of lines"),
        (reconciled, "a reconciliation"),
    ],
)
def test_what_needs_lines_names_the_file(archived: Engine, ask: Callable[[Engine], Any], what: str) -> None:
    with pytest.raises(Conflict, match=f"2026-10 is archived in {FILE}, and {what}.* needs the lines"):
        ask(archived)


@pytest.mark.parametrize(
    "ask",
    [
        report("session", period="2026-12"),
        report("status", start=datetime(2026, 12, 1, tzinfo=UTC)),
        report("tenant", "model", "meter"),
        report("period", "meter"),
        report(period="2026-10"),
        lambda engine: list(Rerating(Filters(unrated=True), {}, UTC).run(engine)),
        lambda engine: list(Rerating(Filters(period="2026-11"), {}, UTC).run(engine)),
        lambda engine: list(ledger_table(engine, Filters(period="2026-11")).rows),
    ],
)
def test_what_needs_others_goes_on(archived: Engine, ask: Callable[[Engine], Any]) -> None:
    assert ask(archived) is not None


def test_what_was_late_for_another_month_takes_its_lines(books: Books, tmp_path: Path) -> None:
    """Reports by period put right what rollups have in the month in which it occurred."""
    archive_month(books.engine, "2026-11", tmp_path)
    assert report("tenant")(books.engine) and report(period="2026-12")(books.engine)
    with pytest.raises(Conflict, match=r"2026-11 is archived .*, and this report \(period\) needs"):
        report("period")(books.engine)


def test_entries_stay_and_name_the_file(archived: Engine) -> None:
    named = {entry.period: entry.archive for entry in entries(archived)}
    assert named == {"2026-10": FILE, "2026-11": None, "2026-12": None}
    with reading(archived) as connection:
        entry = find_entry(connection, 1)
        assert (entry.lines, entry.as_json()["archive"]) == ([], FILE)
        months = {one.period: one.archive for one in list_periods(connection, ZONE, LATER)}
        assert [one.file for one in load_archives(connection).values()] == [FILE]
    assert months == named
    assert report("tenant")(archived).total["entries"] == len(list(entries(archived)))


def test_a_credit_can_still_put_an_archived_entry_right(books: Books) -> None:
    wanted = Adjustment("k2", Kind.CREDIT, "acme", 0, -7, corrects=1)
    with writing(books.engine) as connection:
        book(connection, wanted, ARCHIVING, UTC)
    assert verify(books.engine, UTC).fault is None and lines_of(books.engine, "2026-10") == 0
