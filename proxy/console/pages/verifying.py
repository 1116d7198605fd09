"""Verifying the ledger: in the background, with a digest that somebody has kept, or without."""

from collections.abc import Mapping
from typing import Any

from proxy.admin.api.problems import Problem
from proxy.admin.api.routes import FINANCE_READERS
from proxy.console.desk import Desk
from proxy.console.errors import errors_of, raise_unless_told
from proxy.console.views import Moved, Page, View

PATH = "/ledger/verify"


async def show(desk: Desk) -> View:
    """GET /ledger/verify; while it runs the page asks for itself again."""
    return await _shown(desk, desk.query.get("digest", ""))


async def begin(desk: Desk) -> View | Moved:
    """POST /ledger/verify."""
    try:
        await desk.post("/ledger/verify", desk.filled("digest"))
    except Problem as problem:
        if problem.kind == "conflict":
            return Moved(PATH, "The ledger is being verified already.")
        raise_unless_told(problem)
        return await _shown(desk, desk.field("digest"), problem)
    return Moved(PATH)


async def _shown(desk: Desk, digest: str, problem: Problem | None = None) -> View:
    last = (await desk.get("/ledger/verify/progress"))["last"]
    shown = {
        "last": last,
        "is_running": last is not None and last["ended_at"] is None,
        "step": _step(last) if last else "",
        "digest": digest,
        "problem": problem.as_json() if problem else None,
        "errors": errors_of(problem),
    }
    return View("pages/ledger_verify.html", shown, problem.status if problem else 200)


def _step(last: Mapping[str, Any]) -> str:
    """Return what is being done now."""
    if not last["total"]:
        return "Reading the first entries"
    return "Checking entries" if last["done"] < last["total"] else "Checking closes, budgets and sums"


PAGES = (
    Page(path=PATH, roles=FINANCE_READERS, handler=show, key="ledger", installation=True),
    Page(path=PATH, roles=FINANCE_READERS, handler=begin, key="ledger", method="POST", installation=True),
)
