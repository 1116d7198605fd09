"""`/reratings`."""

from datetime import UTC

from proxy.core.usage import Meter
from proxy.store.rerate import PAGE_ENTRIES
from proxy.store.tokens import TokenRole
from proxy.store.verify import verify
from tests.admin.api.asking import Asking

NEW = "gpt-next"


async def unrated(api: Asking, *tenants: str) -> None:
    """Book an entry a tenant of a model without a card, and then add the card."""
    for tenant in tenants:
        api.books.open(tenant, tenant)
        api.books.bill(tenant, f"{tenant}-r1", {Meter.TEXT_IN: 10}, model=NEW, flags=("model_unknown",))
    prices = {"text_in": {"usd": "7", "per": "million"}}
    card = {
        "provider": "openai",
        "model": NEW,
        "effective_from": "2026-01-01",
        "source": "x",
        "prices": prices,
    }
    await api.done("POST", "/rate-cards", {"cards": [card]})


async def test_first_a_diff_then_corrections(api: Asking) -> None:
    await unrated(api, "acme")
    seen = await api.done("GET", "/reratings", params={"tenant": "acme"})
    (change,) = seen["data"]
    assert (seen["booked"], seen["next"], change["before_usd"]) == (False, None, None)
    assert (change["entry_id"], change["after_usd"], change["billed_after_nanousd"]) == (
        1,
        "0.000070000",
        70_000,
    )
    finance = api.token(TokenRole.FINANCE)
    made = await api.done("POST", "/reratings", {"reason": "the card came late"}, token=finance)
    assert made == seen | {"booked": True}
    entries = (await api.done("GET", "/ledger"))["data"]
    assert [(one["role"], one["corrects"]) for one in entries] == [
        ("original", None),
        ("reversal", 1),
        ("replacement", 1),
    ]
    corrected = [(await api.done("GET", f"/ledger/{number}"))["corrected_by"] for number in (1, 2, 3)]
    assert corrected == [[2, 3], [], []]
    assert api.audit()[-1] == ("api:finance", "prices.rerate", "the card came late")
    assert (await api.done("POST", "/reratings", {"reason": "again"}))["data"] == []
    assert verify(api.engine, UTC).fault is None


async def test_a_confined_token_corrects_its_own(api: Asking) -> None:
    await unrated(api, "acme", "globex")
    finance = api.token(TokenRole.FINANCE, "acme")
    made = await api.done("POST", "/reratings", {"reason": "late"}, token=finance)
    assert [one["entry_id"] for one in made["data"]] == [1]
    await api.problem(404, "POST", "/reratings", {"reason": "late", "tenant": "globex"}, token=finance)
    assert [one["entry_id"] for one in (await api.done("GET", "/reratings"))["data"]] == [2]


async def test_a_long_ledger_is_gone_through_in_stretches(embedded: Asking) -> None:
    """A page is 500 entries; a request goes through so many of them, or until it has something to tell."""
    embedded.books.open("s1")
    for number in range(501):
        embedded.books.bill("s1", f"r{number}", {Meter.TEXT_IN: 1}, model=NEW, flags=("model_unknown",))
    await unrated(embedded)
    first = await embedded.done("GET", "/reratings")
    assert len(first["data"]) == PAGE_ENTRIES and first["next"]
    rest = await embedded.done("GET", "/reratings", params={"after": first["next"]})
    assert [one["entry_id"] for one in rest["data"]] == [501] and rest["next"] is None


async def test_what_is_refused(embedded: Asking) -> None:
    problem = await embedded.problem(422, "POST", "/reratings", {})
    assert [one["pointer"] for one in problem["errors"]] == ["#/reason"]
    backwards = {"from": "2026-11-02", "to": "2026-11-01", "reason": "x"}
    problem = await embedded.problem(422, "POST", "/reratings", backwards)
    assert problem["errors"][0] | {"detail": ""} == {"in": "body", "pointer": "#/to", "detail": ""}
    await embedded.problem(422, "GET", "/reratings", params={"after": "bm90IG1pbmU"})
    await embedded.problem(
        403, "POST", "/reratings", {"reason": "x"}, token=embedded.token(TokenRole.AUDITOR)
    )
