"""Close: accounting months, what stands in the way of closing one, and closing it."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from proxy.admin.api.problems import Problem
from proxy.admin.api.routes import FINANCE_READERS
from proxy.console.desk import Desk
from proxy.console.errors import errors_of, raise_unless_told
from proxy.console.pages.approvals import CLOSE
from proxy.console.views import Moved, Page, View
from proxy.store.approvals import State
from proxy.store.obstacles import DAYS, JOURNALS, NAMES, UNRATED, ZONE
from proxy.store.periods import CLOSED, OVER, RUNNING

TONES = {CLOSED: "ok", OVER: "warning", RUNNING: "quiet"}
TITLES = {
    JOURNALS: "Usage may still come",
    UNRATED: "Entries without a price",
    ZONE: "Months of another time zone",
    DAYS: "Days that were not reconciled",
}
OVERRIDE = "override-"  # before the name of an obstacle, the field of its reason
SURE = "sure"
_ENTRY = re.compile(r"entry (\d+)\b")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


async def show_months(desk: Desk) -> View:
    """GET /close."""
    months, waiting = await asyncio.gather(desk.get("/periods"), _waiting(desk))
    shown = {
        "months": [_month(one, waiting.get(one["period"])) for one in reversed(months["data"])],
        "next_up": next((one["period"] for one in months["data"] if one["state"] == OVER), None),
    }
    return View("pages/close.html", shown)


async def show_month(desk: Desk) -> View:
    """GET /close/{period}."""
    return await _shown(desk, {})


async def close(desk: Desk) -> View | Moved:
    """POST /close/{period}: close it for good, or ask for that."""
    period = desk.path["period"]
    typed = {name: desk.field(f"{OVERRIDE}{name}") for name in NAMES} | {"reason": desk.field("reason")}
    if desk.field(SURE) != "yes":
        return await _shown(desk, typed, errors={SURE: "Say that you are sure: nobody can open it again."})
    overrides = {name: typed[name] for name in NAMES if typed[name]}
    body = {"overrides": overrides, **desk.filled("reason")}
    try:
        done = await desk.post("/periods/{period}/close", body, period=period)
    except Problem as problem:
        raise_unless_told(problem)
        return await _shown(desk, typed, problem)
    if "asked_by" in done:
        return Moved(
            f"/close/{period}", "It is asked for. Nothing is closed until somebody else approves it."
        )
    said = f"{period} is closed. Statements: {done['statements']}. Keep the digest below elsewhere."
    return Moved(f"/close/{period}", said)


async def _shown(
    desk: Desk,
    typed: Mapping[str, str],
    problem: Problem | None = None,
    errors: Mapping[str, str] | None = None,
) -> View:
    period = desk.path["period"]
    months, waiting = await asyncio.gather(desk.get("/periods"), _waiting(desk))
    found = next((one for one in months["data"] if one["period"] == period), None)
    standing, not_yet = await _standing(desk, period, found)
    told = {**errors_of(problem), **(errors or {})}
    shown = {
        "month": _month(found, waiting.get(period)) if found else None,
        "period": period,
        "obstacles": [_obstacle(one, period, typed, told) for one in standing],
        "not_yet": not_yet,
        "typed": {"reason": typed.get("reason", "")},
        "problem": problem.as_json() if problem else None,
        "errors": told,
    }
    return View("pages/close_month.html", shown, problem.status if problem else 422 if errors else 200)


async def _standing(
    desk: Desk, period: str, month: Mapping[str, Any] | None
) -> tuple[Sequence[Mapping[str, Any]], str | None]:
    """Return what stands in the way of closing a month, or why it is not to be closed now at all."""
    if month is not None and month["state"] == CLOSED:
        return (), None
    try:
        found = await desk.get("/periods/{period}", period=period)
    except Problem as problem:
        if problem.kind != "conflict":
            raise
        return (), problem.detail
    return found["obstacles"], None


async def _waiting(desk: Desk) -> Mapping[str, Mapping[str, Any]]:
    """Return the requests for a close that wait, by their months."""
    found = await desk.all_of("/approvals", pages_max=1, state=State.PENDING.value)
    return {one["object"]: one for one in found if one["action"] == CLOSE}


def _month(month: Mapping[str, Any], waits: Mapping[str, Any] | None) -> dict[str, Any]:
    overridden = [{**one, "title": TITLES[one["what"]]} for one in month["overridden"]]
    return {**month, "tone": TONES[month["state"]], "waits": waits, "overridden": overridden}


def _obstacle(
    one: Mapping[str, Any], period: str, typed: Mapping[str, str], errors: Mapping[str, str]
) -> dict[str, Any]:
    """Return an obstacle with where to clear it, and its examples with where each is to be seen."""
    name = one["name"]
    return {
        **one,
        "title": TITLES[name],
        "ways": ways_to_clear(name, period),
        "examples": [(text, _place_of(text)) for text in one["examples"]],
        "field": f"{OVERRIDE}{name}",
        "typed": typed.get(name, ""),
        "error": errors.get(f"overrides/{name}", ""),
    }


def ways_to_clear(name: str, period: str) -> list[tuple[str, str]]:
    """Return links that help with what stands in the way: what each does, and where it leads."""
    first = date.fromisoformat(f"{period}-01")
    after = (first + timedelta(days=32)).replace(day=1)
    ways = {
        JOURNALS: [("See what runs", "/live")],
        UNRATED: [
            ("See them all", f"/ledger?period={period}&unrated=true"),
            ("Give models a price", "/rate-cards"),
        ],
        ZONE: [("See the month's entries", f"/ledger?period={period}")],
        DAYS: [("Compare the days", f"/reconciliation?from={first}&to={after}")],
    }
    return ways[name]


def _place_of(example: str) -> str | None:
    """Return where an example is to be seen: an entry, or a day to compare."""
    if (entry := _ENTRY.match(example)) is not None:
        return f"/entries/{entry[1]}"
    if (day := _DAY.match(example)) is not None:
        first = date.fromisoformat(day[0])
        return f"/reconciliation?from={first}&to={first + timedelta(days=1)}"
    return None


PAGES = (
    Page(path="/close", roles=FINANCE_READERS, handler=show_months, key="close", installation=True),
    Page(path="/close/{period}", roles=FINANCE_READERS, handler=show_month, key="close", installation=True),
    Page(
        path="/close/{period}",
        roles=FINANCE_READERS,
        handler=close,
        key="close",
        method="POST",
        installation=True,
    ),
)
