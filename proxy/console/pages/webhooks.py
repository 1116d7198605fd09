"""Webhooks: where announcements are sent, how that went, and trying one out."""

import asyncio
from collections.abc import Mapping
from typing import Any

from proxy.admin.api.problems import Problem
from proxy.admin.api.routes import ADMINS, READERS
from proxy.console.alert_words import KINDS
from proxy.console.desk import Desk
from proxy.console.errors import errors_of, raise_unless_told
from proxy.console.views import Moved, Page, View

PAGE_ROWS = 50
HOOK = "/webhooks/{webhook_id}"
TYPED = ("url", "tenant", "reason")


async def show_webhooks(desk: Desk) -> View:
    """GET /webhooks."""
    return await _list(desk, dict.fromkeys(TYPED, ""), [])


async def create_webhook(desk: Desk) -> View:
    """POST /webhooks: the answer itself shows the secret, which nothing else ever does."""
    typed = {name: desk.field(name) for name in TYPED}
    kinds = desk.fields("kinds")
    try:
        made = await desk.post("/webhooks", {**desk.filled(*TYPED), "kinds": kinds})
    except Problem as problem:
        raise_unless_told(problem)
        return await _list(desk, typed, kinds, problem)
    return View("pages/webhook_made.html", {"made": made, "is_rotated": False}, 201)


async def _list(
    desk: Desk, typed: Mapping[str, str], kinds: list[str], problem: Problem | None = None
) -> View:
    tenant = desk.query.get("tenant") if problem is None else None
    page, tenants = await asyncio.gather(
        desk.get("/webhooks", tenant=tenant, limit=PAGE_ROWS, after=desk.query.get("after")),
        desk.all_of("/tenants", pages_max=1),
    )
    shown = {
        "rows": page["data"],
        "next": page["next"],
        "tenants": [one for one in tenants if one["archived_at"] is None],
        "kinds": KINDS,
        "kinds_count": len(KINDS),
        "chosen": kinds,
        "typed": typed,
        "problem": problem.as_json() if problem else None,
        "errors": errors_of(problem),
    }
    return View("pages/webhooks.html", shown, problem.status if problem else 200)


async def show_webhook(desk: Desk) -> View:
    """GET /webhooks/{webhook_id}: what it is sent, and how that went."""
    return await _whole(desk)


async def _whole(desk: Desk, problem: Problem | None = None) -> View:
    params = {"webhook_id": desk.path["webhook_id"]}
    hook, page = await asyncio.gather(
        desk.get(HOOK, **params),
        desk.get(f"{HOOK}/deliveries", **params, limit=PAGE_ROWS, after=desk.query.get("after")),
    )
    shown = {
        "hook": hook,
        "rows": [{**one, "state": state_of(one)} for one in page["data"]],
        "next": page["next"],
        "kinds": dict(KINDS),
        "kinds_count": len(KINDS),
        "problem": problem.as_json() if problem else None,
    }
    return View("pages/webhook.html", shown, problem.status if problem else 200)


def state_of(delivery: Mapping[str, Any]) -> tuple[str, str]:
    """Return how a delivery went, as a badge shows it."""
    if delivery["delivered_at"] is not None:
        return "ok", "delivered"
    if delivery["next_at"] is None:
        return "bad", "given up"
    return ("warning", "failing") if delivery["attempts"] > 1 or delivery["error"] else ("quiet", "pending")


async def try_out(desk: Desk) -> View | Moved:
    """POST /webhooks/{webhook_id}/test."""
    place = f"/webhooks/{desk.path['webhook_id']}"
    try:
        sent = await desk.post(f"{HOOK}/test", webhook_id=desk.path["webhook_id"])
    except Problem as problem:
        raise_unless_told(problem)
        return await _whole(desk, problem)
    return Moved(place, f"Test {sent['id']} is sent: its line below says how that goes. Load the page again.")


async def rotate(desk: Desk) -> View:
    """POST /webhooks/{webhook_id}/rotate: the answer itself shows the new secret."""
    made = await desk.post(f"{HOOK}/rotate", webhook_id=desk.path["webhook_id"])
    return View("pages/webhook_made.html", {"made": made, "is_rotated": True})


async def delete(desk: Desk) -> Moved:
    """POST /webhooks/{webhook_id}/delete."""
    await desk.ask("DELETE", HOOK, {"webhook_id": desk.path["webhook_id"]})
    return Moved("/webhooks", "The webhook is deleted: nothing more is sent to it.")


async def send_again(desk: Desk) -> View | Moved:
    """POST /webhooks/{webhook_id}/deliveries/{alert_id}."""
    params = {name: desk.path[name] for name in ("webhook_id", "alert_id")}
    try:
        await desk.ask("POST", f"{HOOK}/deliveries/{{alert_id}}", params)
    except Problem as problem:
        raise_unless_told(problem)
        return await _whole(desk, problem)
    return Moved(f"/webhooks/{params['webhook_id']}", f"Delivery {params['alert_id']} is made again.")


def _post(path: str, handler: Any) -> Page:
    return Page(path=path, roles=ADMINS, handler=handler, key="alerts", method="POST")


PAGES = (
    Page(path="/webhooks", roles=READERS, handler=show_webhooks, key="alerts"),
    Page(path=HOOK, roles=READERS, handler=show_webhook, key="alerts"),
    _post("/webhooks", create_webhook),
    _post(f"{HOOK}/test", try_out),
    _post(f"{HOOK}/rotate", rotate),
    _post(f"{HOOK}/delete", delete),
    _post(f"{HOOK}/deliveries/{{alert_id}}", send_again),
)
