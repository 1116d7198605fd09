"""Compare: the costs of two times, and what their difference is due to."""

import asyncio
from typing import Any

from proxy.admin.api.problems import Problem
from proxy.admin.api.routes import EVERYONE
from proxy.console.choices import page_number, tenants_of
from proxy.console.desk import Desk
from proxy.console.errors import errors_of, unplaced
from proxy.console.reports import words
from proxy.console.reports.drill import Zones, changes_for, next_group
from proxy.console.reports.question import COMPARISON, COSTS, GROUP_BY, Question
from proxy.console.reports.sections import KEY, answered, is_owed, sections, zones_of
from proxy.console.reports.spans import presets, span_text
from proxy.console.reports.waterfall import PARTS, steps_of
from proxy.console.views import Moved, Page, View
from proxy.store.comparison import GROUPS

PATH = "/reports/compare"
PAGE = "page"  # of the rows: not the API's
ROWS_SHOWN_MAX = 500
_FIRST = ("from", "to", "with_from", "with_to", GROUP_BY, "tenant")
_AMOUNTS = ("before", "after", "difference", *PARTS)


async def show_comparison(desk: Desk) -> View | Moved:
    """GET /reports/compare. Without a question it is this month so far, with the days of the one before."""
    pairs = list(desk.request.query.items())
    if not pairs:
        group = "model" if len(desk.caller.tenants) == 1 else "tenant"
        first = presets(desk.at, desk.zone)[0]
        return Moved(Question({**first.params, GROUP_BY: group}).href(PATH))
    try:
        question = Question.of(pairs)
    except Problem as none:
        return _page(desk, Question(), await tenants_of(desk, archived=True), none)
    if len(question.fields) < len(pairs):
        return Moved(question.href(PATH))
    number = page_number(question.get(PAGE))
    asked = Question({name: question.get(name) for name in question.given if name != PAGE}, question.showing)
    (told, problem), tenants = await asyncio.gather(
        answered(desk, "/reports/comparison", {**asked.given, **asked.showing}),
        tenants_of(desk, archived=True),
    )
    result = None if told is None else _result(desk, asked, told, number)
    return _page(desk, asked, tenants, problem, result)


def _page(
    desk: Desk,
    question: Question,
    tenants: list[str],
    problem: Problem | None,
    result: dict[str, Any] | None = None,
) -> View:
    given = {name: question.get(name) for name in ("from", "to", "with_from", "with_to")}
    shown = {
        "sections": sections(desk),
        "question": question,
        "group_fields": words.group_options(question.groups, words.COMPARED_OPTIONS),
        "words": words,
        "prefix": "",
        "tenants": tenants,
        "presets": [
            (one.label, question.but(one.params).href(PATH), one.params == given)
            for one in presets(desk.at, zones_of(desk, question).own)
        ],
        "has_more": any(name not in _FIRST for name in question.given),
        "errors": errors_of(problem),
        "problem": unplaced(problem, COMPARISON),
        "result": result,
        "is_owed": is_owed(desk),
    }
    return View("pages/reports_compare.html", shown, problem.status if problem else 200)


def _result(desk: Desk, question: Question, told: dict[str, Any], number: int) -> dict[str, Any]:
    zones, rows = zones_of(desk, question), told["rows"]
    first = min(ROWS_SHOWN_MAX * (number - 1), len(rows) // ROWS_SHOWN_MAX * ROWS_SHOWN_MAX)
    shown = rows[first : first + ROWS_SHOWN_MAX]
    last = first + len(shown)
    return {
        "before": span_text(told["with_from"], told["with_to"], zones.own),
        "after": span_text(told["from"], told["to"], zones.own),
        "steps": steps_of(told["total"]),
        "total": told["total"],
        "amounts": [(f"{name}_nanousd", _label(name)) for name in _AMOUNTS],
        "labels": [words.group_label(name) for name in question.groups],
        "groups": words.listed([words.group_word(name) for name in question.groups]),
        "lines": [_line(question, row, zones) for row in shown],
        "first": first + 1,
        "last": last,
        "count": len(rows),
        "next_href": question.href(PATH, page=str(last // ROWS_SHOWN_MAX + 1)) if last < len(rows) else "",
        "first_href": question.href(PATH) if first else "",
        "report_href": question.only(COSTS).href(),
    }


def _label(name: str) -> str:
    return PARTS[name][0] if name in PARTS else name.capitalize()


def _line(question: Question, row: dict[str, Any], zones: Zones) -> dict[str, Any]:
    """Return a row: its values with where each leads, and its amounts."""
    cells = [(words.text_of(name, row), _href(question, name, row, zones)) for name in question.groups]
    return {"cells": cells, "amounts": [row[f"{name}_nanousd"] for name in _AMOUNTS]}


def _href(question: Question, name: str, row: dict[str, Any], zones: Zones) -> str:
    changes = changes_for(question, name, row, zones)
    if changes is None:
        return ""
    narrow = question.but(changes)
    others = [group for group in question.groups if group != name]
    return narrow.by(others or [next_group(narrow, name, question.groups, zones, GROUPS)]).href(PATH)


PAGES = (Page(path=PATH, roles=EVERYONE, handler=show_comparison, key=KEY),)
