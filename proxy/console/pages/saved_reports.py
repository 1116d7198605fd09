"""Saved reports: kept by name with a span that goes with the time; opened, changed, forgotten."""

from typing import Any

from proxy.admin.api.problems import Problem
from proxy.admin.api.routes import BOOKKEEPERS, EVERYONE
from proxy.console.choices import tenants_of
from proxy.console.desk import Desk
from proxy.console.errors import errors_of, unplaced
from proxy.console.meanwhile import Meanwhile, is_stale
from proxy.console.pages.reports import result_of
from proxy.console.reports import words
from proxy.console.reports.question import COSTS, Question
from proxy.console.reports.saving import (
    CALLED,
    KEPT,
    body_of,
    differing_reports,
    in_words,
    not_kept,
    question_of,
    span_of,
    span_options,
)
from proxy.console.reports.sections import CLIENT_ERRORS, KEY, answered, sections, zones_of
from proxy.console.reports.spans import span_text, zone_named
from proxy.console.views import Moved, Page, View

PATH = "/reports/saved"
ROWS = 50
PREFIX = "q-"  # of a question's fields: some of their names are a form's own
_ONE = PATH + "/{report_id}"
_FIELDS = ("name", "span", "days", *KEPT)


async def list_saved(desk: Desk) -> View:
    """GET /reports/saved."""
    told = await desk.get(
        "/saved-reports", limit=ROWS, after=desk.query.get("after"), tenant=desk.query.get("tenant")
    )
    shown = {
        "sections": sections(desk),
        "lines": [{**one, "asks": in_words(one)} for one in told["data"]],
        "next_href": desk.href(after=told["next"]) if told["next"] else "",
        "first_href": desk.href(after=None) if desk.query.get("after") else "",
        "may_save": desk.may("POST /saved-reports"),
    }
    return View("pages/reports_saved.html", shown)


async def show_saved(desk: Desk) -> View:
    """GET /reports/saved/{report_id}: what it asks, and the answer about the span that it means now."""
    return await _whole(desk)


async def _whole(desk: Desk, refused: Problem | None = None) -> View:
    saved, etag = await desk.get_with_etag("/saved-reports/{report_id}", **desk.path)
    told, problem = await answered(desk, "/saved-reports/{report_id}/costs", desk.path)
    problem = refused or problem
    question = question_of(saved) if told is None else question_of(saved, told["from"], told["to"])
    zone = zones_of(desk, question).own
    shown = {
        "sections": sections(desk),
        "saved": saved,
        "etag": etag,
        "asks": in_words(saved),
        "span": "" if told is None else span_text(told["from"], told["to"], zone),
        "href": question.href(),
        "problem": problem.as_json() if problem else None,
        "result": None if told is None else result_of(desk, question, told),
        "may_change": desk.may("PUT /saved-reports/{report_id}"),
        "may_schedule": desk.may("POST /schedules"),
    }
    return View("pages/reports_saved_one.html", shown, problem.status if problem else 200)


# --- Saving and changing


async def new_report(desk: Desk) -> View:
    """GET /reports/saved/new: with the question that the address asks."""
    question = Question.of(desk.request.query.items()).only(COSTS)
    zone = zone_named(question.get("tz"), desk.zone)
    return await _form(desk, question, span=span_of(question, desk.at, zone), lost=not_kept(question))


async def edit_report(desk: Desk) -> View:
    """GET /reports/saved/{report_id}/edit."""
    saved, etag = await desk.get_with_etag("/saved-reports/{report_id}", **desk.path)
    return await _form(
        desk, question_of(saved), saved=saved, etag=etag, name=saved["name"], span=saved["span"]
    )


async def save_report(desk: Desk) -> View | Moved:
    """POST /reports/saved."""
    question = _posted(desk)
    body = _body(desk, question) | {"tenant": question.get("tenant") or None, **_reason(desk)}
    try:
        made = await desk.post("/saved-reports", body)
    except Problem as problem:
        if problem.status not in CLIENT_ERRORS:
            raise
        return await _form(desk, question, problem=problem)
    return Moved(f"{PATH}/{made['id']}", f"The report {made['name']} is saved.")


async def change_report(desk: Desk) -> View | Moved:
    """POST /reports/saved/{report_id}."""
    question, etag = _posted(desk), desk.field("etag")
    body = _body(desk, question) | _reason(desk)
    try:
        made, _ = await desk.ask("PUT", "/saved-reports/{report_id}", desk.path, body, if_match=etag)
    except Problem as problem:
        if problem.status not in CLIENT_ERRORS:
            raise
        saved, now = await desk.get_with_etag("/saved-reports/{report_id}", **desk.path)
        if not is_stale(problem):
            return await _form(desk, question, saved=saved, etag=etag, problem=problem)
        differs = differing_reports(saved, question, body["name"], body["span"])
        if not differs:  # the form was sent twice
            return Moved(f"{PATH}/{saved['id']}", "It is so already.")
        meanwhile = Meanwhile(saved["id"], differs)
        return await _form(desk, question, saved=saved, etag=now, problem=problem, meanwhile=meanwhile)
    return Moved(f"{PATH}/{made['id']}", f"The report {made['name']} is changed.")


async def forget_report(desk: Desk) -> View | Moved:
    """POST /reports/saved/{report_id}/forget."""
    etag = desk.field("etag")
    try:
        gone, _ = await desk.ask("DELETE", "/saved-reports/{report_id}", desk.path, if_match=etag)
    except Problem as problem:
        if not is_stale(problem):
            raise
        return await _whole(desk, problem)
    return Moved(PATH, f"The report {gone['name']} is forgotten.")


def _posted(desk: Desk) -> Question:
    """Return the question that a form says."""
    return Question.of((name, value) for name in KEPT for value in desk.fields(PREFIX + name))


def _body(desk: Desk, question: Question) -> dict[str, Any]:
    days = desk.field("days")
    span = f"last-{days}-days" if days else desk.field("span")
    return body_of(question, desk.field("name"), span)


def _reason(desk: Desk) -> dict[str, Any]:
    return {"reason": desk.field("reason") or None}


async def _form(
    desk: Desk,
    question: Question,
    *,
    saved: dict[str, Any] | None = None,
    etag: str = "",
    name: str = "",
    span: str = "",
    lost: str = "",
    problem: Problem | None = None,
    meanwhile: Meanwhile | None = None,
) -> View:
    errors, span = errors_of(problem, CALLED), span or desk.field("span")
    shown = {
        "sections": sections(desk),
        "saved": saved,
        "meanwhile": meanwhile,
        "etag": etag,
        "name": name or desk.field("name"),
        "span": span,
        "days": desk.field("days"),
        "span_options": span_options(span),
        "lost": lost,
        "reason": desk.field("reason"),
        "question": question,
        "group_fields": words.group_options(question.groups, words.GROUP_OPTIONS),
        "words": words,
        "prefix": PREFIX,
        "tenants": await tenants_of(desk, archived=True),
        "must_own": desk.caller.within is not None,
        "errors": errors,
        "problem": unplaced(problem, _FIELDS, CALLED),
    }
    return View("pages/reports_saved_form.html", shown, problem.status if problem else 200)


PAGES = (
    Page(path=PATH, roles=EVERYONE, handler=list_saved, key=KEY),
    Page(path=f"{PATH}/new", roles=BOOKKEEPERS, handler=new_report, key=KEY),
    Page(path=PATH, roles=BOOKKEEPERS, handler=save_report, key=KEY, method="POST"),
    Page(path=_ONE, roles=EVERYONE, handler=show_saved, key=KEY),
    Page(path=f"{_ONE}/edit", roles=BOOKKEEPERS, handler=edit_report, key=KEY),
    Page(path=_ONE, roles=BOOKKEEPERS, handler=change_report, key=KEY, method="POST"),
    Page(path=f"{_ONE}/forget", roles=BOOKKEEPERS, handler=forget_report, key=KEY, method="POST"),
)
