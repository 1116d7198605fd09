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
PLACES = (
    ("bud_", "/budgets/"),
    ("key_", "/keys/"),
    ("ten_", "/tenants/"),
    ("prj_", "/projects/"),
    ("whk_", "/webhooks/"),
    ("card_", "/rate-cards/"),
    ("rec_", "/reconciliation/"),
)
BY_ACTION = (("session.", "/sessions/"), ("approval.", "/approvals/"))


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
        "rows": [told_of(one) for one in page["data"]],
        "next": page["next"],
        "given": given,
        "is_filtered": any(given.values()),
        "tenants": await desk.all_of("/tenants", pages_max=1),
        "problem": problem.as_json() if problem else None,
        "errors": errors_of(problem),
    }
    return View("pages/audit.html", shown, problem.status if problem else 200)


def told_of(act: Mapping[str, Any]) -> dict[str, Any]:
    """Return an act with its fields compared, and the place of what it is about."""
    return {
        **act,
        "changes": [one for one in compared(act["before"], act["after"]) if not one.is_same],
        "href": href_of(act["action"], act["object"]),
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


def href_of(action: str, object_id: str) -> str | None:
    """Return where to see what an act is about, None where there is no page of it."""
    for begin, place in PLACES:
        if object_id.startswith(begin):
            return place + quote(object_id, safe="")
    for begin, place in BY_ACTION:
        if action.startswith(begin):
            return place + quote(object_id, safe="")
    return None


PAGES = (Page(path="/audit", roles=FINANCE_READERS, handler=show_audit, key="audit"),)
