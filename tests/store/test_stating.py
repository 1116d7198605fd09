"""What a period's entries come to, line by line, against plain sums over the entries."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from proxy.core.records import Kind
from proxy.core.usage import Meter
from proxy.store.adjustments import Adjustment, book
from proxy.store.audit import Act
from proxy.store.database import reading, writing
from proxy.store.statements import find_statement, section_of
from proxy.store.stating import StatedLine
from proxy.store.verify import verify
from tests.closing import LATER, ZONE, close_month
from tests.ledgers import NOW, Books

BERLIN = ZoneInfo("Europe/Berlin")
OCTOBER = datetime(2026, 10, 5, tzinfo=UTC)


@pytest.fixture
def books(database: Engine) -> Books:
    books = Books(database)
    books.open("s1", "acme", "web")
    books.open("s2", "acme")
    return books


def lines(books: Books, number: str) -> list[StatedLine]:
    with reading(books.engine) as connection:
        return list(find_statement(connection, number).lines)


def credit(books: Books, key: str, nanousd: int, at: datetime) -> None:
    wanted = Adjustment(key, Kind.CREDIT, "acme", 0, nanousd, occurred_at=at)
    with writing(books.engine) as connection:
        book(connection, wanted, Act("ann", LATER, "goodwill"), ZONE)


def test_usage_is_summed_by_project_model_and_meter(books: Books) -> None:
    for name in ("r1", "r2"):
        books.bill("s1", name, {Meter.TEXT_IN: 10, Meter.AUDIO_OUT: 3})
    books.bill("s2", "r3", {Meter.TEXT_IN: 5})
    books.bill("s2", "r4", {Meter.DURATION_MS: 60_000}, model="whisper-1", kind=Kind.TRANSCRIPTION)
    close_month(books.engine, "2026-11", {"journals": "a test"})
    found = [
        (one.project, one.model, one.meter, one.quantity, one.unit, one.billed_nanousd)
        for one in lines(books, "2026-11-0001")
    ]
    assert found == [
        (None, "gpt-realtime-2.1", "text_in", 5, "token", 20_000),
        (None, "whisper-1", "duration_ms", 60_000, "ms", 6_000_000),
        ("web", "gpt-realtime-2.1", "text_in", 20, "token", 80_000),
        ("web", "gpt-realtime-2.1", "audio_out", 6, "token", 384_000),
    ]


def test_what_has_no_price_adjustments_and_corrections_stand_apart(books: Books) -> None:
    books.bill("s1", "r1", {Meter.TEXT_IN: 10}, at=OCTOBER)
    close_month(books.engine, "2026-10", {"journals": "a test"})
    books.bill("s1", "late", {Meter.TEXT_IN: 7}, at=OCTOBER)
    books.bill("s1", "r2", {Meter.TEXT_IN: 10})
    books.bill("s1", "r3", {Meter.TEXT_IN: 1}, model="gpt-realtime-9")
    books.bill("s1", "r4", None)
    credit(books, "k1", -5_000, NOW)
    credit(books, "k2", -7_000, OCTOBER)
    close_month(books.engine, "2026-11", {"journals": "a test", "unrated": "a test"})
    found = [
        (section_of(one), one.corrects_period, one.quantity, one.billed_nanousd)
        for one in lines(books, "2026-11-0001")
    ]
    assert found == [
        ("usage", None, 10, 40_000),
        ("unrated", None, 1, None),
        ("unrated", None, 1, None),
        ("adjustment", None, None, -5_000),
        ("correction", "2026-10", 7, 28_000),
        ("correction", "2026-10", None, -7_000),
    ]


def test_what_was_billed_without_usage_comes_before_what_has_some(books: Books) -> None:
    """In the same order on every database."""
    books.bill("s1", "r1", {Meter.TEXT_IN: 4, Meter.UNTOLD_IN: 2})
    books.bill("s1", "r2", None)
    books.bill("s1", "r3", {})
    close_month(books.engine, "2026-11", {"journals": "a test", "unrated": "a test"})
    assert [
        (one.meter, one.quantity, one.unit, one.billed_nanousd) for one in lines(books, "2026-11-0001")
    ] == [
        (None, 1, "entry", None),
        ("text_in", 4, "token", None),
        ("untold_in", 2, "token", None),
    ]


def test_corrections_are_of_months_in_the_ledgers_zone(database: Engine) -> None:
    """The last two hours of September in UTC are October in Berlin."""
    books = Books(database, BERLIN)
    books.open("s1")
    september, october = datetime(2026, 9, 30, 21, tzinfo=UTC), datetime(2026, 9, 30, 22, tzinfo=UTC)
    books.bill("s1", "r1", {Meter.TEXT_IN: 1}, at=september)
    books.bill("s1", "r2", {Meter.TEXT_IN: 1}, at=october)
    for period in ("2026-09", "2026-10"):
        close_month(database, period, {"journals": "a test"}, zone=BERLIN)
    for name, at in (("late1", september), ("late2", october), ("r3", NOW)):
        books.bill("s1", name, {Meter.TEXT_IN: 1}, at=at)
    close_month(database, "2026-11", {"journals": "a test"}, zone=BERLIN)
    assert [one.corrects_period for one in lines(books, "2026-11-0001")] == [None, "2026-09", "2026-10"]
    assert verify(database, UTC).fault is None
