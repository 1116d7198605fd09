"""Sessions: conversations found by what is known of them, and one of them turn by turn."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from proxy.admin.api.problems import Problem
from proxy.admin.api.routes import EVERYONE
from proxy.console.choices import page_number
from proxy.console.desk import Desk
from proxy.console.errors import errors_of
from proxy.console.turns import tell
from proxy.console.views import Page, View
from proxy.console.wording import BAD_ENDINGS, ENDINGS, PARTS, said
from proxy.store.session_filters import State
from proxy.store.tokens import TokenRole

LIMIT = 50
FILTERS = ("tenant", "project", "key", "end_user", "model", "tag", "reason", "state", "from", "to", "id")
FEW = ("tenant", "state", "from", "to", "id", "tag")  # the others are folded away
SEARCHED = ("model", "tag", "reason", "id")  # in some days only
RECENT = timedelta(days=30)
_STATES = {State.LIVE: "going on", State.ENDED: "ended", State.LOST: "lost: their instance died"}
_UNEXPLAINED = (409, 422)  # an account that cannot be made: archived, or too long


async def show_sessions(desk: Desk) -> View:
    """GET /sessions."""
    wanted = {name: desk.query[name] for name in FILTERS if name in desk.query}
    found: Mapping[str, Any] = {"data": [], "next": None}
    problem = None
    try:
        found = await desk.get("/sessions", **wanted, limit=LIMIT, after=desk.query.get("after"))
    except Problem as refused:
        if refused.status >= 500 or refused.kind == "forbidden":
            raise
        problem = refused
    rows = found["data"]
    shown = {
        "sessions": [_listed(one) for one in rows],
        "sum_nanousd": sum(one["cost_nanousd"] or 0 for one in rows),
        "responses": sum(one["responses"] for one in rows),
        "wanted": wanted,
        "typed": {name: wanted.get(name, "") for name in FILTERS},
        "states": [("", "any"), *((one.value, text) for one, text in _STATES.items())],
        "reasons": _reasons(wanted.get("reason", "")),
        "is_folded": not any(name in wanted for name in FILTERS if name not in FEW),
        "next_href": desk.href(after=found["next"]) if found["next"] else "",
        "first_href": desk.href(after=None) if "after" in desk.query else "",
        "recent_href": _recent_href(desk, problem),
        "problem": problem.as_json() if problem else None,
        "errors": errors_of(problem),
        "is_owed": desk.caller.role is TokenRole.VIEWER,
    }
    return View("pages/sessions.html", shown, problem.status if problem else 200)


def _recent_href(desk: Desk, problem: Problem | None) -> str:
    """Return where the same is looked for in few days; empty where it was not too many."""
    if "from" not in errors_of(problem) or not any(name in desk.query for name in SEARCHED):
        return ""
    return desk.href(**{"from": f"{(desk.at - RECENT).date()}"}, to=None, after=None)


def _reasons(chosen: str) -> list[tuple[str, str]]:
    other = [(chosen, chosen)] if chosen and chosen not in ENDINGS else []
    return [("", "any"), *other, *ENDINGS.items()]


def _listed(one: Mapping[str, Any]) -> dict[str, Any]:
    return {**one, "ending": ending_of(one)}


def ending_of(one: Mapping[str, Any]) -> tuple[str, str]:
    """Return how a session ended: kind and text of a badge."""
    if one["live"]:
        return "ok", "live"
    if one["closed_at"] is None:
        return "warning", "lost: its instance died"
    return "bad" if one["reason"] in BAD_ENDINGS else "quiet", said(ENDINGS, one["reason"]) or "ended"


async def show_session(desk: Desk) -> View:
    """GET /sessions/{id}."""
    session_id = desk.path["session_id"]
    whole, (account, problem) = await asyncio.gather(
        desk.get("/sessions/{session_id}", session_id=session_id), _account(desk, session_id)
    )
    told = tell(whole["turns"], account["things"] if account else None, page_number(desk.query.get("turns")))
    shown = {
        "session": whole,
        "ending": ending_of(whole),
        "told": told,
        "total": account["total"] if account else None,
        "parts": PARTS,
        "problem": problem.as_json() if problem else None,
        "last": told.first + len(told.turns) - 1,
        "previous_href": desk.href(turns=f"{told.page - 1}") if told.page > 1 else "",
        "next_href": desk.href(turns=f"{told.page + 1}") if told.page < told.pages else "",
        "is_owed": desk.caller.role is TokenRole.VIEWER,
    }
    return View("pages/session.html", shown)


async def _account(desk: Desk, session_id: str) -> tuple[Mapping[str, Any] | None, Problem | None]:
    """Return a session's account, or why there is none."""
    try:
        return await desk.get("/sessions/{session_id}/account", session_id=session_id), None
    except Problem as problem:
        if problem.status not in _UNEXPLAINED:
            raise
        return None, problem


PAGES = (
    Page(path="/sessions", roles=EVERYONE, handler=show_sessions, key="sessions"),
    Page(path="/sessions/{session_id}", roles=EVERYONE, handler=show_session, key="sessions"),
)
