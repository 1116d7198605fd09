"""`/budgets/history`: what an amount would have meant, by value."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from proxy.core.usage import Meter
from proxy.store import spend_history
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking

TEXT_OUT = 24_000  # nano-dollars for a token of gpt-realtime-2.1
NOW = datetime.now(UTC).replace(hour=12, minute=7, second=0, microsecond=0)
if datetime.now(UTC) < NOW:
    NOW -= timedelta(days=1)


def dollars(tokens: int) -> str:
    return f"{tokens * TEXT_OUT / 1e9:.9f}"


def fill(api: Asking) -> None:
    """Sessions of two tenants: a-0 and a-1 today, a-2 three days ago, a-9 before the 30 days; b-0 today."""
    for name, tenant, project, days, user, tokens in (
        ("a-0", "acme", "web", 0, "zoë", (100, 50)),
        ("a-1", "acme", None, 0, "max", (30,)),
        ("a-2", "acme", "web", 3, "zoë", (400,)),
        ("a-9", "acme", "web", 75, "zoë", (9_000,)),
        ("b-0", "globex", None, 0, None, (1_000,)),
    ):
        at = NOW - timedelta(days=days)
        api.books.open(name, tenant, project, at=at, end_user=user)
        for number, count in enumerate(tokens):
            api.books.bill(name, f"{name}-r{number}", {Meter.TEXT_OUT: count}, at=at)


async def history(api: Asking, **params: str) -> Any:
    return await api.done("GET", "/budgets/history", params=params)


def figures(told: Any) -> tuple[Any, ...]:
    return tuple(told[name] for name in ("windows", "windows_over", "sessions", "sessions_over"))


async def test_days_and_sessions_of_each_scope(api: Asking) -> None:
    fill(api)
    key = api.books.key("acme", "web")
    whole = await history(api, amount_usd=dollars(500))
    assert (whole["scope"], whole["tenant"], whole["window"], whole["zone"]) == (
        "organisation", None, "day", "UTC",
    )  # fmt: skip
    assert figures(whole) == (30, 1, 4, 1)
    assert whole["data"][0]["spent_nanousd"] == 1_180 * TEXT_OUT and whole["data"][0]["over"] is True
    assert (whole["largest_session_id"], whole["largest_session_usd"]) == ("b-0", dollars(1_000))
    assert whole["entries_from"] is None
    acme = await history(api, tenant="acme", amount_usd=dollars(150))
    assert (acme["scope"], figures(acme)) == ("tenant", (30, 2, 3, 1))
    assert [one["spent_nanousd"] // TEXT_OUT for one in acme["data"]] == [400, 180]
    start = datetime.fromisoformat(acme["data"][0]["starts_at"])
    assert start == (NOW - timedelta(days=3)).replace(hour=0, minute=0)
    assert figures(await history(api, tenant="acme", amount_usd=dollars(400))) == (30, 0, 3, 0), "not reached"
    assert figures(await history(api, tenant="acme")) == (30, None, 3, None)
    for whose in ({"project": "web", "tenant": "acme"}, {"key": key.id}):
        assert figures(await history(api, **whose, amount_usd=dollars(120))) == (30, 2, 2, 2), whose


async def test_of_end_users(api: Asking) -> None:
    fill(api)
    zoe = await history(api, tenant="acme", end_user="zoë", amount_usd=dollars(200))
    assert (zoe["scope"], figures(zoe)) == ("end_user", (30, 1, 2, 1))
    never = await history(api, tenant="acme", end_user="nobody", amount_usd="0")
    assert figures(never) == (30, 0, 0, 0) and never["data"] == []
    each = await history(api, tenant="acme", scope="each_user", amount_usd=dollars(40))
    assert figures(each) == (3, 2, 3, 2), "days of users on which they spent something"
    assert [(one["end_user"], one["spent_nanousd"] // TEXT_OUT) for one in each["data"]] == [
        ("zoë", 400), ("zoë", 150), ("max", 30),
    ]  # fmt: skip


async def test_every_window(api: Asking) -> None:
    fill(api)
    told = {
        window: await history(api, tenant="acme", window=window, amount_usd=dollars(420))
        for window in ("session", "hour", "week", "month", "quarter", "lifetime")
    }
    assert figures(told["session"]) == (3, 0, 3, 0)
    assert [one["session_id"] for one in told["session"]["data"]] == ["a-2", "a-0", "a-1"]
    assert figures(told["hour"])[1:] == (0, 3, 0) and 29 * 24 < told["hour"]["windows"] <= 30 * 24
    assert {one["spent_nanousd"] // TEXT_OUT for one in told["hour"]["data"]} == {400, 180}
    assert told["week"]["windows"] in (5, 6) and told["month"]["windows"] in (1, 2)
    assert figures(told["lifetime"]) == (1, 1, 3, 0)
    assert told["lifetime"]["data"][0]["spent_nanousd"] == 9_580 * TEXT_OUT
    assert told["lifetime"]["data"][0]["starts_at"] is None


async def test_days_are_those_of_the_zone(embedded: Asking) -> None:
    zone = ZoneInfo("Pacific/Auckland")
    late = datetime.now(zone).replace(hour=23, minute=50) - timedelta(days=2)
    embedded.books.open("s1", at=late)
    for minutes in (0, 20):  # before and after midnight there
        at = (late + timedelta(minutes=minutes)).astimezone(UTC)
        embedded.books.bill("s1", f"r{minutes}", {Meter.TEXT_OUT: 10}, at=at)
    there = await history(embedded, tenant="acme", zone=zone.key)
    assert [one["spent_nanousd"] // TEXT_OUT for one in there["data"]] == [10, 10]
    there = await history(embedded, tenant="acme", window="hour", zone=zone.key)
    assert len(there["data"]) == 2


async def test_what_has_no_price_counts_as_budgets_charge_it(api: Asking) -> None:
    api.books.open("s1", at=NOW)
    api.books.bill("s1", "r1", {Meter.TEXT_OUT: 10}, at=NOW, model="unheard-of", charge_nanousd=77)
    api.books.bill("s1", "r2", {Meter.TEXT_OUT: 10}, at=NOW)
    told = await history(api, tenant="acme", amount_usd=dollars(10))
    assert told["data"][0]["spent_nanousd"] == told["largest_session_nanousd"] == 10 * TEXT_OUT + 77
    assert figures(told) == (30, 1, 1, 1)


async def test_credits_never_count(embedded: Asking) -> None:
    fill(embedded)
    credit = {"kind": "credit", "tenant": "acme", "key": "k1", "reason": "sorry", "billed_usd": "-1"}
    await embedded.done("POST", "/adjustments", credit)
    told = await history(embedded, tenant="acme")
    assert sum(one["spent_nanousd"] for one in told["data"]) == 580 * TEXT_OUT


async def test_no_more_entries_are_looked_at_than_a_page_can_wait_for(
    api: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spend_history, "ENTRIES_MAX", 3)
    fill(api)
    told = await history(api, tenant="acme", amount_usd=dollars(150))
    assert figures(told)[:2] == (30, 2), "windows come from the rollups"
    assert (told["sessions"], told["sessions_over"]) == (2, 0), "a-0 and a-1, not a-2"
    edge = datetime.fromisoformat(told["entries_from"])
    assert NOW - timedelta(days=3) < edge <= NOW


async def test_whose_it_can_be(embedded: Asking) -> None:
    fill(embedded)
    key = embedded.books.key("acme")
    for params, status, text in (
        ({"project": "web"}, 422, "project: say of which `tenant`"),
        ({"scope": "tenant"}, 422, "scope: say of which `tenant`"),
        ({"scope": "tenant", "tenant": "acme", "project": "web"}, 422, "belongs to the scope `project`"),
        ({"scope": "organisation", "tenant": "acme"}, 422, "leave it out"),
        ({"tenant": "globex", "key": key.id}, 404, "There is no key"),
        ({"tenant": "acme", "amount_usd": "-1"}, 422, "an amount is 0"),
        ({"tenant": "acme", "zone": "Mars"}, 422, "'Mars' is not a time zone"),
        ({"tenant": "acme", "window": "fortnight"}, 422, "window"),
    ):
        await embedded.refused(status, text, "GET", "/budgets/history", params=params)
    confined = embedded.token(TokenRole.FINANCE, "acme")
    told = await embedded.done("GET", "/budgets/history", token=confined)
    assert sum(one["spent_nanousd"] for one in told["data"]) == 580 * TEXT_OUT, "of its tenants alone"
    await embedded.problem(404, "GET", "/budgets/history", params={"tenant": "globex"}, token=confined)
