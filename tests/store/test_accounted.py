"""What is accounted in another month than it occurred in."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, select

from proxy.core.usage import Meter
from proxy.store import StoreError
from proxy.store.accounted import as_occurred, moved
from proxy.store.database import reading
from proxy.store.filters import Filters
from proxy.store.reports import CostQuery, run
from proxy.store.schema import ledger_entry
from tests.closing import close_month
from tests.ledgers import Books

BERLIN = ZoneInfo("Europe/Berlin")
OCTOBER, NOVEMBER = datetime(2026, 9, 30, 22, tzinfo=UTC), datetime(2026, 10, 31, 23, tzinfo=UTC)


@pytest.fixture
def books(database: Engine) -> Books:
    """Something of September that was booked before it was closed, and something after; and of October."""
    books = Books(database, BERLIN)
    books.open("s1", at=OCTOBER - timedelta(days=3))
    books.bill("s1", "in time", {Meter.TEXT_IN: 1}, at=OCTOBER - timedelta(seconds=1))
    close_month(database, "2026-09", {"journals": "a test"}, zone=BERLIN)
    books.bill("s1", "late", {Meter.TEXT_IN: 10}, at=OCTOBER - timedelta(seconds=2))
    books.bill("s1", "first", {Meter.TEXT_IN: 100}, at=OCTOBER)
    books.bill("s1", "last", {Meter.TEXT_IN: 1_000}, at=NOVEMBER - timedelta(seconds=1))
    return books


def test_what_was_late_is_found(books: Books) -> None:
    with reading(books.engine) as connection:
        late = moved(connection, BERLIN)
        assert late is not None
        assert connection.execute(select(ledger_entry.c.subject_id).where(late)).scalars().all() == ["late"]
        others = moved(connection, UTC)  # in another zone more is
        assert others is not None
        found = connection.execute(select(ledger_entry.c.subject_id).where(others)).scalars()
        assert sorted(found) == ["first", "late"]


def test_nothing_is_found_in_an_empty_ledger_or_one_without_closes(database: Engine) -> None:
    with reading(database) as connection:
        assert moved(connection, UTC) is None
    books = Books(database)
    books.open("s1")
    books.bill("s1", "r1")
    with reading(database) as connection:
        assert moved(connection, UTC) is None


@pytest.mark.parametrize("groups", [("period",), ("period", "session")], ids=["rollups", "entries"])
def test_a_report_by_period_sums_as_it_is_accounted(books: Books, groups: tuple[str, ...]) -> None:
    """From rollups, whose zone is another one, and from entries."""

    def quantities(filters: Filters) -> dict[object, object]:
        rows = run(books.engine, CostQuery(groups, filters)).rows
        return {row["period"]: row["text_in"] for row in rows}

    both = {"2026-09": 1, "2026-10": 1_110}
    assert quantities(Filters()) == quantities(Filters(months_of=BERLIN)) == both
    assert quantities(Filters(end=OCTOBER)) == {"2026-09": 1, "2026-10": 10}
    assert quantities(Filters(period="2026-10", end=OCTOBER)) == {"2026-10": 10}
    assert quantities(Filters(period="2026-09", start=OCTOBER)) == {}
    assert quantities(Filters(start=OCTOBER, months_of=BERLIN)) == {"2026-10": 1_110}
    assert quantities(Filters(start=NOVEMBER, months_of=BERLIN)) == {}
    assert quantities(Filters(end=OCTOBER, months_of=BERLIN)) == {"2026-09": 1}


@pytest.mark.parametrize(
    ("filters", "text"),
    [
        (Filters(start=OCTOBER + timedelta(1), months_of=BERLIN), "give 2026-10-01 or 2026-11-01"),
        (Filters(end=datetime(1, 1, 1, tzinfo=UTC), months_of=BERLIN), "no accounting month in the year 1"),
        (Filters(start=OCTOBER, end=OCTOBER, months_of=BERLIN), "ends before it begins"),
        (Filters(start=OCTOBER, period="2026-10", months_of=BERLIN), "give one of the two"),
    ],
)
def test_months_that_cannot_be(books: Books, filters: Filters, text: str) -> None:
    with pytest.raises(StoreError, match=text):
        run(books.engine, CostQuery(("period",), filters))


def test_the_time_in_which_periods_occurred() -> None:
    later = OCTOBER + timedelta(days=9)
    assert as_occurred(Filters(model="m"), BERLIN) == Filters(model="m")
    assert as_occurred(Filters(period="2026-10"), BERLIN) == Filters(start=OCTOBER, end=NOVEMBER)
    assert as_occurred(Filters(period="2026-10", start=later), BERLIN) == Filters(start=later, end=NOVEMBER)
    assert as_occurred(Filters(period="2026-10", end=OCTOBER), BERLIN) is None
    months = Filters(start=OCTOBER, end=NOVEMBER, months_of=BERLIN)
    assert as_occurred(months, BERLIN) == Filters(start=OCTOBER, end=NOVEMBER)
