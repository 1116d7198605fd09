"""`/rate-cards`: prices as they were given, whose they are, and what is not a price."""

from typing import Any

from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking

CARD: dict[str, Any] = {
    "provider": "openai",
    "model": "talk",
    "effective_from": "2026-01-01",
    "source": "a letter",
    "prices": {
        "text_in": {"usd": "4.00", "per": "million"},
        "audio_out": {"usd": "0.000064", "per": "each"},
        "duration_ms": {"usd": "0.017", "per": "minute"},
    },
}
CHANGE: dict[str, Any] = {"model": "talk", "meter": "text_in", "usd": "3.125", "effective_from": "2026-06-01"}


async def test_cards_are_added_once_and_never_changed(api: Asking) -> None:
    made = await api.twice("/rate-cards", {"cards": [CARD]})
    named = {"provider": "openai", "model": "talk", "effective_from": "2026-01-01T00:00:00Z"}
    assert made.json == {"added": [named], "unchanged": []}
    (shown,) = (await api.done("GET", "/rate-cards", params={"model": "talk"}))["data"]
    assert shown == await api.done("GET", f"/rate-cards/{shown['id']}")
    assert (shown["owner"], shown["source"]) == ("public", "a letter")
    (noted,) = (await api.done("GET", "/audit", params={"action": "prices.import"}))["data"]
    assert shown["added_at"] == noted["at"], "which is how who added it is found"
    assert shown["prices"] == {
        "audio_out": {"usd": "64.00", "per": "million"},
        "duration_ms": {"usd": "0.017", "per": "minute"},
        "text_in": {"usd": "4.00", "per": "million"},
    }
    again = await api.done("POST", "/rate-cards", {"cards": [CARD]})
    assert again == {"added": [], "unchanged": [named]}
    dearer = CARD | {"prices": {"text_in": {"usd": "5", "per": "million"}}}
    other = CARD | {"model": "other"}
    text = "cards are never edited. Give the new ones a later effective_from:\n  openai/talk from 2026-01-01"
    await api.refused(409, text, "POST", "/rate-cards", {"cards": [other, dearer]})
    assert (await api.done("GET", "/rate-cards", params={"model": "other"}))["data"] == []
    (act,) = (one for one in await api.acts() if one["action"].startswith("prices."))
    assert (act["actor"], act["action"]) == ("api:admin-token", "prices.import")
    assert act["after"] == {"added": ["openai/talk from 2026-01-01T00:00:00Z"], "more": 0}


async def test_one_price_changes_from_an_instant_on(api: Asking) -> None:
    await api.done("POST", "/rate-cards", {"cards": [CARD]})
    await api.twice("/rate-cards/prices", CHANGE)
    first, second = (await api.done("GET", "/rate-cards", params={"model": "talk"}))["data"]
    assert second["prices"] == first["prices"] | {"text_in": {"usd": "3.125", "per": "million"}}
    assert second["source"] == f"set by hand: text_in, the rest from card {first['id']}"
    (act,) = (one for one in await api.acts() if one["action"] == "prices.set")
    before, after = act["before"]["text_in"], act["after"]["text_in"]
    assert (before["usd"], after["usd"], after["price_nanousd"]) == ("4.00", "3.125", 3_125)
    await api.refused(409, "cards are never edited", "POST", "/rate-cards/prices", CHANGE | {"usd": "3"})
    minute = CHANGE | {"meter": "duration_ms", "usd": "0.02", "effective_from": "2026-07-01"}
    await api.done("POST", "/rate-cards/prices", minute)
    last = (await api.done("GET", "/rate-cards", params={"model": "talk"}))["data"][-1]
    assert last["prices"]["duration_ms"] == {"usd": "0.02", "per": "minute"}
    assert last["prices"]["text_in"] == {"usd": "3.125", "per": "million"}


async def test_whose_they_are_and_who_sees_them(api: Asking) -> None:
    key = api.books.key("acme")
    api.books.key("globex")
    for whose, owner in (({"contract": True}, "contract"), ({"tenant": "acme"}, key.tenant_id)):
        await api.done("POST", "/rate-cards/prices", CHANGE | whose)
        shown = (await api.done("GET", "/rate-cards", params={"model": "talk"}))["data"][-1]
        assert (shown["owner"], shown["prices"]["text_in"]["usd"]) == (owner, "3.125")
        seen = await api.done("GET", "/rate-cards", token=api.token(TokenRole.AUDITOR, "globex"))
        assert shown["id"] not in str(seen) and seen["data"]
    mine = await api.done(
        "GET", "/rate-cards", params={"model": "talk"}, token=api.token(TokenRole.FINANCE, "acme")
    )
    assert [one["owner"] for one in mine["data"]] == [key.tenant_id]


async def test_what_is_not_a_price(embedded: Asking) -> None:
    for change, status, text in (
        ({"usd": "-1"}, 422, "it should be dollars, such as 32.00, in a string"),
        ({"usd": "1e9"}, 422, "it should be dollars, such as 32.00, in a string"),
        (
            {"usd": "0.0001"},
            422,
            "usd: '0.0001' is finer than a nano-dollar for each unit (0.001 per million)",
        ),
        ({"usd": "1000001"}, 422, "usd: '1000001' is not between 0 and one dollar for each token"),
        (
            {"usd": "0.0000000001", "per": "each"},
            422,
            "finer than a nano-dollar for each unit (nine decimals)",
        ),
        ({"per": "minute"}, 422, "text_in is priced per million or each"),
        ({"meter": "duration_ms", "per": "million"}, 422, "duration_ms is priced per minute"),
        ({"meter": "untold_in"}, 422, "meter: it should be one of text_in"),
        ({"contract": True, "tenant": "acme"}, 422, "a card is of the contract or of a tenant"),
        ({"tenant": "nobody"}, 404, "no tenant 'nobody'"),
        ({"effective_from": "soon"}, 422, "'soon' is not a time: write a day such as 2026-12-01"),
    ):
        await embedded.refused(status, text, "POST", "/rate-cards/prices", CHANGE | change)
    price = {"usd": "1", "per": "million"}
    for cards, text in (
        ([], "#/cards"),
        ([CARD, CARD], "cards[1]: the same provider, model and instant as cards[0]"),
        ([CARD | {"prices": {}}], "#/cards/0/prices"),
        ([CARD | {"prices": {"duration_ms": price}}], "duration_ms: duration_ms is priced per minute"),
        ([CARD | {"prices": {"untold_in": price}}], "'untold_in' is not a meter"),
        ([CARD | {"checked_on": "2026-01-01"}], "#/cards/0/checked_on: it is unknown here"),
        ([CARD | {"model": " "}], "cards[0].model: expected 1 to 200 printable characters"),
    ):
        await embedded.refused(422, text, "POST", "/rate-cards", {"cards": cards})
    assert (await embedded.done("GET", "/rate-cards", params={"model": "talk"}))["data"] == []
    await embedded.refused(404, "There is no rate card 'card_0'", "GET", "/rate-cards/card_0")
