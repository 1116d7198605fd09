"""Alerts: announcements in words, with ways to what they are about; filters; the rules behind them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from proxy.console.alert_words import KINDS, said
from proxy.core.announced import Announced
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking
from tests.announcements import ANOMALY, CUT, ENDED, PAYLOADS, THRESHOLD, announce
from tests.console.test_tenants import HOSTILE
from tests.console.visiting import visitor

NOW = datetime.now(UTC).replace(microsecond=0)
FORECAST = THRESHOLD | {"forecast_nanousd": 61_000_000_000, "exhausted_on": "2026-11-27"}
UNEXPLAINED = {
    "reconciliation_id": "rec_1",
    "on": "2026-11-25",
    "ours_nanousd": 5_000_000_000,
    "theirs_nanousd": 7_500_000_000,
    "unexplained_nanousd": 2_400_000_000,
    "limit_nanousd": 1_000_000_000,
}


def test_every_kind_is_named() -> None:
    assert [kind for kind, _ in KINDS] == sorted(
        (kind.value for kind in Announced), key=[k for k, _ in KINDS].index
    )


@pytest.mark.parametrize(
    ("kind", "data", "text", "places"),
    [
        (
            "budget.threshold",
            THRESHOLD,
            "80 % of a budget of the tenant by the month that began 2026-11-01 00:00 UTC is spent: $40.10 of"
            " $50.00.",
            ["/budgets/bud_1", "/tenants/ten_1"],
        ),
        (
            "budget.forecast",
            FORECAST,
            "80 % of a budget of the tenant by the month that began 2026-11-01 00:00 UTC is expected by its"
            " end: $61.00 of $50.00. It would be used up on 2026-11-27.",
            ["/budgets/bud_1", "/tenants/ten_1"],
        ),
        (
            "budget.cut",
            CUT,
            "A budget had nothing left, so a response was cut: it cost $0.0012, $0.00020 more than was held"
            " for it.",
            ["/budgets/bud_1", "/sessions/ses_1", "/tenants/ten_1"],
        ),
        (
            "session.ended",
            ENDED,
            "gpt-realtime: 3 responses, $0.0072. It ended: the app closed it (code 1000).",
            ["/sessions/ses_1", "/keys/key_1", "/tenants/ten_1"],
        ),
        (
            "spend.anomaly",
            ANOMALY,
            "The hour from 2026-11-26 11:00 UTC of acme came to $25.00. The same hour of 8 earlier weeks had"
            " $10.00 in the middle, and up to $15.00 is usual.",
            [
                "/tenants/ten_1",
                "/reports?tenant=ten_1&from=2026-11-26T11%3A00%3A00Z&to=2026-11-26T12%3A00%3A00Z&group_by=model",
            ],
        ),
        (
            "spend.unexplained",
            UNEXPLAINED,
            "$2.40 of the provider's bill for 2026-11-25 is not explained: they say $7.50, we say $5.00. Up"
            " to $1.00 is left alone.",
            ["/reconciliation/rec_1", "/tenants/ten_1"],
        ),
        ("budget.cut", {"a": 1}, "See its details.", ["/tenants/ten_1"]),
        ("later.kind", {"budget_id": "a/b"}, "See its details.", ["/budgets/a%2Fb", "/tenants/ten_1"]),
    ],
)
def test_words(kind: str, data: dict[str, Any], text: str, places: list[str]) -> None:
    told = said(kind, "ten_1", data)
    assert told.text == text
    assert [one.href for one in told.links] == places


async def test_the_list_and_every_filter(api: Asking) -> None:
    acme, globex = (api.books.key(name).tenant_id for name in ("acme", "globex"))
    made = {}
    for number, (kind, tenant) in enumerate(zip(PAYLOADS, (acme, acme, globex, None), strict=True)):
        at = NOW - timedelta(days=number)
        made[kind] = announce(api.engine, f"k{number}", at, kind, tenant)
    ann = visitor(api)
    shown = await ann.get("/alerts")
    alerts = (await api.done("GET", "/alerts"))["data"]
    assert {one["id"] for one in alerts} == set(made.values())
    for one in alerts:
        assert f"/alerts/{one['id']}" in shown.links
        assert said(one["kind"], one["tenant_id"], one["data"]).text in shown.text
    day = f"{NOW - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"
    for query, kinds in (
        ("kind=budget.cut", ["budget.cut"]),
        ("tenant=acme", ["budget.threshold", "budget.cut"]),
        (f"from={day}", ["budget.threshold", "budget.cut"]),
        (f"to={day}", ["session.ended", "spend.anomaly"]),
        ("tenant=globex&kind=session.ended", ["session.ended"]),
        ("tenant=globex&kind=budget.cut", []),
    ):
        found = await ann.get(f"/alerts?{query}")
        listed = {link for link in found.links if link.startswith("/alerts/") and link[8:].isdecimal()}
        assert listed == {f"/alerts/{made[kind]}" for kind in kinds}, query
        assert ("Nothing was announced" in found.text) is (not kinds)
    one = await ann.get(f"/alerts/{made['budget.cut']}")
    for name, value in CUT.items():
        assert name in one.text and str(value) in one.text
    await ann.get("/alerts/999", 404)
    for query, status in (("tenant=nobody", 404), ("kind=odd", 422), ("from=soon", 422)):
        name, _, value = query.partition("=")
        wrong = await ann.get(f"/alerts?{query}", status)
        assert name == "kind" or wrong.form("/alerts").fields[name] == value


async def test_rules_and_where_to_change_them(api: Asking) -> None:
    ann = visitor(api)
    assert "No budget announces anything" in (await ann.get("/alerts/rules")).text
    api.books.key("acme")
    budget = {
        "scope": "tenant",
        "tenant": "acme",
        "window": "month",
        "amount_usd": "50",
        "thresholds": [70, 90],
    }
    made = await api.done("POST", "/budgets", budget | {"forecast_thresholds": [110]})
    shown = await ann.get("/alerts/rules")
    assert "70, 90 %" in shown.text and "110 %" in shown.text and f"/budgets/{made['id']}" in shown.links
    rules = await api.done("GET", "/alert-rules")
    assert f'value="{rules["anomaly_floor_usd"]}"' in shown.html
    assert f'value="{rules["unexplained_limit_usd"]}"' in shown.html
    assert f"{rules['anomaly_deviations']} deviations above the median" in shown.text


async def test_lists_are_paged(embedded: Asking) -> None:
    for number in range(51):
        announce(embedded.engine, f"k{number}", NOW - timedelta(hours=number), "budget.cut")
    ann = visitor(embedded)
    first = await ann.get("/alerts?kind=budget.cut")
    (following,) = {link for link in first.links if "after=" in link}
    second = await ann.get(following)
    assert "kind=budget.cut" in following and second.html.count('<th scope="row"><a href="/alerts/') == 1


async def test_hostile_text_and_who_may(embedded: Asking) -> None:
    acme, globex = (embedded.books.key(name).tenant_id for name in ("acme", "globex"))
    hostile = ANOMALY | {"tenant": HOSTILE, "more": {"a": HOSTILE}, "long": "x" * 2_000}
    id = announce(embedded.engine, "k", NOW, "spend.anomaly", acme, hostile)
    cut = CUT | {"session_id": '"/><script>alert(1)</script>', "budget_id": "../../sign-out"}
    announce(embedded.engine, "l", NOW, "budget.cut", acme, cut)
    for path in ("/alerts", f"/alerts/{id}", f"/alerts/{id + 1}"):
        shown = await visitor(embedded).get(path)
        assert "<script>alert" not in shown.html and "/budgets/../" not in shown.html
    assert HOSTILE in (await visitor(embedded).get(f"/alerts/{id}")).text
    assert globex != acme
    for role in (TokenRole.ADMIN, TokenRole.FINANCE, TokenRole.AUDITOR):
        other = visitor(embedded, role, "globex")
        shown = await other.get("/alerts")
        assert "$25.00" not in shown.text and "Nothing was announced" in shown.text
        await other.get(f"/alerts/{id}", 404)
        await visitor(embedded, role, "acme").get(f"/alerts/{id}")
        await other.get("/alerts/rules")
    for path in ("/alerts", f"/alerts/{id}", "/alerts/rules"):
        await visitor(embedded, TokenRole.VIEWER, "acme").get(path, 403)
