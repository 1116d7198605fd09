"""The audit log: who changed what, when and why, with what was before and after side by side."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from proxy.admin.api.problems import Problem
from proxy.admin.api.routes import FINANCE_READERS
from proxy.console.desk import Desk
from proxy.console.errors import errors_of, raise_unless_told
from proxy.console.pages.alerts import value_text
from proxy.console.views import Page, View

PAGE_ROWS = 50
FILTERS = ("tenant", "actor", "action", "object", "from", "to")
VALUE_CHARS_MAX = 2_000  # of one value on the page
# How an id, or an action, begins; where that thing is shown; and the route that its page asks.
PLACES = (
    ("bud_", "/budgets/", "GET /budgets/{budget_id}"),
    ("key_", "/keys/", "GET /keys/{key_id}"),
    ("ten_", "/tenants/", "GET /tenants/{tenant_id}"),
    ("prj_", "/projects/", "GET /projects/{project_id}"),
    ("whk_", "/webhooks/", "GET /webhooks/{webhook_id}"),
    ("card_", "/rate-cards/", "GET /rate-cards/{card_id}"),
    ("rec_", "/reconciliation/", "GET /reconciliations/{reconciliation_id}"),
    ("rep_", "/reports/saved/", "GET /saved-reports/{report_id}"),
    ("sch_", "/reports/schedules/", "GET /schedules/{schedule_id}"),
)
BY_ACTION = (
    ("session.", "/sessions/", "GET /sessions/{session_id}"),
    ("approval.", "/approvals/", "GET /approvals/{approval_id}"),
)


class Changed(NamedTuple):
    """One field of an act: what it was and what it is, None where there is none."""

    name: str
    before: str | None
    after: str | None

    @property
    def is_same(self) -> bool:
        return self.before == self.after


async def show_audit(desk: Desk) -> View:
    """GET /audit."""
    given = {name: desk.query.get(name, "") for name in FILTERS}
    problem: Problem | None = None
    page: Mapping[str, Any] = {"data": [], "next": None}
    try:
        asked = {name: value for name, value in given.items() if value}
        page = await desk.get("/audit", **asked, limit=PAGE_ROWS, after=desk.query.get("after"))
    except Problem as told:
        raise_unless_told(told)
        problem = told
    shown = {
        "rows": [told_of(desk, one) for one in page["data"]],
        "next": page["next"],
        "given": given,
        "is_filtered": any(given.values()),
        "tenants": await desk.all_of("/tenants", pages_max=1),
        "problem": problem.as_json() if problem else None,
        "errors": errors_of(problem),
    }
    return View("pages/audit.html", shown, problem.status if problem else 200)


def told_of(desk: Desk, act: Mapping[str, Any]) -> dict[str, Any]:
    """Return an act with its fields compared, and the place of what it is about, for who may go there."""
    href, route = place_of(act["action"], act["object"])
    return {
        **act,
        "changes": [one for one in compared(act["before"], act["after"]) if not one.is_same],
        "href": href if href and desk.may(route) else None,
    }


def compared(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[Changed]:
    """Return what was before and after, field by field; amounts in dollars, without the nano-dollars."""
    old, new = before or {}, after or {}
    names = [name for name in {**old, **new} if not _is_twice(name, {**old, **new})]
    return [Changed(name, _text(old, name), _text(new, name)) for name in names]


def _is_twice(name: str, fields: Mapping[str, Any]) -> bool:
    return name.endswith("_nanousd") and f"{name.removesuffix('_nanousd')}_usd" in fields


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    if name not in fields or fields[name] is None:
        return None
    return value_text(fields[name])[:VALUE_CHARS_MAX]


def place_of(action: str, object_id: str) -> tuple[str, str]:
    """Return where to see what an act is about, and the route that is asked there; empty for no page."""
    both = ((object_id, PLACES), (action, BY_ACTION))
    found = (
        (place, route) for text, known in both for begin, place, route in known if text.startswith(begin)
    )
    place, route = next(found, ("", ""))
    return (place + quote(object_id, safe=""), route) if place else ("", "")


PAGES = (Page(path="/audit", roles=FINANCE_READERS, handler=show_audit, key="audit"),)
