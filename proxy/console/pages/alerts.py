"""Alerts: what was announced, in words, and the rules that had it announced."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from proxy.admin.api.problems import Problem
from proxy.admin.api.routes import FINANCE_READERS
from proxy.console.alert_words import KINDS, said
from proxy.console.desk import Desk
from proxy.console.errors import errors_of, raise_unless_told
from proxy.console.views import Page, View

PAGE_ROWS = 50
FILTERS = ("tenant", "kind", "from", "to")


async def show_alerts(desk: Desk) -> View:
    """GET /alerts."""
    given = {name: desk.query.get(name, "") for name in FILTERS}
    problem: Problem | None = None
    page: Mapping[str, Any] = {"data": [], "next": None}
    try:
        asked = {name: value for name, value in given.items() if value}
        page = await desk.get("/alerts", **asked, limit=PAGE_ROWS, after=desk.query.get("after"))
    except Problem as told:
        raise_unless_told(told)
        problem = told
    tenants = await desk.all_of("/tenants", pages_max=1)
    names = {one["id"]: one["name"] for one in tenants}
    shown = {
        "rows": [in_words(desk, one, names) for one in page["data"]],
        "next": page["next"],
        "given": given,
        "kinds": (("", "All"), *KINDS),
        "tenants": tenants,
        "problem": problem.as_json() if problem else None,
        "errors": errors_of(problem),
    }
    return View("pages/alerts.html", shown, problem.status if problem else 200)


def in_words(desk: Desk, alert: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return an announcement with its tenant's name, and in words, with the ways that the person may go."""
    tenant_id = alert["tenant_id"]
    tenant = None if tenant_id is None else names.get(tenant_id, tenant_id)
    told = said(alert["kind"], tenant_id, alert["data"])
    links = [one for one in told.links if desk.may(one.route)]
    return {**alert, "tenant": tenant, "said": told, "links": links}


async def show_alert(desk: Desk) -> View:
    """GET /alerts/{alert_id}."""
    alert, tenants = await asyncio.gather(
        desk.get("/alerts/{alert_id}", alert_id=desk.path["alert_id"]), desk.all_of("/tenants")
    )
    names = {one["id"]: one["name"] for one in tenants}
    shown = {
        "one": in_words(desk, alert, names),
        "details": [(name, value_text(value)) for name, value in sorted(alert["data"].items())],
    }
    return View("pages/alert.html", shown)


def value_text(value: Any) -> str:
    """Return a value of JSON as people read it: texts as they are, the rest as JSON has it."""
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


async def show_rules(desk: Desk) -> View:
    """GET /alerts/rules: what is announced when, and where to change that."""
    rules, budgets = await asyncio.gather(desk.get("/alert-rules"), desk.all_of("/budgets"))
    shown = {
        "rules": rules,
        "budgets": [one for one in budgets if one["thresholds"] or one["forecast_thresholds"]],
    }
    return View("pages/alert_rules.html", shown)


PAGES = (
    Page(path="/alerts", roles=FINANCE_READERS, handler=show_alerts, key="alerts"),
    Page(path="/alerts/rules", roles=FINANCE_READERS, handler=show_rules, key="alerts"),
    Page(path="/alerts/{alert_id}", roles=FINANCE_READERS, handler=show_alert, key="alerts"),
)
