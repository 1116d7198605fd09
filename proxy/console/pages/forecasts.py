"""Forecast: what budgets and tenants will have spent at the end of their window, and how sure that is."""

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from proxy.admin.api.problems import Problem
from proxy.admin.api.routes import EVERYONE
from proxy.console.choices import tenants_of
from proxy.console.desk import Desk
from proxy.console.errors import errors_of, unplaced
from proxy.console.reports.question import Question
from proxy.console.reports.sections import KEY, answered, sections
from proxy.console.reports.spans import as_day, span_text
from proxy.console.views import Page, View
from proxy.core.forecast import WEEKS_MAX, Method

NEAR_PERCENT = 80  # of an amount that a forecast comes to before it is near it
_METHODS: Mapping[str | None, str] = {
    Method.WEEKDAYS: "by weekdays",
    Method.RUN_RATE: "by the rate so far",
    None: "not yet: less than a day has passed",
}
_FIELDS = ("tenant", "tz")


async def show_forecasts(desk: Desk) -> View:
    """GET /reports/forecast."""
    try:
        question, problem = Question.of(desk.request.query.items()), None
    except Problem as wrong:
        question, problem = Question(), wrong
    told, tenants = None, await tenants_of(desk, archived=True)
    if problem is None:
        told, problem = await answered(desk, "/reports/forecast", {**question.given, **question.showing})
    shown = {
        "sections": sections(desk),
        "question": question,
        "prefix": "",
        "tenants": tenants,
        "errors": errors_of(problem),
        "problem": unplaced(problem, _FIELDS),
        "weeks_max": WEEKS_MAX,
        "lines": None if told is None else [_line(one) for one in told["data"]],
        "budgets_href": "/budgets" if desk.may("POST /budgets") else "",
    }
    return View("pages/reports_forecast.html", shown, problem.status if problem else 200)


def _line(one: dict[str, Any]) -> dict[str, Any]:
    zone = ZoneInfo(one["zone"])
    return {
        **one,
        "whose": whose(one),
        "span": span_text(one["window_starts_at"], one["window_ends_at"], zone),
        "how": f"{_METHODS[one['method']]}{_off_by(one)}",
        "state": _state(one),
        "href": _report(one, zone).href(),
    }


def whose(one: Mapping[str, Any]) -> str:
    """Return whose spending it is, in words."""
    tenant = one["tenant"]
    match one["scope"]:
        case "organisation":
            return "All tenants together"
        case "project":
            return f"{tenant}, project {one['project']}"
        case "key":
            return f"{tenant}, API key {one['api_key_id']}"
        case "end_user":
            return f"{tenant}, end user {one['end_user'] or 'each'}"
    return tenant or "All tenants together"


def _off_by(one: Mapping[str, Any]) -> str:
    if one["method"] is None:
        return ""
    if one["error_percent"] is None:
        return ", too new to say how far off"
    return f", off by {one['error_percent']} % on average in {one['error_points']} earlier windows"


def _state(one: Mapping[str, Any]) -> tuple[str, str]:
    """Return a badge: how what is expected compares with the amount."""
    amount, expected = one["amount_nanousd"], one["forecast_nanousd"]
    if amount is None:
        return "quiet", "no budget"
    if one["spent_nanousd"] >= amount:
        return "bad", "spent"
    if expected is None:
        return "quiet", "not known yet"
    if expected >= amount:
        return "bad", "will be spent"
    near = 100 * expected >= NEAR_PERCENT * amount
    return ("warning", "near its end") if near else ("ok", "lasts")


def _report(one: Mapping[str, Any], zone: ZoneInfo) -> Question:
    """Return the question that shows what was spent in the window, day by day."""
    asked = {
        "from": as_day(one["window_starts_at"], zone),
        "to": as_day(one["window_ends_at"], zone),
        "tz": one["zone"],
        "tenant": one["tenant"],
        "project": one["project"],
        "key": one["api_key_id"],
        "end_user": one["end_user"],
    }
    return Question().but({**asked, "group_by": "day"})


PAGES = (Page(path="/reports/forecast", roles=EVERYONE, handler=show_forecasts, key=KEY),)
