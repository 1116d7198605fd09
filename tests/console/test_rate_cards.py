"""Rate cards: past, present and to come, whose they are, who added them; adding a price; markups."""

from datetime import UTC, datetime, timedelta
from typing import Any

from proxy.console.pages.rate_cards import changed_meters, series_of
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking
from tests.console.test_tenants import HOSTILE
from tests.console.visiting import visitor

NOW = datetime(2026, 11, 29, tzinfo=UTC)
PRICES: dict[str, Any] = {
    "text_in": {"usd": "4.00", "per": "million"},
    "audio_out": {"usd": "64.00", "per": "million"},
    "duration_ms": {"usd": "0.017", "per": "minute"},
}
CARD: dict[str, Any] = {
    "provider": "openai",
    "model": "talk",
    "effective_from": "2025-01-01",
    "source": "a letter",
    "prices": PRICES,
}


async def set_prices(api: Asking) -> None:
    """`talk` has a public past, present and future, a contract, and a price that was agreed with acme."""
    api.books.key("acme")
    await api.done("POST", "/rate-cards", {"cards": [CARD]})
    change = {"model": "talk", "meter": "text_in"}
    for usd, at in (("3.50", "2025-06-01"), ("3.00", "2999-01-01")):
        await api.done("POST", "/rate-cards/prices", change | {"usd": usd, "effective_from": at})
    await api.done("POST", "/rate-cards/prices", change | {"usd": "2.75", "contract": True})
    await api.done("POST", "/rate-cards/prices", change | {"usd": "9.99", "tenant": "acme"})


async def test_what_holds_now_by_model_and_owner(api: Asking) -> None:
    await set_prices(api)
    ann = visitor(api)
    shown = await ann.get("/rate-cards?model=TALK")
    assert shown.html.count("<tr>") == 4 and "public" in shown.text and "contract" in shown.text
    for usd in ("3.50", "2.75", "9.99", "64.00", "0.017"):
        assert f"${usd}" in shown.text
    assert "2999-01-01" in shown.text and "$3.00" not in shown.text and "$4.00" not in shown.text
    for owner, usd, others in (
        ("public", "3.50", ("2.75", "9.99")),
        ("contract", "2.75", ("3.50", "9.99")),
        ("tenant", "9.99", ("3.50", "2.75")),
    ):
        only = await ann.get(f"/rate-cards?model=talk&owner={owner}")
        assert f"${usd}" in only.text and not [one for one in others if f"${one}" in only.text]
    assert "No rate card is like that" in (await ann.get("/rate-cards?model=nothing")).text
    cards = (await api.done("GET", "/rate-cards"))["data"]
    whole = await ann.get("/rate-cards")
    assert all(one["model"] in whole.text for one in cards)


async def test_the_history_of_a_model(api: Asking) -> None:
    await set_prices(api)
    shown = await visitor(api).get("/rate-cards/model?model=talk")
    cards = (await api.done("GET", "/rate-cards", params={"model": "talk"}))["data"]
    assert len(cards) == 5 and all(f"/rate-cards/{one['id']}" in shown.links for one in cards)
    assert shown.text.count("holds now") == 3 and shown.text.count("to come") == 1
    assert "Public prices" in shown.text and "Our contract" in shown.text and "Agreed with acme" in shown.text
    public = shown.text.partition("Public prices")[2].partition("set by hand")[0]
    assert public.index("2999-01-01") < public.index("$3.00")
    await visitor(api).get("/rate-cards/model?model=nothing", 404)


async def test_one_card_with_what_it_changed_and_who_added_it(api: Asking) -> None:
    await set_prices(api)
    cards = (await api.done("GET", "/rate-cards", params={"model": "talk"}))["data"]
    ann = visitor(api)
    first, second = cards[0], cards[1]
    shown = await ann.get(f"/rate-cards/{second['id']}")
    assert "api:admin-token" in shown.text and "set by hand: text_in, the rest from card" in shown.text
    row = shown.text.partition("Before Text input")[2]
    assert row.startswith(" $3.50 million $4.00 Audio output $64.00 million the same"), row
    assert "Duration $0.017 minute the same" in shown.text
    assert f"/rate-cards/{first['id']}" in shown.links
    assert (
        f"/rate-cards/{second['id']}" in (await ann.get("/rate-cards/model?provider=openai&model=talk")).links
    )
    assert "/rate-cards/model?provider=openai&model=talk" in shown.links
    assert "a letter" in (await ann.get(f"/rate-cards/{first['id']}")).text
    await ann.get("/rate-cards/card_0", 404)


async def test_a_price_is_added_once(api: Asking) -> None:
    await api.done("POST", "/rate-cards", {"cards": [CARD]})
    ann = visitor(api)
    form = (await ann.get("/rate-cards/new?model=talk&meter=audio_out")).form("/rate-cards/new")
    assert (form.fields["model"], form.fields["meter"]) == ("talk", "audio_out")
    fields = {"usd": "51.20", "effective_from": "2999-01-01"}
    done = await ann.submit(form, 303, **fields)
    assert done.place == "/rate-cards/model?provider=openai&model=talk"
    await ann.submit(form, 303, **fields)
    _, made = (await api.done("GET", "/rate-cards", params={"model": "talk"}))["data"]
    assert made["prices"]["audio_out"]["usd"] == "51.20" and made["owner"] == "public"
    act = (await api.acts(action="prices.*"))[0]
    assert (act["actor"], act["action"]) == ("user:admin@example.com", "prices.set")
    assert "user:admin@example.com" in (await ann.get(f"/rate-cards/{made['id']}")).text


async def test_a_price_of_a_tenant_or_a_contract(embedded: Asking) -> None:
    embedded.books.key("acme")
    ann = visitor(embedded)
    for owner, tenant in (("contract", ""), ("tenant", "acme")):
        form = (await ann.get("/rate-cards/new")).form("/rate-cards/new")
        await ann.submit(form, model="talk", meter="text_in", usd="1", owner=owner, tenant=tenant)
    owners = {
        one["owner"] for one in (await embedded.done("GET", "/rate-cards", params={"model": "talk"}))["data"]
    }
    assert owners == {"contract", embedded.books.key("acme").tenant_id}


async def test_what_is_no_price_is_kept_as_it_was_typed(embedded: Asking) -> None:
    await embedded.done("POST", "/rate-cards", {"cards": [CARD]})
    ann = visitor(embedded)
    form = (await ann.get("/rate-cards/new")).form("/rate-cards/new")
    fields = {"model": HOSTILE, "meter": "text_in", "usd": "cheap", "effective_from": "soon"}
    shown = await ann.submit(form, 422, **fields)
    kept = shown.form("/rate-cards/new").fields
    assert {name: kept[name] for name in fields} == fields and "<script>alert" not in shown.html
    assert "it should be dollars, such as 32.00" in shown.text and "is not a time" in shown.text
    await ann.submit(form, 404, model="talk", meter="text_in", usd="1", owner="tenant", tenant="nobody")
    same = {"model": "talk", "meter": "text_in", "usd": "5", "effective_from": "2025-01-01"}
    shown = await ann.submit(form, 409, **same)
    assert "cards are never edited" in shown.text
    await ann.submit(form, model=HOSTILE, meter="text_in", usd="1")
    for path in ("/rate-cards", "/rate-cards/new"):
        shown = await ann.get(path)
        assert HOSTILE in shown.text + shown.html.replace("&#34;", '"') or path.endswith("new")
        assert "<script>alert" not in shown.html


async def test_markups(api: Asking) -> None:
    api.books.key("acme")
    ann = visitor(api)
    page = await ann.get("/rate-cards/markups")
    assert "There is no markup" in page.text
    form = page.form("/rate-cards/markups")
    for _ in range(2):
        await ann.submit(form, percent="5", reason="all")
    other = (await ann.get("/rate-cards/markups")).form("/rate-cards/markups")
    await ann.submit(other, percent="15", tenant="acme")
    found = (await api.done("GET", "/markups"))["data"]
    assert [(one["tenant"], one["basis_points"]) for one in found] == [(None, 500), ("acme", 1_500)]
    shown = await ann.get("/rate-cards/markups")
    assert all(one["percent"] in shown.text for one in found) and "all tenants" in shown.text
    other = shown.form("/rate-cards/markups")
    bad = await ann.submit(other, 404, percent="15", tenant="nobody")
    assert bad.form("/rate-cards/markups").fields["tenant"] == "nobody"


async def test_who_may(embedded: Asking) -> None:
    await set_prices(embedded)
    embedded.books.key("globex")
    (agreed,) = [
        one
        for one in (await embedded.done("GET", "/rate-cards", params={"model": "talk"}))["data"]
        if one["owner"] not in ("public", "contract")
    ]
    other = visitor(embedded, TokenRole.FINANCE, "globex")
    for path in ("/rate-cards", "/rate-cards/model?model=talk"):
        shown = await other.get(path)
        assert "3.50" in shown.text and "9.99" not in shown.text and "2.75" not in shown.text
    await other.get(f"/rate-cards/{agreed['id']}", 404)
    assert (
        "9.99" in (await visitor(embedded, TokenRole.AUDITOR, "acme").get(f"/rate-cards/{agreed['id']}")).text
    )
    for role, tenants in (
        (TokenRole.ADMIN, ("acme",)),
        (TokenRole.FINANCE, ()),
        (TokenRole.VIEWER, ("acme",)),
    ):
        who = visitor(embedded, role, *tenants)
        for path in ("/rate-cards/new", "/rate-cards/import"):
            await who.get(path, 403)
            token = {"csrf": (await who.get("/")).form("/sign-out").fields["csrf"]}
            await who.post(path, token, 403)
    viewer = visitor(embedded, TokenRole.VIEWER, "acme")
    for path in ("/rate-cards", "/rate-cards/model?model=talk", "/rate-cards/markups", "/rate-cards/rerate"):
        await viewer.get(path, 403)


def test_series() -> None:
    days = (NOW - timedelta(days=9), NOW, NOW + timedelta(days=9))
    cards = [
        {**CARD, "id": str(n), "owner": "public", "effective_from": at.isoformat()}
        for n, at in enumerate(days)
    ]
    (found,) = series_of(cards, NOW)
    assert [(one["id"], one["state"]) for one in found["cards"]] == [
        ("2", "future"),
        ("1", "now"),
        ("0", "past"),
    ]
    assert [one["until"] for one in found["cards"]] == [None, days[2].isoformat(), days[1].isoformat()]
    assert (found["now"]["id"], found["next"]["id"]) == ("1", "2")
    (early,) = series_of(cards, NOW - timedelta(days=10))
    assert early["now"] is None and {one["state"] for one in early["cards"]} == {"future"}
    dearer = {"prices": {**PRICES, "text_in": {"usd": "5", "per": "million"}}}
    assert changed_meters(CARD, dearer) == ["text_in"] and changed_meters(None, dearer) == []
