"""Reports: a question to the ledger, its answer as a chart and a table, and where each row leads."""

import asyncio
from typing import Any

from proxy.admin.api.problems import Problem
from proxy.admin.api.routes import EVERYONE
from proxy.console.choices import tenants_of
from proxy.console.desk import Desk
from proxy.console.errors import errors_of, unplaced
from proxy.console.reports import words
from proxy.console.reports.chart import chart_of, time_of
from proxy.console.reports.question import COMPARISON, COSTS, GROUP_BY, Question
from proxy.console.reports.sections import KEY, answered, is_owed, sections, zones_of
from proxy.console.reports.spans import quick_spans
from proxy.console.reports.table import ROWS_SHOWN_MAX, choices, chosen, table_of
from proxy.console.views import Moved, Page, View
from proxy.core.money import parse_usd
from proxy.store.comparison import GROUPS as COMPARED_BY
from proxy.store.comparison import GROUPS_MAX as COMPARED_MAX
from proxy.store.groups import is_tag
from proxy.store.reports import Basis

_LEDGER = ("from", "to", "period", "tenant", "project", "key", "model", "session", "kind", "unrated")
# What stands at the top of the form; the other fields are behind "More filters".
_FIRST = ("from", "to", GROUP_BY, "tenant")
_FIELDS = (*COSTS, "sort", "columns")


async def show_report(desk: Desk) -> View | Moved:
    """GET /reports. Without a question it is this month's."""
    pairs = list(desk.request.query.items())
    if not pairs:
        return Moved(first_question(desk).href())
    try:
        question = Question.of(pairs)
    except Problem as none:
        return _page(desk, Question(), await tenants_of(desk, archived=True), none)
    if len(question.fields) < len(pairs):  # a form was sent: each question has one address
        return Moved(question.href())
    (told, problem), tenants = await asyncio.gather(
        answered(desk, "/reports/costs", question.given), tenants_of(desk, archived=True)
    )
    if problem is not None:
        return _page(desk, question, tenants, problem)
    try:
        return _page(desk, question, tenants, None, result_of(desk, question, told))
    except Problem as wrong:  # how it is to be shown
        return _page(desk, question, tenants, wrong)


def first_question(desk: Desk) -> Question:
    month = next(one for one in quick_spans(desk.at, desk.zone) if one.span == "this-month")
    group = "model" if len(desk.caller.tenants) == 1 else "tenant"
    return Question({**month.params, GROUP_BY: group})


def _page(
    desk: Desk,
    question: Question,
    tenants: list[str],
    problem: Problem | None,
    result: dict[str, Any] | None = None,
) -> View:
    shown = {
        "sections": sections(desk),
        "question": question,
        "group_fields": words.group_options(question.groups, words.GROUP_OPTIONS),
        "words": words,
        "prefix": "",
        "tenants": tenants,
        "quick": _quick(desk, question),
        "has_more": any(name not in _FIRST for name in question.given),
        "errors": errors_of(problem),
        "problem": unplaced(problem, _FIELDS),
        "result": result,
        "save_href": question.href("/reports/saved/new") if desk.may("POST /saved-reports") else "",
        "download_href": question.href("/reports/download"),
        "compare_href": compared(question).href("/reports/compare"),
    }
    return View("pages/reports.html", shown, problem.status if problem else 200)


def _quick(desk: Desk, question: Question) -> list[dict[str, Any]]:
    """Return links to the same question about other times."""
    by_month = question.get("basis") == Basis.PERIOD
    spans = quick_spans(desk.at, zones_of(desk, question).own, by_month=by_month)
    given = (question.get("from"), question.get("to"))
    return [
        {
            "label": one.label,
            "href": question.but({**one.params, "period": None}).href(),
            "is_current": given == (one.start, one.end) and not question.has("period"),
        }
        for one in spans
    ]


def compared(question: Question) -> Question:
    """Return what of a question can be asked about two times."""
    groups = [name for name in question.groups if name in COMPARED_BY or is_tag(name)]
    return Question(question.only(COMPARISON).by(groups[:COMPARED_MAX]).given)


def result_of(desk: Desk, question: Question, told: dict[str, Any]) -> dict[str, Any]:
    """Return an answer as `pages/_reports.html` shows it; raises Problem where it cannot be shown so."""
    total, zones, owed = told["total"], zones_of(desk, question), is_owed(desk)
    return {
        "table": table_of(question, told, zones, is_owed=owed),
        "chart": chart_of(question, told["rows"]),
        "has_too_many_points": time_of(question) is not None and bool(told["rows"]),
        "total": total,
        "per_session": _nanousd(total["cost_per_session_usd"]),
        "per_minute": _nanousd(total["cost_per_spoken_minute_usd"]),
        "group_count": len(question.groups),
        "rows_shown_max": ROWS_SHOWN_MAX,
        "is_owed": owed,
        "columns": [
            (name, label, question.shown(columns=None if name == "costs" else name).href())
            for name, label in choices(is_owed=owed).items()
        ],
        "column": chosen(question, is_owed=owed),
        "zone": str(zones.own),
        "groups": words.listed([words.group_word(name) for name in question.groups]),
        "count_href": question.but({"sessions": "true"}).href(),
        "estimated_href": question.but({"estimated": "true"}).href(),
        "unrated_href": question.but({"unrated": "true"}).href(),
        "ledger_href": _ledger_href(question),
        "download_href": question.href("/reports/download"),
    }


def _ledger_href(question: Question) -> str:
    """Return where the entries without a price are listed; empty where the list has not these filters."""
    unrated = question.but({"unrated": "true", GROUP_BY: None, "sessions": None, "tz": None})
    has_all = set(unrated.given) <= set(_LEDGER)
    return unrated.only(_LEDGER).href("/ledger") if has_all and not question.has("tz") else ""


def _nanousd(usd: str | None) -> int | None:
    return None if usd is None else parse_usd(usd)


PAGES = (Page(path="/reports", roles=EVERYONE, handler=show_report, key=KEY),)
