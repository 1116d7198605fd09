"""Overview: what was spent in a month, by whom and on what, what has changed, and what needs somebody."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from proxy.admin.api.problems import Problem, invalid
from proxy.admin.api.routes import EVERYONE
from proxy.console.desk import Desk
from proxy.console.overview import attention
from proxy.console.overview.attention import CUTS_MAX, REQUESTS_MAX, Item
from proxy.console.overview.figures import Against, against, breakdown, change_share, changes
from proxy.console.overview.month import Month, by_day, parse_month
from proxy.console.views import Page, View
from proxy.core.usage import METER_LABELS
from proxy.store.approvals import State
from proxy.store.tokens import TokenRole

GROUPS = ("tenant", "model", "meter")
BUDGETS_MAX = 1_000
CHANGES = "/changes"
FORECAST = "/reports/forecast"  # for those who have no page of budgets
_COSTS = "/reports/costs"
_ENOUGH = {  # of a report by these: what is not shown is not asked for
    **dict.fromkeys(("day", "meter"), {"sessions": False}),
    **dict.fromkeys(("tenant", "model"), {"sessions": False, "quantities": False}),
}
_ASKED = (
    "before",
    "close",
    "forecast",
    "budgets",
    "cuts",
    "approvals",
    "reconciliation",
    "leases",
)
_USUAL = (404, 409)  # a month that cannot be closed now says so: that needs nobody


async def show(desk: Desk) -> View:
    """GET /."""
    month = _month(desk)
    asks = _Asks(desk, month)
    counted, days, *groups = await asyncio.gather(
        desk.get(_COSTS, quantities=False, **month.span),
        *(desk.get(_COSTS, group_by=group, **_ENOUGH[group], **month.span) for group in ("day", *GROUPS)),
        asks.gather(),
    )
    told: Mapping[str, Any] = groups.pop()
    total = {**days["total"], "sessions": counted["total"]["sessions"]}
    if not total["entries"] and month.is_running and await _is_new(desk):
        return View("pages/overview_first.html", {"steps": await _steps(desk)})
    held_against = against(_rows(told["forecast"])) if told["forecast"] else Against(None, None, False)
    shown = {
        "month": month,
        "total": total,
        "days": by_day(month, days["rows"]),
        "breakdowns": [
            breakdown(name, report["rows"], month.span, METER_LABELS if name == "meter" else {})
            for name, report in zip(GROUPS, groups, strict=True)
        ],
        "against": held_against,
        "changes_href": desk.href(CHANGES, month=month.name) if month.compared() else "",
        "cost_change": _change_of("cost_nanousd", total, told["before"]),
        "cached_before": told["before"]["total"]["cached_share"] if told["before"] else None,
        "responses_change": _change_of("responses", total, told["before"]),
        "items": _items(desk, month, total, told),
        "left_out": asks.left_out,
        "is_owed": desk.caller.role is TokenRole.VIEWER,
    }
    return View("pages/overview.html", shown)


class _Asks:
    """What is asked beside the reports of the month. What a role may not ask is left out."""

    def __init__(self, desk: Desk, month: Month) -> None:
        self._desk = desk
        self._month = month
        self.left_out: list[str] = []  # why some of it is not shown

    async def gather(self) -> dict[str, Any]:
        """Return the answers by name; None where there is none."""
        month, compared = self._month, self._month.compared()
        asks: dict[str, tuple[str, dict[str, Any]]] = {}
        if compared is not None:
            before = {"from": compared["with_from"], "to": compared["with_to"], "sessions": False}
            asks["before"] = (_COSTS, before)
        if month.to_close:
            asks["close"] = ("/periods/{period}", {"period": month.to_close})
        if month.is_running:
            today = f"{month.days()[-1]}"
            asks |= {
                "forecast": ("/reports/forecast", {"errors": False}),
                "budgets": ("/budgets", {"limit": BUDGETS_MAX}),
                "cuts": ("/alerts", {"kind": "budget.cut", "from": today, "limit": CUTS_MAX}),
                "approvals": ("/approvals", {"state": State.PENDING.value, "limit": REQUESTS_MAX}),
                "reconciliation": ("/reconciliations", {"limit": 1}),
                "leases": ("/leases", {"limit": BUDGETS_MAX}),
            }
        found = await asyncio.gather(*(self._ask(*asks[name]) for name in asks))
        return {**dict.fromkeys(_ASKED), **dict(zip(asks, found, strict=True))}

    async def _ask(self, path: str, params: dict[str, Any]) -> Any:
        if not self._desk.may(f"GET {path}"):
            return None
        try:
            return await self._desk.get(path, **params)
        except Problem as problem:
            if problem.status >= 500:
                raise
            if problem.status not in _USUAL:
                self.left_out.append(problem.detail)
            return None


def _rows(told: Mapping[str, Any] | None) -> list[Any]:
    return list(told["data"]) if told else []


def _items(desk: Desk, month: Month, total: Mapping[str, Any], told: Mapping[str, Any]) -> list[Item]:
    today = f"{month.days()[-1]}"
    is_shown = month.to_close == month.name
    found = [
        *attention.of_budgets(_rows(told["budgets"]), _rows(told["forecast"])),
        *attention.of_cuts(told["cuts"], today),
        *attention.of_approvals(told["approvals"]),
        *attention.of_leases(_rows(told["leases"]), desk.at),
        *attention.of_reconciliation(told["reconciliation"]),
        *attention.of_entries(total, month.span),
        *attention.of_close(month.to_close, told["close"], skip="unrated" if is_shown else ""),
    ]
    if desk.may("GET /budgets"):
        return found
    return [replace(one, href=FORECAST) if one.href.startswith("/budgets") else one for one in found]


def _change_of(name: str, total: Mapping[str, Any], before: Mapping[str, Any] | None) -> float | None:
    return change_share(before["total"][name], total[name]) if before else None


async def show_changes(desk: Desk) -> View:
    """GET /changes: what the overview shows of it once it has been shown itself, or a page of its own."""
    month = _month(desk)
    compared = month.compared()
    if compared is None:
        raise Problem("not-found", "There is nothing to compare this month with.")
    told = await desk.get("/reports/comparison", **compared, group_by="tenant,model")
    return View(
        "pages/overview_changes.html", {"month": month, "compared": compared, "changes": changes(told)}
    )


def _month(desk: Desk) -> Month:
    try:
        return parse_month(desk.query.get("month"), desk.at, desk.zone)
    except ValueError as error:
        raise invalid("query", "month", str(error)) from None


# --- A new installation


async def _is_new(desk: Desk) -> bool:
    sessions, ever = await asyncio.gather(desk.get("/sessions", limit=1), desk.get("/ledger", limit=1))
    return not sessions["data"] and not ever["data"]


async def _steps(desk: Desk) -> dict[str, Any]:
    """Return which of the first steps are done, and which of them this person may do."""
    tenants = await desk.get("/tenants", limit=1) if desk.may("GET /tenants") else None
    keys = await desk.get("/keys", limit=1) if desk.may("GET /keys") else None
    return {
        "has_tenant": bool(tenants and tenants["data"]),
        "has_key": bool(keys and keys["data"]),
        "may": desk.may("POST /tenants"),
    }


PAGES = (
    Page(path="/", roles=EVERYONE, handler=show, key="overview"),
    Page(path=CHANGES, roles=EVERYONE, handler=show_changes, key="overview"),
)
