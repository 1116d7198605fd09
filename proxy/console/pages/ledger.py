"""Ledger: every billed thing, one entry each, found by what it is about."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from proxy.admin.api.problems import Problem
from proxy.admin.api.routes import EVERYONE
from proxy.console.desk import Desk
from proxy.console.errors import errors_of, raise_unless_told
from proxy.console.views import Page, View
from proxy.core.records import Kind, Role
from proxy.store.tokens import TokenRole

LIMIT = 50
FILTERS = ("from", "to", "tenant", "project", "key", "model", "session", "period", "kind", "unrated")
FEW = ("tenant", "period", "from", "to", "kind", "unrated", "order")  # the others are folded away
OLDEST = "oldest"
DOWNLOADS = (("csv", "CSV"), ("xlsx", "Excel"), ("parquet", "Parquet"), ("jsonl", "JSON lines"))
VIEWER_DOWNLOADS = DOWNLOADS[:1]  # what the API gives to the role
_MARKS = {Role.REVERSAL: "reversal", Role.REPLACEMENT: "replacement"}


async def show_ledger(desk: Desk) -> View:
    """GET /ledger."""
    wanted = {name: desk.query[name] for name in FILTERS if name in desk.query}
    is_oldest_first = desk.query.get("order") == OLDEST
    problem = None
    found: Mapping[str, Any] = {"data": [], "next": None}
    try:
        after = desk.query.get("after")
        found = await desk.get(
            "/ledger", **wanted, newest_first=not is_oldest_first, limit=LIMIT, after=after
        )
    except Problem as refused:
        raise_unless_told(refused)
        problem = refused
    shown = {
        "entries": [marked(one) for one in found["data"]],
        "next_href": desk.href(after=found["next"]) if found["next"] else "",
        "first_href": desk.href(after=None) if "after" in desk.query else "",
        "wanted": wanted,
        "typed": {name: wanted.get(name, "") for name in FILTERS},
        "kinds": [("", "any"), *((kind.value, kind.value) for kind in Kind)],
        "order": OLDEST if is_oldest_first else "",
        "is_folded": not any(name in wanted for name in FILTERS if name not in FEW),
        "is_viewer": desk.caller.role is TokenRole.VIEWER,
        "downloads": _downloads(desk, wanted),
        "problem": problem.as_json() if problem else None,
        "errors": errors_of(problem),
    }
    return View("pages/ledger.html", shown, problem.status if problem else 200)


def marked(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry with `marks`: what a reader of its amount should know, as kind and text of a badge."""
    marks = []
    if not entry["rated"]:
        marks.append(("warning", "unrated"))
    if entry["estimated"]:
        marks.append(("warning", "estimated"))
    if entry["role"] in _MARKS:
        marks.append(("quiet", _MARKS[entry["role"]]))
    if entry["corrects_period"]:
        marks.append(("quiet", f"corrects {entry['corrects_period']}"))
    if entry["archive"]:
        marks.append(("quiet", "archived"))
    return {**entry, "marks": marks}


def _downloads(desk: Desk, wanted: Mapping[str, str]) -> list[tuple[str, str]]:
    formats = VIEWER_DOWNLOADS if desk.caller.role is TokenRole.VIEWER else DOWNLOADS
    return [
        (label, f"/reports/download/ledger?{urlencode({'format': format, **wanted})}")
        for format, label in formats
    ]


PAGES = (Page(path="/ledger", roles=EVERYONE, handler=show_ledger, key="ledger"),)
