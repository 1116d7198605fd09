"""Which months are closed, which could be, and in which zone."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from proxy.core.usage import Meter
from proxy.store import StoreError
from proxy.store.database import reading
from proxy.store.periods import Close, Closes, Month, check_zone, list_periods, load_closes
from tests.closing import CLOSING, LATER, close_month
from tests.ledgers import NOW, Books

BERLIN = ZoneInfo("Europe/Berlin")
OCTOBER = datetime(2026, 10, 5, tzinfo=UTC)


def close_of(period: str, entries: int) -> Close:
    return Close(period, "UTC", NOW, "ann", entries, "ab", ())


def test_closes_say_what_was_closed_when_an_entry_was_booked() -> None:
    closes = Closes([close_of("2026-08", 3), close_of("2026-10", 3), close_of("2026-11", 7)])
    assert [closes.before(n) for n in (1, 3, 4, 7, 8)] == [None, None, "2026-10", "2026-10", "2026-11"]
    assert closes.find("2026-10") == close_of("2026-10", 3)
    assert closes.find("2026-09") is None
    assert closes.find("2026-10").seal == "3:ab"  # type: ignore[union-attr]


def months(engine: Engine, now: datetime = LATER) -> list[Month]:
    with reading(engine) as connection:
        return list_periods(connection, UTC, now)


def test_months_with_what_they_hold(database: Engine) -> None:
    books = Books(database)
    for session, tenant in (("s1", "acme"), ("s2", "globex")):
        books.open(session, tenant, at=OCTOBER)
        books.bill(session, f"{session}r1", {Meter.TEXT_IN: 10}, at=OCTOBER)
        books.bill(session, f"{session}r2", at=NOW)
        books.close(session)
    assert [(one.period, one.state, one.entries) for one in months(database, NOW)] == [
        ("2026-10", "over", 2),
        ("2026-11", "running", 2),
    ]
    closed = close_month(database, "2026-10").close
    first, second = months(database)
    facts: dict[str, Any] = {"statements": 2, "entries": 2, "unrated_entries": 0, "billed_nanousd": 80_000}
    assert first == Month("2026-10", "closed", LATER, CLOSING.actor, closed.seal, **facts)
    facts = {"statements": 0, "entries": 2, "unrated_entries": 2, "billed_nanousd": 0}
    assert second == Month("2026-11", "over", None, None, None, **facts)
    with reading(database) as connection:
        assert list(load_closes(connection)) == [closed]


def test_the_zone_is_what_the_first_close_says(database: Engine) -> None:
    books = Books(database, BERLIN)
    books.open("s1")
    books.bill("s1", "r1", {Meter.TEXT_IN: 10})
    books.close("s1")
    with reading(database) as connection:
        check_zone(connection, "Mars/Olympus")
    close_month(database, "2026-11", zone=BERLIN)
    with reading(database) as connection:
        check_zone(connection, "Europe/Berlin")
        with pytest.raises(StoreError, match="set TALKMETER_PERIOD_TIMEZONE=Europe/Berlin"):
            check_zone(connection, "UTC")
