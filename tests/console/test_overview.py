"""The overview: its figures are the API's, what needs attention leads there, roles see what they may."""

from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import Browser, expect
from sqlalchemy import insert

from proxy.console.visitors import COOKIE
from proxy.core.usage import Meter
from proxy.store.database import reading, writing
from proxy.store.prices import load_prices
from proxy.store.schema import outbox
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking
from tests.admin.api.world import fill
from tests.console.browser import open_page
from tests.console.tables import tables
from tests.console.visiting import visitor
from tests.ledgers import MODEL

OCTOBER = datetime(2026, 10, 5, 8, tzinfo=UTC)
MONTH = "from=2026-10-01&to=2026-11-01"
HOSTILE = "<script>alert(1)</script>\"'\u202e" + "x" * 200


def book(api: Asking) -> None:
    api.books.open("s1", "acme", at=OCTOBER)
    api.books.bill(
        "s1", "r1", {Meter.TEXT_IN: 100, Meter.TEXT_IN_CACHED: 300, Meter.AUDIO_OUT: 30}, at=OCTOBER
    )
    api.books.bill("s1", "r2", {Meter.TEXT_IN: 10}, at=OCTOBER + timedelta(days=1), estimated=True)
    api.books.bill("s1", "r3", {Meter.TEXT_IN: 10}, at=OCTOBER, model="gpt-unknown")
    api.books.open("s2", "globex", at=OCTOBER)
    api.books.bill("s2", "r4", {Meter.AUDIO_OUT: 10}, at=OCTOBER)
    api.books.bill("s2", "r5", {Meter.AUDIO_OUT: 5}, at=OCTOBER - timedelta(days=20))


async def test_a_month_by_tenant_model_meter_and_day(api: Asking) -> None:
    book(api)
    shown = await visitor(api).get("/?month=2026-10")
    told = await api.done("GET", "/reports/costs", params={"from": "2026-10-01", "to": "2026-11-01"})
    found, total = tables(shown.html), told["total"]["cost_nanousd"]
    for group in ("tenant", "model", "meter"):
        params = {"from": "2026-10-01", "to": "2026-11-01", "group_by": group}
        rows = (await api.done("GET", "/reports/costs", params=params))["rows"]
        table = found[f"by-{group}"]
        assert sorted(row[2].amount for row in table.body) == sorted(row["cost_nanousd"] for row in rows)
        assert table.foot[0][2].amount == total
    tenant = found["by-tenant"].row("acme")
    assert tenant[0].links == [f"/reports?group_by=model&{MONTH}&tenant=acme"]
    assert tenant[3].links == [f"/sessions?tenant=acme&{MONTH}"]
    assert "1 unrated" in found["by-model"].row("gpt-unknown")[0].text
    assert found["by-meter"].row("Audio output")[3].text == "40"
    days = {row[0].text: row for row in found["days"].body}
    assert (len(days), days["2026-10-06"][1].amount, days["2026-10-07"][1].amount) == (31, 40_000, 0)
    assert days["2026-10-06"][0].links == ["/reports?group_by=tenant,model&from=2026-10-06&to=2026-10-07"]
    assert found["days"].foot[0][1].amount == total
    assert "71.4 %" in shown.text, "300 of 420 tokens were cached"
    assert {"/?month=2026-09", "/?month=2026-11"} <= set(shown.links)


async def test_what_has_changed_since_the_month_before(api: Asking) -> None:
    book(api)
    params = {"from": "2026-10-01", "to": "2026-11-01", "with_from": "2026-09-01", "with_to": "2026-10-01"}
    told = await api.done("GET", "/reports/comparison", params=params | {"group_by": "tenant,model"})
    person = visitor(api)
    assert "/changes?month=2026-10" in (await person.get("/?month=2026-10")).links
    shown = await person.get("/changes?month=2026-10")
    found, total = tables(shown.html), told["total"]
    assert [cell.amount for cell in (found["change"].body[0][1], found["change"].foot[0][1])] == [
        total["before_nanousd"],
        total["after_nanousd"],
    ]
    assert found["change"].row("Volume")[1].amount == total["volume_nanousd"]
    rows = [(row[0].text, row[1].text, row[-1].amount) for row in found["changes"].body]
    assert rows == [
        (one["tenant"], one["model"], one["after_nanousd"])
        for one in told["rows"]
        if one["difference_nanousd"]
    ]
    compare = f"/reports/compare?group_by=tenant%2Cmodel&{MONTH}&with_from=2026-09-01&with_to=2026-10-01"
    assert compare in shown.links
    assert "nothing to compare" in (await person.get("/changes?month=1969-01", 404)).text


@pytest.mark.slow
async def test_what_has_changed_is_loaded_once_the_overview_is_shown(
    embedded: Asking, browser: Browser
) -> None:
    book(embedded)
    watched = await open_page(browser)
    secret = visitor(embedded).secret
    assert secret is not None
    await watched.page.context.add_cookies([{"name": COOKIE, "value": secret, "url": embedded.url}])
    await watched.page.goto(f"{embedded.url}/?month=2026-10")
    await expect(watched.page.locator("#change")).to_contain_text("Volume: more or less of it")
    await expect(watched.page.locator("#what-changed")).to_have_count(1)
    assert watched.complaints == []


async def test_what_of_a_month_needs_attention(embedded: Asking) -> None:
    book(embedded)
    embedded.books.open("s0", "acme", at=OCTOBER - timedelta(days=20))
    shown = await visitor(embedded).get("/?month=2026-10")
    items = {row[0].text: row for row in tables(shown.html)["attention-table"].body}
    assert items["unrated"][1].links == [f"/ledger?unrated=true&{MONTH}"]
    assert items["estimated"][1].links == [f"/reports?group_by=tenant%2Cmodel&estimated=true&{MONTH}"]
    assert items["estimated"][2].amount == 40_000
    embedded.books.open("s0", "acme", at=OCTOBER - timedelta(days=20))  # its instance was never heard of
    september = await visitor(embedded).get("/?month=2026-09")
    (journal,) = tables(september.html)["attention-table"].body
    assert (journal[0].text, journal[1].links) == ("stale journal", ["/close/2026-09"])
    assert "start again what did not end well".capitalize() in journal[1].text


async def test_what_needs_attention_now(embedded: Asking) -> None:
    now = datetime.now(UTC)
    embedded.books.open("s1", "acme", at=now)
    embedded.books.bill("s1", "r1", {Meter.AUDIO_OUT: 100}, at=now)  # 0.0064 dollars
    for body in (
        {"scope": "organisation", "window": "month", "amount_usd": "1"},
        {"scope": "tenant", "tenant": "acme", "window": "day", "amount_usd": "0.007"},
    ):
        await embedded.done("POST", "/budgets", body)
    tenant_id = embedded.books.key("acme").tenant_id
    row = {"kind": "budget.cut", "tenant_id": tenant_id, "at": now, "payload": {}}
    with writing(embedded.engine) as connection:
        connection.execute(insert(outbox), [{**row, "key": f"k{number}"} for number in range(2)])
    shown = await visitor(embedded).get("/")
    items = {row[0].text: row for row in tables(shown.html)["attention-table"].body}
    near = items["nearly spent"]
    assert near[1].text.startswith("Budget of acme for a day 91 % of $0.0070 are spent")
    assert (near[1].links, near[2].amount) == (["/budgets?tenant=acme"], 600_000)
    assert items["cut"][1].text.startswith("2 responses were cut today")
    assert items["cut"][1].links == [f"/alerts?kind=budget.cut&from={now.date()}"]
    assert "Budget of the organisation" in shown.text and "$1.00" in shown.text
    viewer = await visitor(embedded, TokenRole.VIEWER, "acme").get("/")
    assert "organisation" not in viewer.text and "/budgets" not in " ".join(viewer.links)


async def test_a_gap_to_the_providers_bill(embedded: Asking) -> None:
    await fill(embedded)
    (newest,) = (await embedded.done("GET", "/reconciliations", params={"limit": "1"}))["data"]
    shown = await visitor(embedded).get("/")
    assert (f"/reconciliation/{newest['id']}" in shown.links) is newest["is_over"]


async def test_a_viewer_sees_what_its_tenant_owes(embedded: Asking) -> None:
    embedded.books.key("acme")
    await embedded.done("POST", "/markups", {"tenant": "acme", "basis_points": 5_000, "from": "2026-01-01"})
    with reading(embedded.engine) as connection:
        embedded.books.prices = load_prices(connection)
    book(embedded)
    shown = await visitor(embedded, TokenRole.VIEWER, "acme").get("/?month=2026-10")
    table = tables(shown.html)["by-tenant"]
    assert [(row[0].text.split()[0], row[2].amount) for row in table.body] == [("acme", 3_720_000)]
    assert "globex" not in shown.html and "Owed in 2026-10" in shown.text
    own = await visitor(embedded, TokenRole.FINANCE, "acme").get("/?month=2026-10")
    assert tables(own.html)["by-tenant"].foot[0][2].amount == 2_480_000 and "globex" not in own.html


async def test_what_is_no_month_is_told(embedded: Asking) -> None:
    shown = await visitor(embedded).get("/?month=2026-13", 422)
    assert "write it as 2026-11" in shown.text
    assert "Nothing was spent." in (await visitor(embedded).get("/?month=1969-01")).text


async def test_a_part_that_is_refused_is_said(embedded: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    embedded.books.open("s1", "acme", at=now)
    embedded.books.bill("s1", "r1", {Meter.AUDIO_OUT: 1}, at=now)
    monkeypatch.setattr("proxy.store.forecasts.FORECASTS_MAX", 0)
    shown = await visitor(embedded).get("/")
    assert "A part is left out here. These would be more than 0 forecasts" in shown.text


async def test_what_to_do_first(embedded: Asking) -> None:
    shown = await visitor(embedded).get("/")
    assert shown.text.count("to do") == 3 and {"/tenants", "/keys"} <= set(shown.links)
    embedded.books.key("acme")
    assert (await visitor(embedded).get("/")).text.count("to do") == 1
    assert "An administrator does that" in (await visitor(embedded, TokenRole.VIEWER, "acme").get("/")).text
    embedded.books.open("s1", "acme", at=OCTOBER)
    assert "By tenant" in (await visitor(embedded).get("/")).text


async def test_names_that_nobody_should_have(embedded: Asking) -> None:
    embedded.books.open("s1", "acme", at=OCTOBER)
    embedded.books.bill("s1", "r1", {Meter.TEXT_IN: 10}, at=OCTOBER, model=HOSTILE)
    shown = await visitor(embedded).get("/?month=2026-10")
    assert "<script>alert" not in shown.html and HOSTILE in shown.text
    assert MODEL not in shown.html
