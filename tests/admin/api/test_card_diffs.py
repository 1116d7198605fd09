"""`/rate-cards/diff`: what an import would change, before it changes anything."""

import json
from typing import Any

from proxy.store.card_files import FORMAT
from tests.admin.api.asking import Asking
from tests.admin.api.test_rate_cards import CARD


def text_of(*cards: Any) -> dict[str, str]:
    return {"format": "json", "text": json.dumps({"format": FORMAT, "cards": cards})}


def per_million(usd: str) -> dict[str, str]:
    return {"usd": usd, "per": "million"}


async def test_a_card_beside_the_one_that_holds(api: Asking) -> None:
    await api.done("POST", "/rate-cards", {"cards": [CARD]})
    prices = {
        "text_in": per_million("5.00"),
        "audio_out": CARD["prices"]["audio_out"],
        "audio_in": per_million("8.00"),
    }
    later = CARD | {"effective_from": "2027-01-01", "prices": prices}
    told = await api.done("POST", "/rate-cards/diff", text_of(CARD, later))
    there, new = told["cards"]
    assert (told["owner"], told["left_out"]) == ("public", [])
    assert (there["what"], {one["what"] for one in there["meters"]}) == ("unchanged", {"same"})
    assert new == {
        "provider": "openai",
        "model": "talk",
        "effective_from": "2027-01-01T00:00:00Z",
        "source": "a letter",
        "prices": {
            "audio_in": per_million("8.00"),
            "audio_out": per_million("64.00"),
            "text_in": per_million("5.00"),
        },
        "what": "new",
        "held_from": "2026-01-01T00:00:00Z",
        "meters": [
            {
                "meter": "text_in",
                "what": "changed",
                "before": per_million("4.00"),
                "after": per_million("5.00"),
            },
            {"meter": "audio_in", "what": "new", "before": None, "after": per_million("8.00")},
            {
                "meter": "audio_out",
                "what": "same",
                "before": per_million("64.00"),
                "after": per_million("64.00"),
            },
            {
                "meter": "duration_ms",
                "what": "gone",
                "before": {"usd": "0.017", "per": "minute"},
                "after": None,
            },
        ],
    }
    assert len((await api.done("GET", "/rate-cards", params={"model": "talk"}))["data"]) == 1
    names = ("provider", "model", "effective_from", "source", "prices")
    added = await api.done("POST", "/rate-cards", {"cards": [{name: new[name] for name in names}]})
    assert [one["effective_from"] for one in added["added"]] == ["2027-01-01T00:00:00Z"]
    again = await api.done("POST", "/rate-cards/diff", text_of(later))
    assert [one["what"] for one in again["cards"]] == ["unchanged"]
    other = await api.done("POST", "/rate-cards/diff", text_of(later | {"prices": CARD["prices"]}))
    assert [one["what"] for one in other["cards"]] == ["conflict"]


async def test_cards_of_one_file_supersede_each_other_and_others_prices_do_not_count(
    embedded: Asking,
) -> None:
    embedded.books.key("acme")
    await embedded.done("POST", "/rate-cards", {"cards": [CARD]})
    second = CARD | {"effective_from": "2027-01-01", "prices": {"text_in": per_million("2")}}
    text = text_of(CARD, second)
    for whose in ({"contract": True}, {"tenant": "acme"}):
        first, last = (await embedded.done("POST", "/rate-cards/diff", text | whose))["cards"]
        assert (first["what"], first["held_from"]) == ("new", None)
        assert last["held_from"] == "2026-01-01T00:00:00Z"
        assert {one["meter"]: one["what"] for one in last["meters"]} == {
            "text_in": "changed",
            "audio_out": "gone",
            "duration_ms": "gone",
        }


async def test_csv_and_what_others_publish(embedded: Asking) -> None:
    row = "openai,talk,2027-01-01,text_in,1.50,million,a list"
    csv = f"provider,model,effective_from,meter,usd,per,source\n{row}\n"
    told = await embedded.done("POST", "/rate-cards/diff", {"format": "csv", "text": csv})
    assert [(one["model"], one["prices"]) for one in told["cards"]] == [
        ("talk", {"text_in": per_million("1.50")})
    ]
    text = json.dumps(
        {
            "sample_spec": {},
            "gpt-talk": {
                "litellm_provider": "openai",
                "mode": "realtime",
                "input_cost_per_token": 0.000004,
                "output_cost_per_token": 0.0000000000001,
            },
        }
    )
    published = {"format": "litellm", "text": text, "effective_from": "2027-02-01"}
    told = await embedded.done("POST", "/rate-cards/diff", published)
    (card,) = told["cards"]
    assert (card["model"], card["what"], card["effective_from"]) == (
        "gpt-talk",
        "new",
        "2027-02-01T00:00:00Z",
    )
    assert card["prices"] == {"text_in": per_million("4.00")}
    assert card["source"].startswith("litellm's published prices (SHA-256 ")
    assert len(told["left_out"]) == 1 and told["left_out"][0].startswith("gpt-talk: ")


async def test_what_cannot_be_read(embedded: Asking) -> None:
    for body, status, said in (
        ({"format": "json", "text": "{"}, 422, "This is not JSON"),
        ({"format": "csv", "text": "a,b"}, 422, "expected the columns provider,model"),
        ({"format": "litellm", "text": "{}"}, 422, "no models of 'openai'"),
        ({"format": "xml", "text": "<a/>"}, 422, "#/format"),
        ({"format": "json", "text": ""}, 422, "#/text"),
        (text_of(CARD) | {"tenant": "nobody"}, 404, "no tenant 'nobody'"),
        (text_of(CARD) | {"tenant": "acme", "contract": True}, 422, "of the contract or of a tenant"),
        (text_of(CARD | {"effective_from": "soon"}), 422, "cards[0].effective_from"),
    ):
        await embedded.refused(status, said, "POST", "/rate-cards/diff", body)
