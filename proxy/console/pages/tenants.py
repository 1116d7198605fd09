"""Tenants and their projects: who pays, what each has spent this month, and what is theirs."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from proxy.admin.api.problems import Problem, invalid
from proxy.admin.api.routes import ADMINS, FINANCE_READERS
from proxy.console.desk import Desk
from proxy.console.errors import errors_of, raise_unless_told
from proxy.console.figures import instant
from proxy.console.pages.keys import keys_of
from proxy.console.views import Moved, Page, View
from proxy.core.periods import month_of

PAGE_ROWS = 50
TENANT = "/tenants/{tenant_id}"
PROJECT = "/projects/{project_id}"


async def show_tenants(desk: Desk) -> View:
    """GET /tenants."""
    return await _list(desk)


async def create_tenant(desk: Desk) -> View | Moved:
    """POST /tenants."""
    try:
        made = await desk.post("/tenants", {"name": desk.field("name")})
    except Problem as problem:
        raise_unless_told(problem)
        return await _list(desk, problem)
    return Moved(f"/tenants/{made['id']}", f"Tenant {made['name']} is there. It needs a key next.")


async def _list(desk: Desk, problem: Problem | None = None) -> View:
    month = month_of(desk.at, desk.zone)
    page, costs, live = await asyncio.gather(
        desk.get("/tenants", limit=PAGE_ROWS, after=desk.query.get("after")),
        desk.get("/reports/costs", period=month, group_by="tenant"),
        desk.all_of("/sessions", live=True),
    )
    shown = {
        "month": month,
        "rows": with_figures(page["data"], costs["rows"], live),
        "next": page["next"],
        "typed": {"name": desk.field("name")},
        **_told(problem),
    }
    return View("pages/tenants.html", shown, problem.status if problem else 200)


def with_figures(
    tenants: Sequence[Mapping[str, Any]],
    costs: Sequence[Mapping[str, Any]],
    live: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Return tenants with what each has cost and is billed, and with the number of its live sessions."""
    spent = {row["tenant"]: row for row in costs}
    running = Counter(one["tenant_id"] for one in live)
    return [
        {
            **one,
            "cost_nanousd": spent[one["name"]]["cost_nanousd"] if one["name"] in spent else 0,
            "billed_nanousd": spent[one["name"]]["billed_nanousd"] if one["name"] in spent else 0,
            "live": running[one["id"]],
        }
        for one in tenants
    ]


async def show_tenant(desk: Desk) -> View:
    """GET /tenants/{tenant_id}."""
    return await _whole(desk)


async def _whole(desk: Desk, problem: Problem | None = None, form: str = "") -> View:
    tenant_id = desk.path["tenant_id"]
    month = month_of(desk.at, desk.zone)
    tenant, etag = await desk.get_with_etag("/tenants/{tenant_id}", tenant_id=tenant_id)
    projects, markups, costs, live, keys = await asyncio.gather(
        desk.all_of("/projects", tenant=tenant_id),
        desk.all_of("/markups", tenant=tenant_id),
        desk.get("/reports/costs", tenant=tenant_id, period=month, group_by="project"),
        desk.all_of("/sessions", tenant=tenant_id, live=True),
        _keys(desk, tenant=tenant_id),
    )
    shown = {
        "tenant": tenant,
        "etag": etag,
        "month": month,
        "total": costs["total"],
        "projects": _with_spend(projects, costs["rows"]),
        "markups": _newest_first(markups),
        "live": len(live),
        "keys": keys,
        "typed": {name: desk.field(name) for name in ("name", "percent", "from", "reason")},
        "form": form,
        **_told(problem),
    }
    return View("pages/tenant.html", shown, problem.status if problem else 200)


async def _keys(desk: Desk, **whose: str) -> Mapping[str, Any] | None:
    """Return the first page of the keys of a tenant or project, None for who may not see keys."""
    return await keys_of(desk, **whose) if desk.may("GET /keys") else None


def _with_spend(
    projects: Sequence[Mapping[str, Any]], costs: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    spent = {row["project"]: row["cost_nanousd"] for row in costs}
    return [{**one, "cost_nanousd": spent.get(one["name"], 0)} for one in projects]


def _newest_first(markups: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(markups, key=lambda one: (one["effective_from"], one["id"]), reverse=True)


async def archive_tenant(desk: Desk) -> View | Moved:
    """POST /tenants/{tenant_id}/archive."""
    params = {"tenant_id": desk.path["tenant_id"]}
    try:
        found, _ = await desk.ask("DELETE", "/tenants/{tenant_id}", params, if_match=desk.field("etag"))
    except Problem as problem:
        raise_unless_told(problem)
        return await _whole(desk, problem)
    return Moved("/tenants", f"Tenant {found['name']} is archived: its keys no longer work.")


async def create_project(desk: Desk) -> View | Moved:
    """POST /tenants/{tenant_id}/projects."""
    tenant_id = desk.path["tenant_id"]
    try:
        made = await desk.post("/projects", {"tenant": tenant_id, "name": desk.field("name")})
    except Problem as problem:
        raise_unless_told(problem)
        return await _whole(desk, problem, "project")
    return Moved(f"/tenants/{tenant_id}", f"Project {made['name']} is there.")


async def set_markup(desk: Desk) -> View | Moved:
    """POST /tenants/{tenant_id}/markups."""
    tenant_id = desk.path["tenant_id"]
    try:
        wanted = {"tenant": tenant_id, "basis_points": basis_points(desk.field("percent"))}
        made = await desk.post("/markups", {**wanted, **desk.filled("from", "reason")})
    except Problem as problem:
        raise_unless_told(problem)
        return await _whole(desk, problem, "markup")
    return Moved(
        f"/tenants/{tenant_id}", f"The markup is {made['percent']} from {instant(made['effective_from'])} on."
    )


def basis_points(percent: str) -> int:
    """Return what a person wrote as a percentage in hundredths of one; raises Problem if it is none."""
    try:
        value = Decimal(percent.removesuffix("%").strip()) * 100
    except ArithmeticError:  # no number, or one with an absurd exponent
        raise invalid("body", "percent", "write a percentage, such as 15 or -2.5") from None
    if not value.is_finite() or value != value.to_integral_value() or abs(value) > 10**9:
        raise invalid("body", "percent", "write a percentage with at most two decimals, such as 15 or -2.5")
    return int(value)


async def show_project(desk: Desk) -> View:
    """GET /projects/{project_id}."""
    return await _project(desk)


async def _project(desk: Desk, problem: Problem | None = None) -> View:
    project, etag = await desk.get_with_etag(PROJECT, project_id=desk.path["project_id"])
    month = month_of(desk.at, desk.zone)
    costs, keys = await asyncio.gather(
        desk.get(
            "/reports/costs",
            tenant=project["tenant_id"],
            project=project["id"],
            period=month,
            group_by="model",
        ),
        _keys(desk, project=project["id"]),
    )
    shown = {
        "project": project,
        "etag": etag,
        "month": month,
        "total": costs["total"],
        "models": costs["rows"],
        "keys": keys,
        **_told(problem),
    }
    return View("pages/project.html", shown, problem.status if problem else 200)


async def archive_project(desk: Desk) -> View | Moved:
    """POST /projects/{project_id}/archive."""
    params = {"project_id": desk.path["project_id"]}
    try:
        found, _ = await desk.ask("DELETE", PROJECT, params, if_match=desk.field("etag"))
    except Problem as problem:
        raise_unless_told(problem)
        return await _project(desk, problem)
    return Moved(
        f"/tenants/{found['tenant_id']}", f"Project {found['name']} is archived: its keys no longer work."
    )


def _told(problem: Problem | None) -> dict[str, Any]:
    return {"problem": problem.as_json() if problem else None, "errors": errors_of(problem)}


PAGES = (
    Page(path="/tenants", roles=FINANCE_READERS, handler=show_tenants, key="tenants"),
    Page(
        path="/tenants", roles=ADMINS, handler=create_tenant, key="tenants", method="POST", installation=True
    ),
    Page(path=TENANT, roles=FINANCE_READERS, handler=show_tenant, key="tenants"),
    Page(path=f"{TENANT}/archive", roles=ADMINS, handler=archive_tenant, key="tenants", method="POST"),
    Page(path=f"{TENANT}/projects", roles=ADMINS, handler=create_project, key="tenants", method="POST"),
    Page(path=f"{TENANT}/markups", roles=ADMINS, handler=set_markup, key="tenants", method="POST"),
    Page(path=PROJECT, roles=FINANCE_READERS, handler=show_project, key="tenants"),
    Page(path=f"{PROJECT}/archive", roles=ADMINS, handler=archive_project, key="tenants", method="POST"),
)
