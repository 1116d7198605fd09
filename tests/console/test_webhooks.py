"""Webhooks: made, tried out, rotated, deleted; how deliveries went; who may."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import update

from proxy.console.pages.webhooks import state_of
from proxy.store.database import writing
from proxy.store.deliveries import fan_out
from proxy.store.schema import delivery
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking
from tests.announcements import announce, receiver
from tests.console.test_tenants import HOSTILE
from tests.console.visiting import visitor

SECRET = re.compile(r"whsec_[0-9A-Za-z+/=]{40,}")
URL = "https://example.com/hook"
FAR = datetime(2099, 1, 1, tzinfo=UTC)  # nothing is sent before


async def test_made_once_with_a_secret_that_is_shown_once(api: Asking) -> None:
    api.books.key("acme")
    ann = visitor(api)
    page = await ann.get("/webhooks")
    assert "There is no webhook" in page.text
    form = page.form("/webhooks")
    fields = {"url": URL, "tenant": "acme", "kinds": "budget.cut", "reason": "pilot"}
    made = await ann.submit(form, 201, **fields)
    assert len(set(SECRET.findall(made.html))) == 1
    again = await ann.submit(form, 201, **fields)
    assert not SECRET.search(again.html) and "was shown then" in again.text
    (hook,) = (await api.done("GET", "/webhooks"))["data"]
    assert (hook["tenant"], hook["kinds"]) == ("acme", ["budget.cut"])
    place = f"/webhooks/{hook['id']}"
    listed = await ann.get("/webhooks")
    assert place in listed.links and URL in listed.text and "budget.cut" in listed.text
    page = await ann.get(place)
    rotated = await ann.submit(page.form(f"{place}/rotate"), 200, reason="leaked")
    assert set(SECRET.findall(rotated.html)) != set(SECRET.findall(made.html))
    repeated = await ann.submit(page.form(f"{place}/rotate"), 200, reason="leaked")
    assert not SECRET.search(repeated.html)
    assert not SECRET.search((await ann.get(place)).html)
    assert (await ann.submit(page.form(f"{place}/delete"), reason="over")).place == "/webhooks"
    await ann.get(place, 404)
    acts = [one for one in await api.acts() if one["action"].startswith("webhook.")]
    assert [(one["actor"], one["action"], one["reason"]) for one in acts] == [
        ("user:admin@example.com", "webhook.delete", "over"),
        ("user:admin@example.com", "webhook.rotate", "leaked"),
        ("user:admin@example.com", "webhook.create", "pilot"),
    ]


async def test_tried_out(api: Asking) -> None:
    ann = visitor(api)
    async with receiver() as there:
        made = await ann.submit((await ann.get("/webhooks")).form("/webhooks"), 201, url=there.url)
        place = f"/webhooks/{(await api.done('GET', '/webhooks'))['data'][0]['id']}"
        page = await ann.get(place)
        assert "Nothing was sent to it yet" in page.text
        form = page.form(f"{place}/test")
        for _ in range(2):
            assert (await ann.submit(form)).place == place
        (got,) = await there.has(1)
        async with asyncio.timeout(10):
            while "delivered" not in (shown := await ann.get(place)).text:  # noqa: ASYNC110 (the database changes)
                await asyncio.sleep(0.05)
    (secret,) = set(SECRET.findall(made.html))
    assert got.json["type"] == "webhook.test" and got.is_signed_with(secret) and len(there.got) == 1
    assert "A test delivered" in shown.text and " 1 200" in shown.text
    act = (await api.acts())[0]
    assert (act["actor"], act["action"]) == ("user:admin@example.com", "webhook.test")


async def test_deliveries_and_once_more(api: Asking) -> None:
    made = await api.done("POST", "/webhooks", {"url": URL})
    announce(api.engine, "k", FAR, "budget.cut")
    with writing(api.engine) as connection:
        (alert,) = fan_out(connection, FAR)
    ann, place = visitor(api), f"/webhooks/{made['id']}"
    again = f"{place}/deliveries/{alert.id}"
    page = await ann.get(place)
    assert "pending" in page.text and not [one for one in page.forms if one.action == again]
    assert f"/alerts/{alert.id}" in page.links
    csrf = {"csrf": page.form("/sign-out").fields["csrf"]}
    early = await ann.post(again, csrf, 409)
    assert "is still being tried" in early.text
    given_up = {"next_at": None, "status": 503, "error": HOSTILE, "attempts": 8}
    with writing(api.engine) as connection:
        connection.execute(update(delivery).values(given_up))
    page = await ann.get(place)
    assert "given up" in page.text and "503" in page.text and HOSTILE in page.text
    assert "<script>alert" not in page.html
    assert (await ann.submit(page.form(again))).place == place
    (row,) = (await api.done("GET", f"{place}/deliveries"))["data"]
    assert row["error"] is None or row["attempts"] > 0
    await ann.post(f"{place}/deliveries/99999", csrf, 404)


def test_states() -> None:
    at = (FAR + timedelta(days=1)).isoformat()
    base: dict[str, Any] = {"delivered_at": None, "next_at": at, "attempts": 0, "error": None}
    for change, expected in (
        ({}, ("quiet", "pending")),
        ({"attempts": 1}, ("quiet", "pending")),
        ({"attempts": 1, "error": "it answered 503"}, ("warning", "failing")),
        ({"attempts": 2}, ("warning", "failing")),
        ({"next_at": None}, ("bad", "given up")),
        ({"next_at": None, "delivered_at": at}, ("ok", "delivered")),
    ):
        assert state_of(base | change) == expected


async def test_what_was_typed_is_kept(embedded: Asking) -> None:
    ann = visitor(embedded)
    form = (await ann.get("/webhooks")).form("/webhooks")
    for fields, status, said in (
        ({"url": "http://example.com/"}, 422, "has to be https"),
        ({"url": HOSTILE, "reason": HOSTILE}, 422, "printable ASCII characters"),
        ({"url": URL, "tenant": "nobody"}, 404, "no tenant 'nobody'"),
        ({"url": f"https://example.com/{'x' * 2_000}"}, 422, "2000"),
    ):
        shown = await ann.submit(form, status, **fields)
        assert said in shown.text.replace(",", "") or said in shown.text
        kept = shown.form("/webhooks").fields
        assert {name: kept[name] for name in fields} == fields and "<script>alert" not in shown.html
    assert (await embedded.done("GET", "/webhooks"))["data"] == []


async def test_who_may(embedded: Asking) -> None:
    for tenant in ("acme", "globex"):
        embedded.books.key(tenant)
    made = await embedded.done("POST", "/webhooks", {"url": URL, "tenant": "acme"})
    place = f"/webhooks/{made['id']}"
    auditor = visitor(embedded, TokenRole.AUDITOR, "acme")
    shown = await auditor.get(place)
    assert URL in shown.text and [one.action for one in shown.forms] == ["/sign-out"]
    csrf = {"csrf": shown.form("/sign-out").fields["csrf"], "url": URL}
    other = visitor(embedded, TokenRole.ADMIN, "globex")
    assert URL not in (await other.get("/webhooks")).text
    await other.get(place, 404)
    others = {"csrf": (await other.get("/webhooks")).form("/sign-out").fields["csrf"], "url": URL}
    for path in (f"{place}/test", f"{place}/rotate", f"{place}/delete", f"{place}/deliveries/1"):
        await auditor.post(path, csrf, 403)
        await other.post(path, others, 404)
    await auditor.post("/webhooks", csrf, 403)
    await other.post("/webhooks", others, 403)
    for role in (TokenRole.FINANCE, TokenRole.VIEWER):
        for path in ("/webhooks", place):
            await visitor(embedded, role, "acme").get(path, 403)
    assert len((await embedded.done("GET", "/webhooks"))["data"]) == 1
