"""Forecast thresholds: what is announced, and that it is once a window."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from proxy.core.budgets import Scope
from proxy.core.usage import Meter
from proxy.core.windows import Window
from proxy.store import StoreError
from proxy.store.audit import Act
from proxy.store.budget_list import Listed
from proxy.store.budgets import Terms, set_budget
from proxy.store.database import reading, writing
from proxy.store.forecast_alerts import find_forecasts
from proxy.store.outbox import Announcement, announce
from tests.ledgers import Books

TENTH = datetime(2026, 11, 11, tzinfo=UTC)  # ten days of the month are over


def a_budget(books: Books, amount_nanousd: int | None, thresholds: tuple[int, ...] = (80, 100)) -> Listed:
    with writing(books.engine) as connection:
        return set_budget(
            connection,
            Act("test", TENTH),
            scope=Scope.TENANT,
            window=Window.MONTH,
            amount_nanousd=amount_nanousd,
            tenant="acme",
            terms=Terms(forecast_thresholds=thresholds),
        )


def look(books: Books, now: datetime = TENTH) -> list[Announcement]:
    """Find what is to be told, and tell it."""
    with reading(books.engine) as connection:
        found = find_forecasts(connection, now)
    with writing(books.engine) as connection:
        announce(connection, found)
    return found


@pytest.fixture
def books(database: Engine) -> Books:
    """Acme has spent since the first of the month; at that rate it will be three times as much."""
    books = Books(database)
    books.open("s1", "acme", at=datetime(2026, 11, 1, tzinfo=UTC))
    return books


def spend(books: Books, name: str, at: datetime, tokens: int = 100) -> int:
    cost = books.bill("s1", name, {Meter.TEXT_OUT: tokens}, at=at).cost_nanousd
    assert cost
    return cost


def test_each_threshold_is_told_once_a_window(books: Books) -> None:
    spent = spend(books, "r1", datetime(2026, 11, 1, tzinfo=UTC))
    rule = a_budget(books, 3 * spent + 3 * spent // 10).rule  # 91 % of it is expected
    (eighty,) = look(books)
    assert eighty.kind == "budget.forecast" and eighty.tenant_id == rule.tenant_id
    told = {name: eighty.payload[name] for name in ("budget_id", "percent", "spent_nanousd", "method")}
    assert told == {"budget_id": rule.id, "percent": 80, "spent_nanousd": spent, "method": "run_rate"}
    assert eighty.payload["forecast_nanousd"] == 3 * spent and eighty.payload["exhausted_on"] is None
    assert look(books) == []
    more = spend(books, "r2", TENTH - timedelta(hours=1))
    assert [one.payload["percent"] for one in look(books)] == [100]
    assert look(books, TENTH + timedelta(days=3)) == []
    spend(books, "r3", datetime(2026, 12, 1, tzinfo=UTC), 10_000)
    december = look(books, datetime(2026, 12, 3, tzinfo=UTC))
    assert [(one.payload["percent"], one.payload["starts_at"]) for one in december] == [
        (80, "2026-12-01T00:00:00Z"),
        (100, "2026-12-01T00:00:00Z"),
    ]
    assert more > 0


def test_two_that_look_at_once_tell_it_once(books: Books) -> None:
    spent = spend(books, "r1", datetime(2026, 11, 1, tzinfo=UTC))
    a_budget(books, spent)
    with reading(books.engine) as connection:
        first, second = (find_forecasts(connection, TENTH) for _ in range(2))
    assert len(first) == 2 and [one.key for one in first] == [one.key for one in second]
    for found in (first, second):
        with writing(books.engine) as connection:
            announce(connection, found)
    assert look(books) == []


@pytest.mark.parametrize("amount", [None, 0], ids=["unlimited", "nothing may be spent"])
def test_without_an_amount_there_is_nothing_to_reach(books: Books, amount: int | None) -> None:
    spend(books, "r1", datetime(2026, 11, 1, tzinfo=UTC))
    a_budget(books, amount)
    assert look(books) == []


def test_in_the_first_day_nothing_is_expected_yet(books: Books) -> None:
    spend(books, "r1", datetime(2026, 11, 1, tzinfo=UTC))
    a_budget(books, 1)
    assert look(books, datetime(2026, 11, 1, 23, tzinfo=UTC)) == []


@pytest.mark.parametrize(
    ("window", "thresholds", "problem"),
    [
        (Window.DAY, (100,), "week, month, quarter"),
        (Window.SESSION, (100,), "week, month, quarter"),
        (Window.MONTH, (0,), "percentage from 1"),
        (Window.MONTH, tuple(range(1, 60)), "at most"),
    ],
)
def test_what_cannot_be_asked_for(
    books: Books, window: Window, thresholds: tuple[int, ...], problem: str
) -> None:
    with writing(books.engine) as connection, pytest.raises(StoreError, match=problem):
        set_budget(
            connection,
            Act("test", TENTH),
            scope=Scope.TENANT,
            window=window,
            amount_nanousd=1,
            tenant="acme",
            terms=Terms(forecast_thresholds=thresholds),
        )
