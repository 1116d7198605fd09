"""`/adjustments`: what is booked, once, and what cannot be."""

from datetime import UTC, datetime
from typing import Any

from proxy.core.usage import Meter
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking
from tests.closing import close_month

OCTOBER = datetime(2026, 10, 5, tzinfo=UTC)
CREDIT: dict[str, Any] = {"kind": "credit", "tenant": "acme", "key": "k/1%", "reason": "outage 7"}
CREDIT |= {"billed_usd": "-1.5"}
INVOICE = {"kind": "adjustment", "tenant": "acme", "key": "inv 1", "reason": "invoice 1", "cost_usd": "0.25"}


def fill(api: Asking) -> None:
    for session, tenant in (("s1", "acme"), ("s2", "globex")):
        api.books.open(session, tenant, "web", at=OCTOBER)
        api.books.bill(session, f"{session}-r1", {Meter.TEXT_IN: 10}, at=OCTOBER)


async def test_booked_once(api: Asking) -> None:
    fill(api)
    finance = api.token(TokenRole.FINANCE)
    made = await api("POST", "/adjustments", CREDIT, token=finance)
    assert (made.status, made.place) == (201, "/ledger/3")
    assert made.json == await api.done("GET", made.place)
    assert (
        made.json.items()
        >= {
            "kind": "credit",
            "tenant": "acme",
            "project": None,
            "model": None,
            "session_id": None,
            "subject_id": "k/1%",
            "status": "booked",
            "status_reason": "outage 7",
            "rated": True,
            "list_nanousd": 0,
            "cost_nanousd": 0,
            "billed_nanousd": -1_500_000_000,
            "billed_usd": "-1.500000000",
            "lines": [],
        }.items()
    )
    again = await api("POST", "/adjustments", CREDIT, token=api.token(TokenRole.ADMIN))
    assert (again.status, again.json, again.place) == (200, made.json, made.place)
    used = "was used for something else, entry 3: another adjustment needs another key"
    for change in ({"billed_usd": "-1.6"}, {"reason": "outage 8"}, {"occurred_at": "2026-10-01"}):
        await api.refused(409, used, "POST", "/adjustments", CREDIT | change)
    others = "'k/1%' was used for something else: another adjustment needs another key."
    await api.refused(409, others, "POST", "/adjustments", CREDIT | {"tenant": "globex"})
    costs = (await api.done("GET", "/reports/costs", params={"kind": "credit"}))["total"]
    assert (costs["entries"], costs["billed_nanousd"]) == (1, -1_500_000_000)
    (act,) = (one for one in await api.acts(tenant="acme") if one["action"].startswith("ledger."))
    assert (act["actor"], act["action"], act["object"], act["reason"]) == (
        "api:finance",
        "ledger.credit",
        "3",
        "outage 7",
    )
    assert (act["after"]["key"], act["after"]["billed_nanousd"]) == ("k/1%", -1_500_000_000)


async def test_what_it_is_about(api: Asking) -> None:
    fill(api)
    about = {"project": "web", "corrects": 1, "occurred_at": "2026-10-06", "billed_usd": "0.3"}
    made = await api.done("POST", "/adjustments", INVOICE | about | {"provider": "a reseller"})
    assert (
        made.items()
        >= {
            "project": "web",
            "corrects": 1,
            "occurred_at": "2026-10-06T00:00:00Z",
            "period": "2026-10",
            "cost_usd": "0.250000000",
            "billed_usd": "0.300000000",
        }.items()
    )
    close_month(api.engine, "2026-10", {"journals": "a test"})
    late = await api.done("POST", "/adjustments", INVOICE | about | {"key": "inv 2"})
    assert late["occurred_at"] == "2026-10-06T00:00:00Z" and late["period"] == "2026-11"
    assert late["corrects_period"] == "2026-10"


async def test_what_cannot_be_booked(embedded: Asking) -> None:
    fill(embedded)
    for body, status, text in (
        (CREDIT | {"billed_usd": "1"}, 422, "A credit takes from what the tenant owes"),
        (CREDIT | {"cost_usd": "-1"}, 422, "A credit takes from what the tenant owes"),
        (CREDIT | {"billed_usd": "0"}, 422, "needs an amount that is not 0"),
        (CREDIT | {"billed_usd": None}, 422, "give cost_usd, billed_usd or both"),
        (CREDIT | {"reason": " "}, 422, "needs a reason"),
        (CREDIT | {"reason": ""}, 422, "#/reason"),
        (CREDIT | {"key": " "}, 422, "An idempotency key has 1 to 200 printable characters"),
        (CREDIT | {"kind": "response"}, 422, "#/kind"),
        (CREDIT | {"occurred_at": "2199-01-01"}, 422, "2199-01-01T00:00:00Z has not come yet: book it then"),
        (CREDIT | {"occurred_at": "1969-12-31"}, 422, "is before any period: say when it was"),
        (CREDIT | {"tenant": "nobody"}, 404, "no tenant 'nobody'"),
        (CREDIT | {"project": "ios"}, 404, "no project 'ios'"),
        (CREDIT | {"corrects": 2}, 404, "The tenant has no entry 2 in the ledger"),
        (CREDIT | {"corrects": 9}, 404, "The tenant has no entry 9 in the ledger"),
        (INVOICE | {"cost_usd": "0.0000000001"}, 422, "finer than a nano-dollar"),
        *(
            (
                INVOICE | {"cost_usd": text},
                422,
                "it should be dollars with up to nine decimals, such as 12.50",
            )
            for text in ("1e3", "1_000", " 5", "+5", "٣", "5.", ".5")
        ),
        (INVOICE | {"cost_usd": "-9223372037"}, 422, "not an amount that the ledger can hold"),
        (INVOICE | {"provider": "x" * 201}, 422, "at most 200 characters"),
    ):
        await embedded.refused(status, text, "POST", "/adjustments", body)
    assert len((await embedded.done("GET", "/ledger"))["data"]) == 2
    assert not [action for _, action, _ in embedded.audit() if action.startswith("ledger.")]
