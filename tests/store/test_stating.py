"""What a period's entries come to: summed by what people ask for, and what cancels out is left away."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Engine

from proxy.core.records import Kind
from proxy.core.usage import Meter
from proxy.store.database import reading
from proxy.store.statements import find_statement
from tests.closing import close_month
from tests.ledgers import NOW, Books

BERLIN = ZoneInfo("Europe/Berlin")


def said(engine: Engine, number: str) -> list[tuple[object, ...]]:
    with reading(engine) as connection:
        lines = find_statement(connection, number).lines
    return [
        (
            *(one.project, one.kind, one.model, one.meter, one.corrects_period),
            *(one.quantity, one.unit, one.billed_nanousd),
        )
        for one in lines
    ]


def test_usage_is_summed_and_what_has_no_price_stands_apart(database: Engine) -> None:
    books = Books(database)
    books.open("s1", "acme", "web")
    books.open("s2", "acme")
    for number in range(3):
        books.bill("s1", f"r{number}", {Meter.TEXT_IN: 10, Meter.AUDIO_OUT: 1})
    books.bill("s2", "t1:0", {Meter.DURATION_MS: 90_000}, model="whisper-1", kind=Kind.TRANSCRIPTION)
    books.bill("s2", "u1", {Meter.TEXT_IN: 4, Meter.UNTOLD_IN: 2})
    books.bill("s2", "u2")
    books.bill("s2", "u3", {})
    for session in ("s1", "s2"):
        books.close(session)
    close_month(database, "2026-11", {"unrated": "a test"})
    model = "gpt-realtime-2.1"
    assert sorted(said(database, "2026-11-0001"), key=lambda line: line[-1] is None) == [
        (None, "transcription", "whisper-1", "duration_ms", None, 90_000, "ms", 9_000_000),
        ("web", "response", model, "text_in", None, 30, "token", 120_000),
        ("web", "response", model, "audio_out", None, 3, "token", 192_000),
        (None, "response", model, None, None, 1, "entry", None),
        (None, "response", model, "text_in", None, 4, "token", None),
        (None, "response", model, "untold_in", None, 2, "token", None),
    ]


def test_corrections_are_summed_by_the_month_that_they_concern(database: Engine) -> None:
    """The month in the ledger's zone: the last hour of September in UTC is October in Berlin."""
    books = Books(database, BERLIN)
    books.open("s1")
    books.bill("s1", "r1", {Meter.TEXT_IN: 1}, at=datetime(2026, 9, 30, 21, tzinfo=UTC))
    books.bill("s1", "r2", {Meter.TEXT_IN: 1}, at=datetime(2026, 10, 2, tzinfo=UTC))
    books.close("s1")
    for period in ("2026-09", "2026-10"):
        close_month(database, period, zone=BERLIN)
    for number, at in enumerate(
        (datetime(2026, 9, 30, 21, tzinfo=UTC), datetime(2026, 9, 30, 22, tzinfo=UTC), NOW)
    ):
        books.bill("s1", f"late{number}", {Meter.TEXT_IN: 1}, at=at)
    close_month(database, "2026-11", zone=BERLIN)
    concerned = [line[4] for line in said(database, "2026-11-0001")]
    assert concerned == [None, "2026-09", "2026-10"]
