"""The digest against reports over the same spans."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from proxy.core.budgets import Scope
from proxy.core.usage import Meter
from proxy.core.windows import Span, Window
from proxy.store.budgets import set_budget
from proxy.store.database import writing
from proxy.store.digest import TOP_ROWS_MAX, Digest
from proxy.store.filters import Filters
from proxy.store.reports import CostQuery, run
from tests.ledgers import ACT, NOW, Books

WEEK = Span(datetime(2026, 11, 16, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC))
BEFORE = Span(datetime(2026, 11, 9, tzinfo=UTC), WEEK.start)
ZONE = ZoneInfo("UTC")


@pytest.fixture
def books(database: Engine) -> Books:
    books = Books(database)
    for number in range(7):
        session = f"s{number}"
        books.open(session, f"t{number}")
        for days in (8, 1):
            counts = {Meter.TEXT_OUT: 1_000 * (number + 1) * (10 - days)}
            books.bill(session, f"{session}-{days}", counts, at=WEEK.end - timedelta(days=days))
    books.bill("s0", "unheard", at=WEEK.start)
    return books


def test_figures_are_those_of_reports(books: Books) -> None:
    told = Digest(WEEK, BEFORE, ZONE).make(books.engine, NOW)
    for name, span in (("total", WEEK), ("before", BEFORE)):
        filters = Filters(start=span.start, end=span.end)
        assert told[name] == run(books.engine, CostQuery((), filters, UTC, True)).total
    assert told["total"]["unrated_entries"] == 1 and told["total"]["sessions"] == 7
    assert [row["tenant"] for row in told["top_tenants"]] == ["t6", "t5", "t4", "t3", "t2"]
    assert len(told["top_tenants"]) == TOP_ROWS_MAX and len(told["top_models"]) == 1
    own = Digest(WEEK, BEFORE, ZONE, books.key("t3").tenant_id).make(books.engine, NOW)
    assert "top_tenants" not in own and "t4" not in str(own)
    assert own["total"]["cost_nanousd"] == told["top_tenants"][3]["billed_nanousd"]


def test_budgets_near_their_end(books: Books) -> None:
    books.bill("s0", "today", {Meter.TEXT_OUT: 1_000})
    books.bill("s1", "today too", {Meter.TEXT_OUT: 1_000})
    spent = run(books.engine, CostQuery((), Filters(start=WEEK.end, tenant="t0"), UTC)).total[
        "billed_nanousd"
    ]
    assert isinstance(spent, int)
    with writing(books.engine) as connection:
        for tenant, amount in (
            ("t0", spent * 100 // 81),
            ("t1", spent),
            ("t2", spent),
            ("t3", 0),
            ("t4", None),
        ):
            set_budget(
                connection, ACT, scope=Scope.TENANT, window=Window.DAY, tenant=tenant, amount_nanousd=amount
            )
    near = Digest(WEEK, BEFORE, ZONE).make(books.engine, NOW)["budgets"]
    assert [(one["tenant"], one["percent"], one["window"]) for one in near] == [
        ("t1", 100, "day"),
        ("t0", 81, "day"),
    ]
    own = Digest(WEEK, BEFORE, ZONE, books.key("t0").tenant_id).make(books.engine, NOW)["budgets"]
    assert [one["tenant"] for one in own] == ["t0"]
