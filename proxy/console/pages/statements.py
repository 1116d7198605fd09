"""Statements: what each tenant owes for a closed month, on the page and as files."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from proxy.admin.api.problems import Problem
from proxy.admin.api.routes import EVERYONE
from proxy.console.desk import Desk
from proxy.console.errors import errors_of, raise_unless_told
from proxy.console.views import Answer, Page, View
from proxy.core.usage import meter_label
from proxy.store.statements import SECTIONS, UNITS

LIMIT = 50
LINES_MAX = 500  # of one page of a statement
FILTERS = ("tenant", "period")


async def show_statements(desk: Desk) -> View:
    """GET /statements."""
    wanted = {name: desk.query[name] for name in FILTERS if name in desk.query}
    problem = None
    found: Mapping[str, Any] = {"data": [], "next": None}
    try:
        found = await desk.get("/statements", **wanted, limit=LIMIT, after=desk.query.get("after"))
    except Problem as refused:
        raise_unless_told(refused)
        problem = refused
    shown = {
        "statements": [{**one, "total_nanousd": total_of(one)} for one in found["data"]],
        "next_href": desk.href(after=found["next"]) if found["next"] else "",
        "first_href": desk.href(after=None) if "after" in desk.query else "",
        "wanted": wanted,
        "typed": {name: wanted.get(name, "") for name in FILTERS},
        "problem": problem.as_json() if problem else None,
        "errors": errors_of(problem),
    }
    return View("pages/statements.html", shown, problem.status if problem else 200)


async def show_statement(desk: Desk) -> View:
    """GET /statements/{number}."""
    whole = await desk.get("/statements/{number}", number=desk.path["number"])
    lines: Sequence[Mapping[str, Any]] = whole["lines"]
    first = _first_line(desk.query.get("from_line"), len(lines))
    shown_lines = lines[first : first + LINES_MAX]
    following = first + LINES_MAX
    shown = {
        "statement": {**whole, "total_nanousd": total_of(whole)},
        "sections": sections(shown_lines, lines),
        "first": first + 1,
        "last": first + len(shown_lines),
        "count": len(lines),
        "next_href": desk.href(from_line=str(following + 1)) if following < len(lines) else "",
        "first_href": desk.href(from_line=None) if first else "",
    }
    return View("pages/statement.html", shown)


async def download(desk: Desk) -> Answer:
    """GET /statements/{number}/file."""
    params = {"number": desk.path["number"], "format": desk.query.get("format")}
    return await desk.download("/statements/{number}/file", params)


def total_of(statement: Mapping[str, Any]) -> int:
    """Return what is owed, which is in whole cents, in nano-dollars."""
    return int(statement["billed_nanousd"]) + int(statement["rounding_nanousd"])


def sections(
    lines: Iterable[Mapping[str, Any]], all_lines: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return those sections that some of `lines` are of; the sum of each is that of all its lines."""
    found = []
    lines, all_lines = list(lines), list(all_lines)
    for name, title, explained in SECTIONS:
        own = [_line(one) for one in lines if one["line"] == name]
        if own:
            amounts = [
                one["billed_nanousd"]
                for one in all_lines
                if one["line"] == name and one["billed_nanousd"] is not None
            ]
            found.append(
                {
                    "name": name,
                    "title": title,
                    "explained": explained,
                    "lines": own,
                    "sum": sum(amounts) if amounts else None,
                }
            )
    return found


def _line(line: Mapping[str, Any]) -> dict[str, Any]:
    if line["entry_id"] is not None:
        what = f"{line['kind'].capitalize()}: {line['reason']}"
    elif line["meter"] is None:
        what = f"{line['kind'].capitalize()} without usage"
    else:
        what = meter_label(line["meter"])
    return {**line, "what": what, "unit": UNITS.get(line["unit"] or "", "")}


def _first_line(text: str | None, count: int) -> int:
    """Return the index of the first line to be shown, from its number in the query."""
    number = int(text) if text and text.isdecimal() and len(text) < 10 else 1
    return max(0, min(number, count) - 1)


PAGES = (
    Page(path="/statements", roles=EVERYONE, handler=show_statements, key="statements"),
    Page(path="/statements/{number}", roles=EVERYONE, handler=show_statement, key="statements"),
    Page(path="/statements/{number}/file", roles=EVERYONE, handler=download, key="statements"),
)
