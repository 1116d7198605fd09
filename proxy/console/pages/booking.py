"""Booking an adjustment or a credit beside what was metered."""

from typing import Any

from proxy.admin.api.problems import Problem
from proxy.admin.api.routes import BOOKKEEPERS
from proxy.console.desk import KEY, Desk
from proxy.console.errors import errors_of, raise_unless_told
from proxy.console.views import Moved, Page, View

PATH = "/ledger/book"
TEXTS = ("kind", "tenant", "project", "billed_usd", "cost_usd", "provider", "occurred_at", "reason")
TYPED = (*TEXTS, "corrects")
KINDS = (
    ("credit", "Credit: the tenant owes less"),
    ("adjustment", "Adjustment: of what is owed, or what we pay"),
)


async def show_form(desk: Desk) -> View:
    """GET /ledger/book; what the query names is filled in."""
    return _form({name: desk.query.get(name, "") for name in TYPED})


async def book(desk: Desk) -> View | Moved:
    """POST /ledger/book. The form's key makes it one booking, however often it is sent."""
    typed = {name: desk.field(name) for name in TYPED}
    try:
        done = await desk.post("/adjustments", _wanted(desk))
    except Problem as problem:
        raise_unless_told(problem)
        return _form(typed, problem)
    if "asked_by" in done:
        return Moved(
            f"/approvals/{done['id']}",
            "It is not booked yet: so large an amount waits here until somebody else approves it.",
        )
    return Moved(f"/entries/{done['id']}", f"Booked as entry {done['id']}.")


def _wanted(desk: Desk) -> dict[str, Any]:
    corrects = desk.field("corrects")
    entry = {"corrects": int(corrects) if corrects.isdecimal() and len(corrects) < 20 else corrects}
    return {
        "key": f"console-{desk.field(KEY)}",
        **desk.filled(*TEXTS),
        **(entry if corrects else {}),
    }


def _form(typed: dict[str, str], problem: Problem | None = None) -> View:
    shown = {
        "typed": typed,
        "kinds": KINDS,
        "problem": problem.as_json() if problem else None,
        "errors": errors_of(problem),
    }
    return View("pages/ledger_book.html", shown, problem.status if problem else 200)


PAGES = (
    Page(path=PATH, roles=BOOKKEEPERS, handler=show_form, key="ledger"),
    Page(path=PATH, roles=BOOKKEEPERS, handler=book, key="ledger", method="POST"),
)
