"""Importing rate cards: a diff first, and what it has shown is what is added."""

import io
import json
from typing import Any

import aiohttp

from proxy.console.desk import FORM_BYTES_MAX
from proxy.console.visitors import COOKIE
from proxy.store.card_files import FORMAT
from tests.admin.api.asking import Asking
from tests.console.test_rate_cards import CARD, PRICES
from tests.console.test_tenants import HOSTILE
from tests.console.visiting import Form, Visitor, visitor

PATH, CONFIRM = "/rate-cards/import", "/rate-cards/import/confirm"
LATER = CARD | {
    "effective_from": "2999-01-01",
    "prices": {**PRICES, "text_in": {"usd": "5.00", "per": "million"}},
}


def text_of(*cards: Any) -> str:
    return json.dumps({"format": FORMAT, "cards": cards})


async def opened(ann: Visitor) -> Form:
    return (await ann.get(PATH)).form(PATH)


async def test_a_diff_first_then_what_it_has_shown(api: Asking) -> None:
    await api.done("POST", "/rate-cards", {"cards": [CARD]})
    ann = visitor(api)
    form = await opened(ann)
    shown = await ann.submit(form, 200, format="json", text=text_of(CARD, LATER))
    assert "New cards 1" in shown.text and "There already 1" in shown.text
    assert "Text input $4.00 $5.00 changes" in shown.text and "Audio output" not in shown.text
    assert len((await api.done("GET", "/rate-cards", params={"model": "talk"}))["data"]) == 1
    confirm = shown.form(CONFIRM)
    for _ in range(2):
        assert (await ann.submit(confirm)).place == "/rate-cards"
    _, made = (await api.done("GET", "/rate-cards", params={"model": "talk"}))["data"]
    assert (made["effective_from"], made["prices"]["text_in"]["usd"]) == ("2999-01-01T00:00:00Z", "5.00")
    acts = await api.acts(action="prices.import")
    assert [one["actor"] for one in acts] == ["user:admin@example.com", "api:admin-token"]
    again = await ann.submit(form, 200, format="json", text=text_of(CARD, LATER))
    assert "Nothing changes" in again.text and not [one for one in again.forms if one.action == CONFIRM]


async def test_csv_of_a_tenant_and_a_price_that_goes(embedded: Asking) -> None:
    key = embedded.books.key("acme")
    row = "openai,talk,{day},{meter},1.50,million,a list"
    rows = [row.format(day="2027-01-01", meter=meter) for meter in ("text_in", "audio_in")]
    rows.append(row.format(day="2027-02-01", meter="text_in"))
    csv = "\n".join(("provider,model,effective_from,meter,usd,per,source", *rows))
    ann = visitor(embedded)
    fields = {"format": "csv", "text": csv, "owner": "tenant", "tenant": "acme"}
    shown = await ann.submit(await opened(ann), 200, **fields)
    assert "Audio input $1.50 – no price any more" in shown.text
    await ann.submit(shown.form(CONFIRM))
    cards = (await embedded.done("GET", "/rate-cards", params={"model": "talk"}))["data"]
    assert {one["owner"] for one in cards} == {key.tenant_id} and len(cards) == 2


async def test_what_is_in_conflict_cannot_be_added(embedded: Asking) -> None:
    await embedded.done("POST", "/rate-cards", {"cards": [CARD]})
    ann = visitor(embedded)
    other = LATER | {"effective_from": CARD["effective_from"]}
    shown = await ann.submit(await opened(ann), 200, format="json", text=text_of(other))
    assert "In conflict 1" in shown.text and not [one for one in shown.forms if one.action == CONFIRM]


async def test_published_prices(embedded: Asking) -> None:
    entry = {"litellm_provider": "openai", "mode": "realtime", "input_cost_per_token": 0.000004}
    text = json.dumps({"sample_spec": {}, "gpt-talk": entry | {"output_cost_per_token": 1e-13}})
    ann = visitor(embedded)
    fields = {"format": "litellm", "text": text, "models": "gpt-talk", "effective_from": "2027-01-01"}
    shown = await ann.submit(await opened(ann), 200, **fields)
    assert "gpt-talk" in shown.text and "$4.00" in shown.text and "Left out" in shown.text
    await ann.submit(shown.form(CONFIRM))
    (made,) = (await embedded.done("GET", "/rate-cards", params={"model": "gpt-talk"}))["data"]
    assert made["source"].startswith("litellm's published prices")


async def test_what_cannot_be_read_is_kept_as_it_was_pasted(embedded: Asking) -> None:
    ann = visitor(embedded)
    form = await opened(ann)
    for text, said in (
        ("", "choose a file, or paste what is in it"),
        ("{", "This is not JSON"),
        (HOSTILE, "This is not JSON"),
        (text_of(CARD | {"effective_from": "soon"}), "cards[0].effective_from"),
        (text_of(CARD | {"model": "x" * 2_000}), "cards[0].model"),
    ):
        shown = await ann.submit(form, 422, format="json", text=text)
        assert said in shown.text and "<script>alert" not in shown.html
        assert shown.form(PATH).fields["text"] == text
    hostile = CARD | {"model": HOSTILE}
    shown = await ann.submit(form, 200, format="json", text=text_of(hostile))
    assert HOSTILE in shown.text and "<script>alert" not in shown.html
    await ann.submit(shown.form(CONFIRM))
    broken = await ann.submit(shown.form(CONFIRM), 422, cards="[")
    assert "compare the file again" in broken.text


async def send_file(ann: Visitor, form: Form, content: bytes) -> tuple[int, str]:
    data = aiohttp.FormData()
    for name, value in {**form.fields, "format": "json"}.items():
        if name != "file":
            data.add_field(name, value)
    data.add_field("file", io.BytesIO(content), filename="cards.json", content_type="application/json")
    headers = {"Origin": ann.url, "Sec-Fetch-Site": "same-origin", "Cookie": f"{COOKIE}={ann.secret}"}
    async with ann.http.post(f"{ann.url}{PATH}", data=data, headers=headers) as answer:
        return answer.status, await answer.text()


async def test_a_file(embedded: Asking) -> None:
    ann = visitor(embedded)
    form = await opened(ann)
    status, html = await send_file(ann, form, text_of(CARD).encode())
    assert status == 200 and "talk" in html and CONFIRM in html
    status, html = await send_file(ann, form, b"\xef\xbb\xbf" + text_of(CARD).encode())
    assert status == 200
    status, html = await send_file(ann, form, b"\xff\xfe")
    assert status == 422 and "the file is not UTF-8 text" in html
    status, html = await send_file(ann, form, b"x" * (FORM_BYTES_MAX + 1))
    assert status == 413 and "at most 8,388,608 bytes" in html
