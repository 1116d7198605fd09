"""Schedules: what is sent by itself when and to whom, and what became of it."""

import asyncio
from typing import Any

from proxy.admin.api.problems import Problem
from proxy.admin.api.routes import ADMINS, FINANCE_READERS
from proxy.console.choices import tenants_of
from proxy.console.desk import Desk
from proxy.console.errors import errors_of, unplaced
from proxy.console.meanwhile import Meanwhile, is_stale
from proxy.console.reports import sending
from proxy.console.reports.sections import CLIENT_ERRORS, KEY, sections
from proxy.console.views import Moved, Page, View

PATH = "/reports/schedules"
ROWS = 50
_ONE = PATH + "/{schedule_id}"
_ROUTE = "/schedules/{schedule_id}"
_CHOICES_MAX = 1_000  # saved reports and webhooks to choose from
_NEW = {"content": "digest", "every": "week", "at": "08:00", "webhooks": [], "kept": []}


async def list_schedules(desk: Desk) -> View:
    """GET /reports/schedules."""
    told = await desk.get(
        "/schedules", limit=ROWS, after=desk.query.get("after"), tenant=desk.query.get("tenant")
    )
    shown = {
        "sections": sections(desk),
        "lines": [{**one, "sends": sending.sends(one), "when": sending.when(one)} for one in told["data"]],
        "next_href": desk.href(after=told["next"]) if told["next"] else "",
        "first_href": desk.href(after=None) if desk.query.get("after") else "",
        "may_set": desk.may("POST /schedules"),
    }
    return View("pages/reports_schedules.html", shown)


async def show_schedule(desk: Desk) -> View:
    """GET /reports/schedules/{schedule_id}: what it is, and what it has sent."""
    return await _whole(desk)


async def _whole(desk: Desk, problem: Problem | None = None) -> View:
    (schedule, etag), log = await asyncio.gather(
        desk.get_with_etag(_ROUTE, **desk.path),
        desk.get(f"{_ROUTE}/deliveries", **desk.path, limit=ROWS, after=desk.query.get("after")),
    )
    shown = {
        "sections": sections(desk),
        "schedule": schedule,
        "etag": etag,
        "sends": sending.sends(schedule),
        "when": sending.when(schedule),
        "log": [{**one, "badge": sending.state_of(one)} for one in log["data"]],
        "next_href": desk.href(after=log["next"]) if log["next"] else "",
        "first_href": desk.href(after=None) if desk.query.get("after") else "",
        "may_change": desk.may(f"PUT {_ROUTE}"),
        "problem": problem and problem.as_json(),
    }
    return View("pages/reports_schedules_one.html", shown, problem.status if problem else 200)


# --- Setting and changing


async def new_schedule(desk: Desk) -> View:
    """GET /reports/schedules/new: for the report that the address names, if any."""
    given: dict[str, Any] = dict(_NEW)
    if report := desk.query.get("report"):
        saved = await desk.get("/saved-reports/{report_id}", report_id=report)
        given |= {
            "content": "report",
            "report": saved["id"],
            "name": saved["name"],
            "tenant": saved["tenant"] or "",
        }
    return await _form(desk, given)


async def edit_schedule(desk: Desk) -> View:
    """GET /reports/schedules/{schedule_id}/edit."""
    schedule, etag = await desk.get_with_etag(_ROUTE, **desk.path)
    return await _form(desk, sending.written(schedule), schedule=schedule, etag=etag)


async def set_schedule(desk: Desk) -> View | Moved:
    """POST /reports/schedules."""
    given = _posted(desk)
    try:
        made = await desk.post(
            "/schedules", _body(given) | {"tenant": given["tenant"] or None, **_reason(desk)}
        )
    except Problem as problem:
        if problem.status not in CLIENT_ERRORS:
            raise
        return await _form(desk, given, problem=problem)
    return Moved(f"{PATH}/{made['id']}", f"The schedule {made['name']} is set.")


async def change_schedule(desk: Desk) -> View | Moved:
    """POST /reports/schedules/{schedule_id}."""
    given, etag = _posted(desk), desk.field("etag")
    try:
        made, _ = await desk.ask("PUT", _ROUTE, desk.path, _body(given) | _reason(desk), if_match=etag)
    except Problem as problem:
        if problem.status not in CLIENT_ERRORS:
            raise
        schedule, now = await desk.get_with_etag(_ROUTE, **desk.path)
        if not is_stale(problem):
            return await _form(desk, given, schedule=schedule, etag=etag, problem=problem)
        differs = sending.differing_schedules(schedule, given)
        if not differs:  # the form was sent twice
            return Moved(f"{PATH}/{schedule['id']}", "It is so already.")
        meanwhile = Meanwhile(schedule["id"], differs)
        return await _form(desk, given, schedule=schedule, etag=now, problem=problem, meanwhile=meanwhile)
    return Moved(f"{PATH}/{made['id']}", f"The schedule {made['name']} is changed.")


async def remove_schedule(desk: Desk) -> View | Moved:
    """POST /reports/schedules/{schedule_id}/remove."""
    try:
        gone, _ = await desk.ask("DELETE", _ROUTE, desk.path, if_match=desk.field("etag"))
    except Problem as problem:
        if not is_stale(problem):
            raise
        return await _whole(desk, problem)
    return Moved(PATH, f"The schedule {gone['name']} is removed: nothing more is sent.")


async def run_schedule(desk: Desk) -> Moved:
    """POST /reports/schedules/{schedule_id}/run."""
    made = await desk.post(f"{_ROUTE}/run", None, **desk.path)
    said = "It is on its way." if made["problem"] is None else f"It says why it is empty: {made['problem']}"
    return Moved(f"{PATH}/{made['schedule_id']}", said)


def _posted(desk: Desk) -> dict[str, Any]:
    """Return what the form says."""
    lists = {name: desk.fields(name) for name in ("webhooks", "kept")}
    return {**{name: desk.field(name) for name in sending.FIELDS}, **lists}


def _body(given: dict[str, Any]) -> dict[str, Any]:
    body = {name: given[name] or None for name in ("name", "content", "report", "every", "on", "tz")}
    if given["content"] != "report":
        body["report"] = None  # what is still chosen there says nothing
    to = sending.targets_of(given["mail"], given["slack"], given["webhooks"], given["kept"])
    return {**body, "name": given["name"], **({"at": given["at"]} if given["at"] else {}), "to": to}


def _reason(desk: Desk) -> dict[str, Any]:
    return {"reason": desk.field("reason") or None}


async def _form(
    desk: Desk,
    given: dict[str, Any],
    *,
    schedule: dict[str, Any] | None = None,
    etag: str = "",
    problem: Problem | None = None,
    meanwhile: Meanwhile | None = None,
) -> View:
    reports, webhooks, tenants = await asyncio.gather(
        desk.get("/saved-reports", limit=_CHOICES_MAX),
        desk.get("/webhooks", limit=_CHOICES_MAX),
        tenants_of(desk, archived=True),
    )
    shown = {
        "sections": sections(desk),
        "schedule": schedule,
        "meanwhile": meanwhile,
        "etag": etag,
        "given": {**dict.fromkeys(sending.FIELDS, ""), **given},
        "reason": desk.field("reason"),
        "sending": sending,
        "reports": [
            ("", "–"),
            *((one["id"], f"{one['name']} ({one['tenant'] or 'all tenants'})") for one in reports["data"]),
        ],
        "webhooks": webhooks["data"],
        "slack": [one for one in schedule["to"] if one["channel"] == "slack"] if schedule else [],
        "tenants": tenants,
        "must_own": desk.caller.within is not None,
        "errors": errors_of(problem),
        "problem": unplaced(problem, (*sending.FIELDS, "to")),
    }
    return View("pages/reports_schedules_form.html", shown, problem.status if problem else 200)


PAGES = (
    Page(path=PATH, roles=FINANCE_READERS, handler=list_schedules, key=KEY),
    Page(path=f"{PATH}/new", roles=ADMINS, handler=new_schedule, key=KEY),
    Page(path=PATH, roles=ADMINS, handler=set_schedule, key=KEY, method="POST"),
    Page(path=_ONE, roles=FINANCE_READERS, handler=show_schedule, key=KEY),
    Page(path=f"{_ONE}/edit", roles=ADMINS, handler=edit_schedule, key=KEY),
    Page(path=_ONE, roles=ADMINS, handler=change_schedule, key=KEY, method="POST"),
    Page(path=f"{_ONE}/remove", roles=ADMINS, handler=remove_schedule, key=KEY, method="POST"),
    Page(path=f"{_ONE}/run", roles=ADMINS, handler=run_schedule, key=KEY, method="POST"),
)
