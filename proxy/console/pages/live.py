"""Live: the conversations that go on, what each costs by now, and a way to stop it."""

from typing import Any
from urllib.parse import urlencode

from proxy.admin.api.problems import Problem
from proxy.admin.api.routes import ADMINS, EVERYONE
from proxy.console.choices import tenant_options
from proxy.console.desk import Desk
from proxy.console.feeds import FEEDS
from proxy.console.render import render
from proxy.console.views import Answer, Moved, Page, View
from proxy.store.tokens import TokenRole

PAGES_MAX = 5  # of 1,000 sessions each: those that are summed up
ROWS_MAX = 100  # that are shown
SOON_MIN = 5  # minutes that the narrowest budget still lasts: shown as a warning from here on
STOP = "DELETE /sessions/{session_id}"
SORTS = {"burn": "Burn rate", "cost": "Cost so far", "opened": "Longest running", "newest": "Newest first"}
_ROWS = "pages/live_rows.html"

Row = dict[str, Any]


async def show(desk: Desk) -> View:
    """GET /live."""
    tenant = desk.query.get("tenant", "")
    shown = await _look(desk)
    return View(
        "pages/live.html",
        shown
        | {
            "tenants": await tenant_options(desk, tenant),
            "sorts": [*SORTS.items()][0 if shown["sees_costs"] else 2 :],
            "events": desk.href("/live/events"),
            "tenant": tenant,
        },
    )


async def events(desk: Desk) -> Answer:
    """GET /live/events: the rows again, whenever they have changed."""

    async def look(csrf: str) -> str:
        return render(_ROWS, {**await _look(desk), "csrf": csrf})

    caller = desk.caller
    key = ("live", caller.role, caller.within, desk.query.get("tenant"), _sort(desk))
    return await desk.request.app[FEEDS].send(desk, key, look)


def _sort(desk: Desk) -> str:
    sort = desk.query.get("sort", "")
    if sort in SORTS:
        return sort
    return "burn" if desk.caller.role is not TokenRole.VIEWER else "newest"


async def _look(desk: Desk) -> dict[str, Any]:
    """Return what the rows' template shows, but for the token of its forms: the same for the whole scope."""
    tenant = desk.query.get("tenant")
    found = await desk.all_of("/sessions", PAGES_MAX, live=True, tenant=tenant)
    rows = ordered([row_of(one) for one in found], _sort(desk))
    burn = sum(one["burn"] or 0 for one in rows)
    return {
        "rows": rows[:ROWS_MAX],
        "running": len(rows),
        "burn": burn,
        "burn_by_hour": 60 * burn,
        "cost": sum(one["cost"] or 0 for one in rows),
        "sort": _sort(desk),
        "tenant": tenant or "",
        "sees_costs": desk.caller.role is not TokenRole.VIEWER,
        "may_stop": desk.may(STOP),
    }


def row_of(one: Row) -> Row:
    """Return a live session as a row: amounts in nano-dollars, None for those who see no costs."""
    cost, running, burn, left = (one[f"{name}_nanousd"] for name in ("cost", "running", "burn", "left"))
    lasts_min = None if left is None or not burn else max(0, left) / burn
    return {
        "id": one["id"],
        "tenant": one["tenant"],
        "project": one["project"],
        "key": one["key"] or one["api_key_id"],
        "end_user": one["end_user"],
        "model": one["model"],
        "opened_at": one["opened_at"],
        "seconds": one["seconds"],
        "responses": one["responses"],
        "cost": None if cost is None else cost + (running or 0),
        "running": running or 0,
        "burn": burn,
        "left": left,
        "lasts_s": None if lasts_min is None else round(60 * lasts_min),
        "tone": _tone(left, lasts_min),
    }


def _tone(left: int | None, lasts_min: float | None) -> str:
    if left is not None and left <= 0:
        return "bad"
    return "warning" if lasts_min is not None and lasts_min <= SOON_MIN else ""


def ordered(rows: list[Row], sort: str) -> list[Row]:
    """Return rows in one of the orders of `SORTS`; where they are equal, the newest first."""
    rows = sorted(rows, key=lambda one: (one["opened_at"], one["id"]), reverse=sort != "opened")
    return sorted(rows, key=lambda one: -(one[sort] or 0)) if sort in ("burn", "cost") else rows


# --- Stopping one


async def show_stop(desk: Desk) -> View:
    """GET /live/{session_id}/stop: what the dialog asks, as a page of its own."""
    return await _stop_form(desk)


async def stop(desk: Desk) -> Answer:
    """POST /live/{session_id}/stop."""
    session_id, tenant = desk.path["session_id"], desk.field("tenant")
    if not desk.field("reason"):
        return await _stop_form(
            desk, error="Say why: the app is told, and the audit log keeps it.", status=422
        )
    try:
        await desk.ask("DELETE", "/sessions/{session_id}", {"session_id": session_id})
    except Problem as problem:
        if problem.status == 404 or problem.status >= 500:
            raise
        return await _stop_form(desk, problem=problem.as_json(), status=problem.status)
    back = f"/live?{urlencode({'tenant': tenant})}" if tenant else "/live"
    return Moved(back, f"Conversation {session_id} is being stopped: it ends within two seconds.")


async def _stop_form(desk: Desk, *, error: str = "", problem: Row | None = None, status: int = 200) -> View:
    one = await desk.get("/sessions/{session_id}", session_id=desk.path["session_id"])
    shown = {
        "session": one,
        "reason": desk.field("reason"),
        "tenant": desk.field("tenant"),
        "error": error,
        "problem": problem,
    }
    return View("pages/live_stop.html", shown, status)


PAGES = (
    Page(path="/live", roles=EVERYONE, handler=show, key="live"),
    Page(path="/live/events", roles=EVERYONE, handler=events, key="live"),
    Page(path="/live/{session_id}/stop", roles=ADMINS, handler=show_stop, key="live"),
    Page(path="/live/{session_id}/stop", roles=ADMINS, handler=stop, key="live", method="POST"),
)
