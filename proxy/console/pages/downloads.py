"""Download: the report that one comes from, the ledger, and FOCUS, as files. All are plain links."""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from proxy.admin.api.exports import VIEWER_FORMATS
from proxy.admin.api.focus import Whose
from proxy.admin.api.problems import Problem, invalid
from proxy.admin.api.routes import EVERYONE
from proxy.console.desk import Desk
from proxy.console.errors import errors_of, unplaced
from proxy.console.pages.reports import first_question
from proxy.console.reports import words
from proxy.console.reports.question import COSTS, Question
from proxy.console.reports.sections import KEY, answered, is_owed, sections, zones_of
from proxy.console.reports.taking import LABELS, ledger_of, month_days, month_in
from proxy.console.views import Moved, Page, View
from proxy.core.periods import parse_period
from proxy.exports.focus_columns import Version

PATH = "/reports/download"
MONTH = "month"
_COSTS, _LEDGER, _FOCUS = "/exports/costs", "/exports/ledger", "/exports/focus"
_WHOSE: Mapping[Whose, str] = {
    Whose.OPERATOR: "what the provider charges",
    Whose.TENANT: "what tenants owe",
}


async def show_downloads(desk: Desk) -> View | Moved:
    """GET /reports/download: what there is to download of a question."""
    pairs = list(desk.request.query.items())
    if not pairs:
        return Moved(first_question(desk).href(PATH))
    asked = Question.of(pairs)
    question = asked.only(COSTS)
    zones = zones_of(desk, question)
    try:
        month = month_in(question, desk.at, zones.own)
        taken, lost = ledger_of(question, zones)
    except ValueError:  # a time that is none: the report says so
        return Moved(question.href())
    has_unrated, problem = False, None
    try:
        month = parse_period(asked.get(MONTH) or month)
        has_unrated, problem = await _has_unrated(desk, month, question.get("tenant"))
    except ValueError as error:
        problem = invalid("query", MONTH, str(error))
    shown = {
        "sections": sections(desk),
        "question": question,
        "facts": [(words.param_word(name), value) for name, value in question.given.items()],
        "report_href": question.href(),
        "costs": _formats(desk, question, "costs"),
        "ledger": _formats(desk, taken, "ledger"),
        "lost": words.listed([words.param_word(name) for name in lost]),
        "month": asked.get(MONTH) or month,
        "focus": _focus(desk, month, question.get("tenant")) if problem is None else [],
        "has_unrated": has_unrated,
        "errors": errors_of(problem),
        "problem": unplaced(problem, (MONTH,)),
    }
    return View("pages/reports_download.html", shown, problem.status if problem else 200)


async def _has_unrated(desk: Desk, month: str, tenant: str) -> tuple[bool, Problem | None]:
    """Tell whether entries without a price occurred in a month, in UTC, or are accounted in it."""
    shared = {"unrated": "true", **({"tenant": tenant} if tenant else {})}
    found = await asyncio.gather(
        answered(desk, "/reports/costs", {**shared, **month_days(month), "tz": "UTC"}),
        answered(desk, "/reports/costs", {**shared, "period": month}),
    )
    problem = next((wrong for _, wrong in found if wrong is not None), None)
    return any(told is not None and told["total"]["unrated_entries"] for told, _ in found), problem


def _formats(desk: Desk, question: Question, what: str) -> list[tuple[str, str]]:
    """Return links to a download in each format that the person may have: label and address."""
    formats = [one for one in LABELS if not is_owed(desk) or one in VIEWER_FORMATS]
    return [(LABELS[one], question.href(f"{PATH}/{what}", format=one)) for one in formats]


def _focus(desk: Desk, month: str, tenant: str) -> list[dict[str, Any]]:
    """Return links to FOCUS, and to what it leaves out, for each side that the person may see."""
    asked = Question({MONTH: month, **({"tenant": tenant} if tenant else {})})
    sides = [Whose.TENANT] if is_owed(desk) else list(Whose)
    return [
        {
            "label": _WHOSE[side],
            "links": [
                (f"FOCUS {one}", asked.href(f"{PATH}/focus", version=one, **{"as": side})) for one in Version
            ],
            "unrated": asked.href(f"{PATH}/focus/unrated", **{"as": side}),
        }
        for side in sides
    ]


# --- The downloads themselves


async def download_costs(desk: Desk) -> web.StreamResponse:
    """GET /reports/download/costs: as GET /exports/costs."""
    return await desk.download(_COSTS, Question.of(desk.request.query.items()).given)


async def download_ledger(desk: Desk) -> web.StreamResponse:
    """GET /reports/download/ledger: as GET /exports/ledger."""
    return await desk.download(_LEDGER, Question.of(desk.request.query.items()).given)


async def download_focus(desk: Desk) -> web.StreamResponse:
    """GET /reports/download/focus: as GET /exports/focus."""
    return await desk.download(_FOCUS, Question.of(desk.request.query.items()).given)


async def download_unrated(desk: Desk) -> web.StreamResponse:
    """GET /reports/download/focus/unrated: as GET /exports/focus/unrated."""
    return await desk.download(f"{_FOCUS}/unrated", Question.of(desk.request.query.items()).given)


PAGES = (
    Page(path=PATH, roles=EVERYONE, handler=show_downloads, key=KEY),
    Page(path=f"{PATH}/costs", roles=EVERYONE, handler=download_costs, key=KEY),
    Page(path=f"{PATH}/ledger", roles=EVERYONE, handler=download_ledger, key=KEY),
    Page(path=f"{PATH}/focus", roles=EVERYONE, handler=download_focus, key=KEY),
    Page(path=f"{PATH}/focus/unrated", roles=EVERYONE, handler=download_unrated, key=KEY),
)
