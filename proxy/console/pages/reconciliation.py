"""Reconciliation: the ledger beside the provider's bill, and what the lines of that mean."""

import asyncio
from collections.abc import Mapping
from typing import Any

from proxy.admin.api.problems import Problem
from proxy.admin.api.routes import FINANCE_READERS
from proxy.admin.provider_bill import ALL_S
from proxy.console.desk import Desk
from proxy.console.errors import errors_of, raise_unless_told
from proxy.console.figures import usd
from proxy.console.views import Moved, Page, View
from proxy.core.reconcile import Cause
from proxy.core.usage import METER_LABELS, meter_label
from proxy.store.reconciliations import DAYS_MAX

LIMIT = 50
ROWS = 100
PATH = "/reconciliation"
RULES = f"{PATH}/rules"
CAUSES = {
    Cause.PRICE: "Price",
    Cause.UNRATED: "No price",
    Cause.DELAY: "Not shown yet",
    Cause.DAY_EDGE: "Midnight",
    Cause.ESTIMATES: "Estimates",
}
IGNORED = "ignored"  # the meter of a rule whose lines are not compared


# --- Comparisons


async def show_runs(desk: Desk) -> View:
    """GET /reconciliation; days in the query are filled into the form."""
    return await _runs(desk, {name: desk.query.get(name, "") for name in ("from", "to")})


async def compare(desk: Desk) -> View | Moved:
    """POST /reconciliation: compare days. Takes as long as the provider's answers do, up to `ALL_S`."""
    typed = {name: desk.field(name) for name in ("from", "to")}
    try:
        made = await desk.post("/reconciliations", desk.filled("from", "to"))
    except Problem as problem:
        if problem.kind != "unavailable":  # the bill could not be read, which says why
            raise_unless_told(problem)
        return await _runs(desk, typed, problem)
    return Moved(f"{PATH}/{made['id']}", _said(made))


def _said(made: Mapping[str, Any]) -> str:
    days = len(made["days"])
    over = sum(one["is_over"] for one in made["days"])
    return f"Days compared: {days}. " + (
        f"Above their limit: {over}." if over else "None is above its limit."
    )


async def _runs(desk: Desk, typed: Mapping[str, str], problem: Problem | None = None) -> View:
    found = await desk.get("/reconciliations", limit=LIMIT, after=desk.query.get("after"))
    shown = {
        "runs": [{**one, "verdict": verdict(one), "last": _last(one)} for one in found["data"]],
        "next_href": desk.href(after=found["next"]) if found["next"] else "",
        "first_href": desk.href(after=None) if "after" in desk.query else "",
        "tabs": _tabs(),
        "typed": typed,
        "days_max": DAYS_MAX,
        "takes_s": ALL_S,
        "problem": problem.as_json() if problem else None,
        "errors": errors_of(problem),
    }
    return View("pages/reconciliation.html", shown, problem.status if problem else 200)


async def show_run(desk: Desk) -> View:
    """GET /reconciliation/{id}."""
    id = desk.path["id"]
    path = "/reconciliations/{reconciliation_id}"
    one, rows = await asyncio.gather(
        desk.get(path, reconciliation_id=id),
        desk.get(f"{path}/rows", reconciliation_id=id, limit=ROWS, after=desk.query.get("after")),
    )
    limits = {day["on"]: day for day in one["days"]}
    shown = {
        "run": {**one, "verdict": verdict(one), "last": _last(one)},
        "days": [{**day, "verdict": verdict(day)} for day in one["days"]],
        "causes": [(cause.value, label) for cause, label in CAUSES.items()],
        "rows": [row_of(row, limits[row["on"]]) for row in rows["data"]],
        "next_href": desk.href(after=rows["next"]) if rows["next"] else "",
        "first_href": desk.href(after=None) if "after" in desk.query else "",
    }
    return View("pages/reconciliation_run.html", shown)


def verdict(one: Mapping[str, Any]) -> tuple[str, str]:
    """Return what came of a day or of all days, as kind and text of a badge."""
    if not one.get("is_final", True):
        return "quiet", "not complete yet"
    if one["is_over"]:
        return "bad", f"above {usd(one['limit_nanousd'])}" if "limit_nanousd" in one else "above its limit"
    return ("warning", "within its limit") if one["unexplained_nanousd"] else ("ok", "agrees")


def row_of(row: Mapping[str, Any], day: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with what it is about, why it differs, and whether it stands out on its day."""
    why = [(label, row[f"{cause}_nanousd"]) for cause, label in CAUSES.items() if row[f"{cause}_nanousd"]]
    what = meter_label(row["meter"]) if row["meter"] else row["line_item"] or "entries without figures"
    return {
        **row,
        "what": what,
        "why": why,
        "is_gap": bool(row["unexplained_nanousd"]) and day["is_over"],
        "is_by_itself": row["meter"] is None,
    }


def _last(run: Mapping[str, Any]) -> str:
    """Return the last day that was compared: `to` is the one after it."""
    days = run["days"]
    return str(days[-1]["on"] if days else run["from"])


def _tabs() -> list[tuple[str, str, str]]:
    return [("runs", "Comparisons", PATH), ("rules", "What lines of the bill mean", RULES)]


# --- Rules


async def show_rules(desk: Desk) -> View:
    """GET /reconciliation/rules."""
    return await _rules(desk, {name: desk.query.get(name, "") for name in ("name", "meter", "model")})


async def set_rule(desk: Desk) -> View | Moved:
    """POST /reconciliation/rules."""
    typed = {name: desk.field(name) for name in ("name", "meter", "model", "reason")}
    body: dict[str, Any] = {"name": typed["name"], **desk.filled("model", "reason")}
    body["meter"] = None if typed["meter"] == IGNORED else typed["meter"]
    try:
        await desk.ask("PUT", "/line-items", body=body)
    except Problem as problem:
        raise_unless_told(problem)
        return await _rules(desk, typed, problem)
    return Moved(RULES, f"The rule about {typed['name']} is set. It counts from the next comparison on.")


async def remove_rule(desk: Desk) -> View | Moved:
    """POST /reconciliation/rules/remove."""
    name = desk.field("name")
    try:
        await desk.ask("DELETE", "/line-items", {"name": name})
    except Problem as problem:
        raise_unless_told(problem)
        return await _rules(desk, {}, problem)
    return Moved(RULES, f"The rule about {name} is removed.")


async def _rules(desk: Desk, typed: Mapping[str, str], problem: Problem | None = None) -> View:
    found = await desk.get("/line-items", limit=LIMIT, after=desk.query.get("after"))
    shown = {
        "rules": [
            {**one, "what": meter_label(one["meter"]) if one["meter"] else None} for one in found["data"]
        ],
        "meters": [
            *METER_LABELS.items(),
            (IGNORED, "Nothing of ours: not compared"),
        ],
        "next_href": desk.href(RULES, after=found["next"]) if found["next"] else "",
        "first_href": desk.href(RULES, after=None) if "after" in desk.query else "",
        "tabs": _tabs(),
        "typed": {name: typed.get(name, "") for name in ("name", "meter", "model", "reason")},
        "problem": problem.as_json() if problem else None,
        "errors": errors_of(problem),
    }
    return View("pages/reconciliation_rules.html", shown, problem.status if problem else 200)


def _page(path: str, handler: Any, method: str = "GET") -> Page:
    return Page(
        path=path,
        roles=FINANCE_READERS,
        handler=handler,
        key="reconciliation",
        method=method,
        installation=True,
    )


PAGES = (
    _page(PATH, show_runs),
    _page(PATH, compare, "POST"),
    _page(RULES, show_rules),
    _page(RULES, set_rule, "POST"),
    _page(f"{RULES}/remove", remove_rule, "POST"),
    _page(f"{PATH}/{{id}}", show_run),
)
