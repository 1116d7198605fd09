"""Approvals: what waits for a second person, in words, and deciding about it."""

from collections.abc import Mapping
from typing import Any

from proxy.admin.api.problems import Problem
from proxy.admin.api.routes import BOOKKEEPERS, FINANCE_READERS
from proxy.console.desk import Desk
from proxy.console.errors import errors_of, raise_unless_told
from proxy.console.figures import usd, usd_exact
from proxy.console.views import Moved, Page, View
from proxy.core.records import Kind
from proxy.store.approvals import State

LIMIT = 50
ALL = "all"
CLOSE = "period.close"
TABS = (
    (State.PENDING.value, "Waiting"),
    (State.APPROVED.value, "Approved"),
    (State.REJECTED.value, "Rejected"),
    (State.EXPIRED.value, "Expired"),
    (ALL, "All"),
)
TONES = {"pending": "warning", "approved": "ok", "rejected": "bad", "expired": "quiet"}
_APPROVE = "POST /approvals/{approval_id}/approve"
_ROLES = " or ".join(sorted(BOOKKEEPERS))


async def show_approvals(desk: Desk) -> View:
    """GET /approvals; those that wait, unless `state` says otherwise."""
    state = desk.query.get("state", State.PENDING.value)
    wanted = None if state == ALL else state
    found = await desk.get("/approvals", state=wanted, limit=LIMIT, after=desk.query.get("after"))
    shown = {
        "requests": [summed_up(one) for one in found["data"]],
        "state": state,
        "tabs": [(key, label, f"/approvals?state={key}") for key, label in TABS],
        "next_href": desk.href(after=found["next"]) if found["next"] else "",
        "first_href": desk.href(after=None) if "after" in desk.query else "",
    }
    return View("pages/approvals.html", shown)


async def show_approval(desk: Desk) -> View:
    """GET /approvals/{approval_id}."""
    return await _shown(desk)


async def approve(desk: Desk) -> View | Moved:
    """POST /approvals/{approval_id}/approve."""
    return await _decide(desk, "approve", "Approved, and done.")


async def reject(desk: Desk) -> View | Moved:
    """POST /approvals/{approval_id}/reject."""
    return await _decide(desk, "reject", "Rejected: it is not done.")


async def _decide(desk: Desk, verb: str, said: str) -> View | Moved:
    id = desk.path["approval_id"]
    try:
        await desk.post(f"/approvals/{{approval_id}}/{verb}", approval_id=id)
    except Problem as problem:
        if problem.kind != "forbidden":  # the reason of that is to be told beside what waits
            raise_unless_told(problem)
        return await _shown(desk, problem, verb)
    return Moved(f"/approvals/{id}", said)


async def _shown(desk: Desk, problem: Problem | None = None, verb: str = "") -> View:
    one = await desk.get("/approvals/{approval_id}", approval_id=desk.path["approval_id"])
    is_pending = one["state"] == State.PENDING
    is_own = is_by(one["asked_by"], desk.caller.name)
    shown = {
        "request": summed_up(await _with_project(desk, one)),
        "is_own": is_own,
        "may_decide": is_pending and desk.may(_APPROVE),
        "why_not": why_not(desk, is_own=is_own) if is_pending else None,
        "result": _result(one),
        "typed": {name: desk.field("reason") if name == verb else "" for name in ("approve", "reject")},
        "problem": problem.as_json() if problem else None,
        "errors": {"reject": errors_of(problem).get("reason", "")},
    }
    return View("pages/approval.html", shown, problem.status if problem else 200)


async def _with_project(desk: Desk, one: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a request with its project's name in the place of the id, where it is about one."""
    project_id = one["wanted"].get("project")
    if project_id is None:
        return one
    project = await desk.get("/projects/{project_id}", project_id=project_id)
    return {**one, "wanted": {**one["wanted"], "project": project["name"]}}


def why_not(desk: Desk, *, is_own: bool) -> str | None:
    """Return why the person may not approve what waits, None if they may."""
    if desk.caller.role not in BOOKKEEPERS:
        return f"Deciding takes the role {_ROLES}; you are signed in as {desk.caller.role}."
    if desk.caller.named_since is None:
        return (
            f"You are signed in as {desk.caller.name}, which may be anybody who has its password: deciding"
            " takes a person with a name of their own. Sign in at your organisation's provider, or have a"
            " person approve it with their own API token."
        )
    if is_own:
        return "You have asked for this yourself: somebody else approves it. You can take it back."
    return None


def is_by(actor: str, name: str) -> bool:
    """Tell whether an actor, such as `user:ann`, is called so. Who may decide is the API's to say."""
    return actor.partition(":")[2].casefold() == name.casefold()


def summed_up(one: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request with what it is called, and what will be done if it is approved, in words."""
    does = _closes(one) if one["action"] == CLOSE else _books(one)
    return {**one, "title": does[0], "does": does[1:], "tone": TONES[one["state"]]}


def _closes(one: Mapping[str, Any]) -> list[str]:
    wanted, month = one["wanted"], one["object"]
    does = [
        f"Close {month}",
        f"{month} is closed for good, as a month of {wanted['zone']}: nothing is booked to it any more.",
        "Each tenant with entries in it gets a statement of what it owes.",
    ]
    for found in wanted["in_the_way"]:
        examples = f", such as {'; '.join(found['examples'])}" if found["examples"] else ""
        reason = wanted["overrides"].get(found["what"], "")
        does.append(
            f"It is closed in spite of {found['what']} ({found['count']:,}{examples}). The reason: {reason}"
        )
    return does


def _books(one: Mapping[str, Any]) -> list[str]:
    wanted = one["wanted"]
    is_credit = wanted["kind"] == Kind.CREDIT
    amount = wanted["billed_nanousd"] or wanted["cost_nanousd"]
    project = f", project {wanted['project']}" if wanted["project"] else ""
    does = [
        f"{'Credit' if is_credit else 'Adjustment'} of {usd(amount)} for {one['tenant']}",
        f"What {one['tenant']} owes changes by {usd_exact(wanted['billed_nanousd'])}{project}.",
    ]
    if wanted["cost_nanousd"]:
        does.append(f"What {wanted['provider']} charges changes by {usd_exact(wanted['cost_nanousd'])}.")
    if wanted["corrects"] is not None:
        does.append(f"It puts entry {wanted['corrects']} right.")
    return [*does, f"It is booked to {wanted['period']}, under the key {one['object']}."]


def _result(one: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what came of it, and where that is to be seen."""
    done = one["result"]
    if not done:
        return None
    if one["action"] == CLOSE:
        return {"label": f"{done['period']} is closed", "href": f"/close/{done['period']}"}
    return {"label": f"Entry {done['entry_id']}", "href": f"/entries/{done['entry_id']}"}


PAGES = (
    Page(path="/approvals", roles=FINANCE_READERS, handler=show_approvals, key="approvals"),
    Page(path="/approvals/{approval_id}", roles=FINANCE_READERS, handler=show_approval, key="approvals"),
    Page(
        path="/approvals/{approval_id}/approve",
        roles=FINANCE_READERS,
        handler=approve,
        key="approvals",
        method="POST",
    ),
    Page(
        path="/approvals/{approval_id}/reject",
        roles=FINANCE_READERS,
        handler=reject,
        key="approvals",
        method="POST",
    ),
)
