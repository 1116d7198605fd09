"""Unusual hours of a ledger, against a plain sum over its entries."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from proxy.core.anomaly import WEEKS_MIN, Sensitivity
from proxy.core.records import Kind
from proxy.core.usage import Meter
from proxy.core.windows import Span
from proxy.store.adjustments import Adjustment, book
from proxy.store.anomalies import find_anomalies, listed
from proxy.store.audit import Act
from proxy.store.database import reading, writing
from proxy.store.outbox import Announcement, announce
from tests.ledgers import NOW, Books
from tests.scheduling import EMBEDDED

HOUR = Span(datetime(2026, 11, 23, 11, tzinfo=UTC), datetime(2026, 11, 23, 12, tzinfo=UTC))
SENSITIVE = Sensitivity(1_000_000, 5)  # a tenth of a cent
UTC_ZONE = ZoneInfo("UTC")


@pytest.fixture
def books(database: Engine) -> Books:
    """Acme has spent about the same in this hour of seven weeks; globex is new."""
    books = Books(database)
    for session, tenant in (("s1", "acme"), ("s2", "globex"), ("s3", "initech")):
        books.open(session, tenant)
    for weeks in range(1, 8):
        bill(books, "s1", f"w{weeks}", 100 + weeks, HOUR.start - timedelta(weeks=weeks, minutes=-59))
        bill(books, "s1", f"other{weeks}", 9_000, HOUR.start - timedelta(weeks=weeks, minutes=1))
        bill(books, "s3", f"i{weeks}", 100, HOUR.start - timedelta(weeks=weeks, days=1))
    return books


def bill(books: Books, session: str, name: str, tokens: int, at: datetime = HOUR.start) -> int:
    entry = books.bill(session, name, {Meter.TEXT_OUT: tokens}, at=at)
    assert entry.cost_nanousd is not None
    return entry.cost_nanousd


def find(books: Books, hour: Span = HOUR, sensitivity: Sensitivity = SENSITIVE) -> list[Announcement]:
    with reading(books.engine) as connection:
        return find_anomalies(connection, hour, UTC_ZONE, sensitivity, NOW)


@EMBEDDED
def test_an_hour_like_others_is_usual(books: Books) -> None:
    bill(books, "s1", "now", 110)
    assert find(books) == []


def test_a_dear_hour_is_told_of_the_tenant_and_of_all(books: Books) -> None:
    first, second = (
        bill(books, "s1", name, 400, at)
        for name, at in (("a", HOUR.start), ("b", HOUR.end - timedelta(microseconds=1)))
    )
    bill(books, "s1", "next", 10**6, HOUR.end)
    told = {one.tenant_id: one for one in find(books)}
    acme = books.key("acme").tenant_id
    assert told.keys() == {acme, None}
    price = first // 400
    assert told[acme].payload == {
        "tenant_id": acme,
        "tenant": "acme",
        "starts_at": "2026-11-23T11:00:00Z",
        "ends_at": "2026-11-23T12:00:00Z",
        "amounts": "billed",
        "spent_nanousd": first + second,
        "spent_usd": told[acme].payload["spent_usd"],
        "median_nanousd": 104 * price,
        "median_usd": told[acme].payload["median_usd"],
        "limit_nanousd": 104 * price + 5 * 104 * price // 10,
        "limit_usd": told[acme].payload["limit_usd"],
        "weeks": 7,
    }
    assert told[None].payload["amounts"] == "cost"
    assert told[acme].key != told[None].key


@EMBEDDED
def test_who_is_new_is_not_unusual(books: Books) -> None:
    bill(books, "s2", "now", 10**5)
    assert [one.tenant_id for one in find(books)] == [None]
    for weeks in range(1, WEEKS_MIN + 1):
        assert books.key("globex").tenant_id not in {one.tenant_id for one in find(books)}
        bill(books, "s2", f"w{weeks}", 1, HOUR.start - timedelta(weeks=weeks, days=1))
    assert books.key("globex").tenant_id in {one.tenant_id for one in find(books)}, "weeks of nothing count"


@EMBEDDED
def test_an_hour_that_usually_costs_nothing(books: Books) -> None:
    cost = bill(books, "s3", "now", 200)
    (one,) = [one for one in find(books) if one.tenant_id]
    assert (one.payload["median_nanousd"], one.payload["spent_nanousd"]) == (0, cost)
    assert find(books, sensitivity=Sensitivity(cost, 5)) == [], "less than the floor"


@EMBEDDED
def test_adjustments_are_nobodys_spending(books: Books) -> None:
    wanted = Adjustment("k", Kind.ADJUSTMENT, "acme", 10**12, 10**12, occurred_at=HOUR.start)
    with writing(books.engine) as connection:
        book(connection, wanted, Act("test", NOW, "a reason"), UTC)
    assert find(books) == []


def test_an_hour_is_announced_once(books: Books) -> None:
    bill(books, "s1", "now", 1_000)
    for _ in range(2):
        with writing(books.engine) as connection:
            new = announce(connection, find(books))
    assert new == ()
    with reading(books.engine) as connection:
        assert len(listed(connection, HOUR, None)) == 2
        assert len(listed(connection, HOUR, books.key("acme").tenant_id)) == 1
        assert listed(connection, Span(HOUR.end, HOUR.end + timedelta(days=1)), None) == []
