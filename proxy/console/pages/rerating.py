"""Rating again: what was booked otherwise than cards and markups say now, as a diff; then corrected."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from proxy.admin.api.problems import Problem
from proxy.admin.api.routes import BOOKKEEPERS, FINANCE_READERS
from proxy.console.desk import Desk
from proxy.console.errors import errors_of, raise_unless_told
from proxy.console.views import Page, View

PATH = "/rate-cards/rerate"
FILTERS = ("tenant", "project", "model", "session", "from", "to")
PORTIONS_S = 3.0  # so long one form goes on from portion to portion; then the page asks to go on
SHOWN_MAX = 500  # changes on a page


async def look(desk: Desk) -> View:
    """GET /rate-cards/rerate: what differs; nothing is looked at before somebody asks."""
    given = {name: desk.query.get(name, "") for name in FILTERS}
    is_asked = "look" in desk.query
    told: Mapping[str, Any] = {"data": [], "next": None}
    problem = None
    try:
        if is_asked:
            told = await desk.get(
                "/reratings", **_params(given, desk.query.get("unrated", "")), after=desk.query.get("after")
            )
    except Problem as found:
        raise_unless_told(found)
        problem = found
    shown = {
        "given": given,
        "unrated": desk.query.get("unrated", ""),
        "is_asked": is_asked and problem is None,
        "reason": "",
        **_told(told["data"], told["next"], problem),
    }
    return View("pages/rerating.html", shown, problem.status if problem else 200)


async def correct(desk: Desk) -> View:
    """POST /rate-cards/rerate: reverse and replace what differs, portion by portion."""
    given = {name: desk.field(name) for name in FILTERS}
    unrated, after, reason = desk.field("unrated"), desk.field("after") or None, desk.field("reason")
    done: list[Any] = []
    try:
        until = time.monotonic() + PORTIONS_S
        while True:
            body = {**_params(given, unrated), "reason": reason, **({"after": after} if after else {})}
            told = await desk.post("/reratings", body)
            done += told["data"]
            after = told["next"]
            if after is None or time.monotonic() > until or len(done) >= SHOWN_MAX:
                break
    except Problem as problem:
        raise_unless_told(problem)
        if done:
            return _booked(given, unrated, reason, done, after, _before(desk), problem)
        shown = {"given": given, "unrated": unrated, "is_asked": False, "reason": reason}
        return View("pages/rerating.html", {**shown, **_told([], None, problem)}, problem.status)
    return _booked(given, unrated, reason, done, after, _before(desk), None)


def _before(desk: Desk) -> int:
    """Return how many entries the forms before this one have corrected."""
    said = desk.field("booked")
    return int(said) if said.isdecimal() and len(said) < 12 else 0


def _booked(
    given: Mapping[str, str],
    unrated: str,
    reason: str,
    done: Sequence[Any],
    after: str | None,
    before: int,
    problem: Problem | None,
) -> View:
    shown = {
        "given": given,
        "unrated": unrated,
        "reason": reason,
        "booked": before + len(done),
        **_told(done, after, problem),
    }
    return View("pages/rerated.html", shown, problem.status if problem else 200)


def _params(given: Mapping[str, str], unrated: str) -> dict[str, Any]:
    """Return filters as the API takes them, without those that are empty."""
    found: dict[str, Any] = {name: value for name, value in given.items() if value}
    return {**found, **({"unrated": True} if unrated else {})}


def _told(changes: Sequence[Mapping[str, Any]], after: str | None, problem: Problem | None) -> dict[str, Any]:
    return {
        "changes": changes[:SHOWN_MAX],
        "count": len(changes),
        "next": after,
        "cost_nanousd": sum(one["difference_nanousd"] for one in changes),
        "billed_nanousd": sum(one["billed_difference_nanousd"] for one in changes),
        "problem": problem.as_json() if problem else None,
        "errors": errors_of(problem),
    }


PAGES = (
    Page(path=PATH, roles=FINANCE_READERS, handler=look, key="rate-cards"),
    Page(path=PATH, roles=BOOKKEEPERS, handler=correct, key="rate-cards", method="POST"),
)
