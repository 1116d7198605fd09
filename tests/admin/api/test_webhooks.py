"""`/webhooks`: secrets that are shown once, URLs that cannot be, and deliveries that are repeated."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, update

from proxy.core.announced import Announced
from proxy.store.database import reading, writing
from proxy.store.deliveries import fan_out
from proxy.store.outbox import Announcement, announce
from proxy.store.schema import delivery, webhook
from proxy.store.tokens import TokenRole
from proxy.store.webhook_tests import TESTS_PENDING_MAX
from proxy.store.webhooks import WEBHOOKS_MAX
from tests.admin.api.asking import Asking
from tests.announcements import receiver

HOOK: dict[str, Any] = {"url": "https://example.com/hook?canary=1", "tenant": "acme"}
FAR = datetime(2099, 1, 1, tzinfo=UTC)  # nothing is sent before


def secrets(api: Asking) -> list[tuple[str, str | None]]:
    with reading(api.engine) as connection:
        rows = connection.execute(select(webhook.c.secret, webhook.c.old_secret).order_by(webhook.c.id))
        return [(row.secret, row.old_secret) for row in rows]


async def test_a_secret_is_shown_once(api: Asking) -> None:
    key = api.books.key("acme")
    made = await api("POST", "/webhooks", HOOK | {"reason": "pilot"}, Idempotency_Key="k")
    again = await api("POST", "/webhooks", HOOK | {"reason": "pilot"}, Idempotency_Key="k")
    secret = made.json["secret"]
    assert secret.startswith("whsec_") and again.json == made.json | {"secret": None}
    assert (again.status, again.place, again.headers["Idempotency-Replayed"]) == (201, made.place, "true")
    shown = await api.done("GET", made.place)
    assert shown == {
        "id": made.json["id"],
        "tenant_id": key.tenant_id,
        "tenant": "acme",
        "url": HOOK["url"],
        "kinds": [kind.value for kind in Announced],
        "created_at": made.json["created_at"],
    }
    assert (await api.done("GET", "/webhooks"))["data"] == [shown]
    rotated = await api("POST", f"{made.place}/rotate", Idempotency_Key="r", Talkmeter_Reason="leaked")
    assert rotated.status == 200 and rotated.json["secret"] not in (None, secret)
    repeated = await api.done("POST", f"{made.place}/rotate", Idempotency_Key="r", Talkmeter_Reason="leaked")
    assert repeated == rotated.json | {"secret": None}
    assert secrets(api) == [(rotated.json["secret"], secret)], "it was rotated once"
    assert await api.done("DELETE", made.place, Talkmeter_Reason="over") == shown
    await api.refused(404, f"There is no webhook '{made.json['id']}'", "GET", made.place)
    await api.problem(404, "POST", f"{made.place}/rotate")
    assert secrets(api) == [("", None)] and (await api.done("GET", "/webhooks"))["data"] == []
    acts = [one for one in await api.acts(tenant="acme") if one["action"].startswith("webhook.")]
    assert [(one["actor"], one["action"], one["reason"]) for one in acts] == [
        ("api:admin-token", "webhook.delete", "over"),
        ("api:admin-token", "webhook.rotate", "leaked"),
        ("api:admin-token", "webhook.create", "pilot"),
    ]
    assert acts[2]["after"]["url"] == "https://example.com/hook"
    assert "canary" not in str(acts) and secret not in str(acts)


async def test_a_delivery_is_repeated(api: Asking) -> None:
    key = api.books.key("acme")
    made = await api.done("POST", "/webhooks", HOOK | {"url": "http://127.0.0.1:1/"})
    other = await api.done("POST", "/webhooks", HOOK | {"kinds": ["spend.anomaly"]})
    with writing(api.engine) as connection:
        announce(connection, [Announcement("a", "budget.cut", key.tenant_id, FAR, {"a": 1})])
        (alert,) = fan_out(connection, FAR)
    path = f"/webhooks/{made['id']}/deliveries"
    (sent,) = (await api.done("GET", path))["data"]
    assert sent == {
        "id": alert.id,
        "message_id": alert.message_id,
        "kind": "budget.cut",
        "at": "2099-01-01T00:00:00Z",
        "webhook_id": made["id"],
        "attempts": 0,
        "status": None,
        "error": None,
        "next_at": "2099-01-01T00:00:00Z",
        "delivered_at": None,
    }
    assert (await api.done("GET", f"/webhooks/{other['id']}/deliveries"))["data"] == []
    again = f"{path}/{alert.id}"
    await api.refused(409, "is still being tried: nothing to repeat", "POST", again)
    with writing(api.engine) as connection:
        connection.execute(update(delivery).values(next_at=None, delivered_at=FAR, status=200))
    answered = await api("POST", again, Talkmeter_Reason="they lost it")
    assert (answered.status, answered.json) == (202, {"webhook_id": made["id"], "alert_id": alert.id})
    assert (await api.done("GET", path))["data"][0]["delivered_at"] is None
    await api.refused(404, f"has no delivery {alert.id + 1}", "POST", f"{path}/{alert.id + 1}")
    unheard = f"/webhooks/{other['id']}/deliveries/{alert.id}"
    await api.refused(404, f"has no delivery {alert.id}", "POST", unheard)
    act = (await api.acts())[0]
    assert (act["action"], act["object"], act["after"]) == (
        "webhook.redeliver",
        made["id"],
        {"delivery": alert.id},
    )
    assert act["reason"] == "they lost it"


async def test_what_cannot_be_made(embedded: Asking) -> None:
    embedded.books.key("acme")
    for change, status, text in (
        ({"url": "http://example.com/"}, 422, "has to be https, since announcements name costs"),
        ({"url": "ftp://example.com/"}, 422, "should be https://HOST/PATH, without a fragment"),
        ({"url": "https://example.com/#a"}, 422, "should be https://HOST/PATH, without a fragment"),
        ({"url": "https://"}, 422, "should be https://HOST/PATH"),
        ({"url": "https://[::1/"}, 422, "cannot be read: it should be https://HOST/PATH"),
        ({"url": "https://example.com:99999/"}, 422, "cannot be read: it should be https://HOST/PATH"),
        ({"url": "https://ann:pw@example.com/"}, 422, "no user and no password"),
        ({"url": "https://example.com/a b"}, 422, "printable ASCII characters, no spaces"),
        ({"url": "https://example.com/ü"}, 422, "printable ASCII characters, no spaces"),
        ({"url": ""}, 422, "#/url"),
        ({"kinds": ["budget.gone"]}, 422, "#/kinds/0"),
        ({"tenant": "nobody"}, 404, "no tenant 'nobody'"),
    ):
        await embedded.refused(status, text, "POST", "/webhooks", HOOK | change)
    confined = embedded.token(TokenRole.ADMIN, "acme")
    text = "confined to tenants: name the one that it is for"
    await embedded.refused(403, text, "POST", "/webhooks", {"url": HOOK["url"]}, token=confined)
    few = await embedded.done("POST", "/webhooks", HOOK | {"kinds": ["spend.anomaly", "budget.cut"] * 2})
    assert few["kinds"] == ["budget.cut", "spend.anomaly"]
    for _ in range(WEBHOOKS_MAX - 1):
        await embedded.done("POST", "/webhooks", HOOK)
    await embedded.refused(409, f"A tenant has at most {WEBHOOKS_MAX} webhooks", "POST", "/webhooks", HOOK)
    ours = await embedded.done("POST", "/webhooks", {"url": HOOK["url"]})
    assert (ours["tenant"], ours["tenant_id"]) == (None, None)
    assert [len(page) for page in await embedded.pages("/webhooks", 20)] == [20, 1]


async def test_a_test_goes_to_that_one_webhook(api: Asking) -> None:
    api.books.key("acme")
    async with receiver() as there:
        made = await api.done("POST", "/webhooks", HOOK | {"url": there.url, "kinds": ["spend.anomaly"]})
        other = await api.done("POST", "/webhooks", HOOK | {"url": there.url})
        path, why = f"/webhooks/{made['id']}/test", "set up"
        sent = await api("POST", path, Talkmeter_Reason=why, Idempotency_Key="t")
        again = await api("POST", path, Talkmeter_Reason=why, Idempotency_Key="t")
        assert (sent.status, again.json) == (202, sent.json)
        assert (sent.json["kind"], sent.json["attempts"]) == ("webhook.test", 0)
        (got,) = await there.has(1)
        async with asyncio.timeout(10):
            while (delivery := await only(api, made["id"]))["delivered_at"] is None:  # noqa: ASYNC110 (the database changes)
                await asyncio.sleep(0.05)
    assert len(there.got) == 1 and got.is_signed_with(made["secret"])
    assert got.id == sent.json["message_id"] == delivery["message_id"]
    assert got.json["type"] == "webhook.test"
    assert got.json["data"] == {
        "webhook_id": made["id"],
        "tenant_id": made["tenant_id"],
        "message": "This is a test: nothing has happened.",
    }
    assert (delivery["id"], delivery["attempts"], delivery["status"]) == (sent.json["id"], 1, 200)
    assert (await api.done("GET", f"/webhooks/{other['id']}/deliveries"))["data"] == []
    assert (await api.done("GET", "/alerts"))["data"] == [], "nothing has happened"
    await api.problem(404, "GET", f"/alerts/{delivery['id']}")
    act = (await api.acts())[0]
    assert (act["action"], act["object"], act["reason"]) == ("webhook.test", made["id"], why)


async def only(api: Asking, webhook_id: str) -> Any:
    (found,) = (await api.done("GET", f"/webhooks/{webhook_id}/deliveries"))["data"]
    return found


async def test_tests_that_fail_are_not_piled_up(embedded: Asking) -> None:
    made = await embedded.done("POST", "/webhooks", {"url": "http://127.0.0.1:1/"})
    path = f"/webhooks/{made['id']}/test"
    for _ in range(TESTS_PENDING_MAX):
        await embedded.done("POST", path)
    await embedded.refused(409, "are still being tried: its deliveries say why", "POST", path)
    await embedded.problem(404, "POST", "/webhooks/whk_0/test")
