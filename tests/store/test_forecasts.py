"""Forecasts of a ledger's budgets and tenants, against a plain computation over its entries."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from proxy.core.budgets import Scope
from proxy.core.forecast import Method
from proxy.core.records import Kind
from proxy.core.usage import Meter
from proxy.core.windows import Window
from proxy.store import StoreError, forecasts
from proxy.store.adjustments import Adjustment, book
from proxy.store.audit import Act
from proxy.store.budgets import Terms, set_budget
from proxy.store.database import reading, writing
from proxy.store.forecasts import Forecasted
from tests.ledgers import Books
from tests.plainly import Plain
from tests.scheduling import EMBEDDED

NOW = datetime(2026, 11, 25, 18, tzinfo=UTC)  # a Wednesday
UTC_ZONE = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
RICH = 9 * 10**9


@pytest.fixture
def books(database: Engine) -> Books:
    """Acme has talked for nine weeks, more on some weekdays than on others; globex began three days ago."""
    books = Books(database)
    with books.at_once():
        _talk(books)
    return books


def _talk(books: Books) -> None:
    for session, tenant, project in (("s1", "acme", "web"), ("s2", "acme", "phone"), ("s3", "globex", None)):
        books.open(session, tenant, project, end_user="ann", at=NOW - timedelta(days=70))
    for ago in range(63):
        day = (NOW - timedelta(days=ago)).replace(hour=23, minute=30)
        if day <= NOW:
            books.bill("s1", f"a{ago}", {Meter.TEXT_OUT: 100 * (1 + day.weekday()) + ago}, at=day)
            books.bill("s2", f"p{ago}", {Meter.TEXT_OUT: 7}, at=day - timedelta(hours=23))
    for ago in range(3):
        books.bill("s3", f"g{ago}", {Meter.TEXT_OUT: 50}, at=NOW - timedelta(days=ago, hours=6))
    books.bill("s1", "unrated", at=NOW - timedelta(days=3))


def budget(
    books: Books,
    scope: Scope,
    window: Window = Window.MONTH,
    amount_nanousd: int = RICH,
    *,
    tenant: str | None = "acme",
    name: str | None = None,
) -> str:
    with writing(books.engine) as connection:
        return set_budget(
            connection,
            Act("test", NOW),
            scope=scope,
            window=window,
            amount_nanousd=amount_nanousd,
            tenant=tenant,
            name=name,
            terms=Terms(zone="UTC"),
        ).rule.id


def told(books: Books, zone: ZoneInfo = UTC_ZONE, tenants: tuple[str, ...] | None = None) -> list[Forecasted]:
    within = None if tenants is None else frozenset(books.key(name).tenant_id for name in tenants)
    with reading(books.engine) as connection:
        return forecasts.forecasts(connection, NOW, zone, within)


def without_errors(found: list[Forecasted]) -> list[Forecasted]:
    return [replace(one, forecast=replace(one.forecast, error=None)) for one in found]


def plainly(books: Books, tenant: str, zone: ZoneInfo) -> tuple[int, Fraction]:
    """Return what a tenant has spent this month, and will have spent, by the weekdays of four weeks."""
    plain = Plain(books.engine)
    spent_on: dict[date, int] = {}
    for entry in plain.entries:
        if plain.names["tenant"][entry["tenant_id"]] == tenant and entry["billed_nanousd"] is not None:
            on = entry["at"].astimezone(zone).date()
            spent_on[on] = spent_on.get(on, 0) + entry["billed_nanousd"]
    today = NOW.astimezone(zone).date()
    spent = sum(cost for on, cost in spent_on.items() if on.month == 11)
    whole = Fraction(spent)
    for number in range(today.day, 31):
        on = date(2026, 11, number)
        before = [today - timedelta(days=n) for n in range(1, 29)]
        mean = Fraction(sum(spent_on.get(one, 0) for one in before if one.weekday() == on.weekday()), 4)
        tomorrow = datetime(2026, 11, today.day, tzinfo=zone) + timedelta(days=1)
        left = Fraction((tomorrow - NOW) // timedelta(seconds=1), 86_400)
        whole += mean * (left if on == today else 1)
    return spent, whole


@pytest.mark.parametrize("zone", [UTC_ZONE, BERLIN], ids=str)
def test_a_tenant_without_a_budget_has_a_month(books: Books, zone: ZoneInfo) -> None:
    acme, globex = told(books, zone)
    first, end = datetime(2026, 11, 1, tzinfo=zone), datetime(2026, 12, 1, tzinfo=zone)
    spent, whole = plainly(books, "acme", zone)
    assert (acme.tenant, acme.spent_nanousd, acme.forecast.nanousd) == ("acme", spent, round(whole))
    assert (acme.span.start, acme.span.end, acme.amount_nanousd) == (first, end, None)
    assert acme.forecast.method is Method.WEEKDAYS
    assert globex.forecast.method is Method.RUN_RATE, "three days are no history"


def test_budgets_of_each_scope(books: Books) -> None:
    ids = [
        budget(books, Scope.ORGANISATION, tenant=None),
        budget(books, Scope.TENANT),
        budget(books, Scope.PROJECT, name="web"),
        budget(books, Scope.KEY, name=books.key("acme", "web").id),
        budget(books, Scope.END_USER, name="ann"),
    ]
    budget(books, Scope.EACH_USER)
    budget(books, Scope.TENANT, Window.DAY)
    found = {one.budget.rule.id: one for one in told(books) if one.budget is not None}
    assert set(found) == set(ids), "not each user apart, and no day"
    spent, whole = plainly(books, "acme", UTC_ZONE)
    everybody, acme, web, key, user = (found[id] for id in ids)
    assert (acme.spent_nanousd, acme.forecast.nanousd) == (spent, round(whole))
    assert everybody.forecast.nanousd is not None and everybody.forecast.nanousd > round(whole)
    assert web.forecast == key.forecast and web.spent_nanousd == key.spent_nanousd < acme.spent_nanousd
    assert user.forecast.method is Method.RUN_RATE, "nobody counts users by day"
    assert user.spent_nanousd == acme.spent_nanousd
    assert [one.budget for one in told(books, tenants=("globex",))] == [None]


@EMBEDDED
def test_error_amount_and_day_are_told(books: Books) -> None:
    budget(books, Scope.TENANT, Window.WEEK, RICH)
    (one,) = told(books, tenants=("acme",))
    told_of = one.as_json()
    assert told_of["error_points"] == 6 and 0 < float(told_of["error_percent"]) < 100
    assert told_of["left_nanousd"] == RICH - one.spent_nanousd and told_of["exhausted_on"] is None
    budget(books, Scope.TENANT, Window.WEEK, one.spent_nanousd + 1)
    (one,) = told(books, tenants=("acme",))
    assert one.as_json()["exhausted_on"] == "2026-11-25"


@EMBEDDED
def test_without_its_error_a_forecast_is_the_same(books: Books) -> None:
    for scope in (Scope.ORGANISATION, Scope.TENANT):
        for window in (Window.WEEK, Window.MONTH, Window.QUARTER):
            budget(books, scope, window=window, tenant=None if scope is Scope.ORGANISATION else "acme")
    with reading(books.engine) as connection:
        brief = forecasts.forecasts(connection, NOW, UTC_ZONE, with_errors=False)
    assert len(brief) > 6 and any(one.forecast.error for one in told(books))
    assert brief == without_errors(told(books))


def test_credits_are_no_usage(books: Books) -> None:
    before = told(books, tenants=("acme",))[0]
    with writing(books.engine) as connection:
        book(connection, Adjustment("c1", Kind.CREDIT, "acme", 0, -500), Act("test", NOW, "sorry"), UTC)
    after = told(books, tenants=("acme",))[0]
    assert (after.spent_nanousd, after.forecast) == (before.spent_nanousd, before.forecast)


@EMBEDDED
def test_too_many_are_refused(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecasts, "FORECASTS_MAX", 1)
    with pytest.raises(StoreError, match="say of which tenants"):
        told(books)
    assert len(told(books, tenants=("acme",))) == 1
