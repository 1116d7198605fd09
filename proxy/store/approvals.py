"""Requests that wait for a second person, and what was decided about each: rows that are only ever added.

What is asked for and what comes of it is `store/four_eyes.py`'s. Both functions that write lock the chain, so
that of two who ask or decide at once the second one sees what the first has done.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, insert, select

from proxy.ids import new_id
from proxy.store import Conflict, NotFound
from proxy.store.audit import Act
from proxy.store.chain import lock_chain
from proxy.store.instants import format_instant
from proxy.store.pages import EVERYTHING, Page, Within, is_within
from proxy.store.schema import approval_decision, approval_request, tenant

LASTS = timedelta(days=7)
PENDING_MAX = 1_000
APPROVED, REJECTED = "approved", "rejected"


class State(StrEnum):
    """How far a request is."""

    PENDING = "pending"
    APPROVED = APPROVED
    REJECTED = REJECTED
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for: `action` as the audit log calls it, of which `object`, and all that it takes."""

    action: str
    object: str
    tenant_id: str | None  # None concerns the whole installation
    what: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Approval:
    """A request, and what was decided."""

    id: str
    state: str
    action: str
    object: str
    tenant_id: str | None
    tenant: str | None
    wanted: Mapping[str, Any]
    asked_at: datetime
    asked_by: str
    reason: str | None
    expires_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    decision_reason: str | None
    result: Mapping[str, Any] | None


def ask(connection: Connection, wanted: Wanted, act: Act) -> Approval:
    """Ask for something. Asked for again while it waits, the same is the same request.

    Raises:
        StoreError: another request about this waits, or too many do.
    """
    lock_chain(connection)
    same = (approval_request.c.action == wanted.action) & (approval_request.c.object == wanted.object)
    for found in _approvals(connection, act.at, same & _in(State.PENDING, act.at)):
        if (found.wanted, found.tenant_id, found.reason) == (wanted.what, wanted.tenant_id, act.reason):
            return found
        raise Conflict(
            f"There is a request about {wanted.object} already, {found.id} of {found.asked_by}:"
            " have that approved or rejected first."
        )
    _check_room(connection, act.at)
    made = new_id("apr")
    row = {
        "id": made,
        "action": wanted.action,
        "object": wanted.object,
        "tenant_id": wanted.tenant_id,
        "wanted": wanted.what,
        "asked_at": act.at,
        "asked_by": act.actor,
        "reason": act.reason,
        "expires_at": act.at + LASTS,
    }
    connection.execute(insert(approval_request).values(row))
    after = {"action": wanted.action, "object": wanted.object, **wanted.what}
    act.note(connection, "approval.ask", made, tenant_id=wanted.tenant_id, after=after)
    return find_approval(connection, made, act.at)


def _check_room(connection: Connection, now: datetime) -> None:
    waiting = _joined(func.count()).where(_in(State.PENDING, now))
    if connection.execute(waiting).scalar_one() >= PENDING_MAX:
        raise Conflict(f"{PENDING_MAX:,} requests wait for approval: have some approved or rejected first.")


def lock_pending(connection: Connection, id: str, now: datetime, within: Within = None) -> Approval:
    """Return a request that waits; nobody else decides about it until this transaction is over.

    Raises:
        StoreError: there is no such request that may be seen, or it waits no more.
    """
    lock_chain(connection)
    found = find_approval(connection, id, now, within)
    if found.decided_at is not None:
        at = format_instant(found.decided_at)
        raise Conflict(f"This was {found.state} by {found.decided_by} at {at}: that is final.")
    if found.state == State.EXPIRED:
        raise Conflict(f"This has expired at {format_instant(found.expires_at)}: ask for it again.")
    return found


def decide(
    connection: Connection,
    request: Approval,
    decision: str,
    act: Act,
    result: Mapping[str, Any] | None = None,
) -> Approval:
    """Write down what was decided about a request that `lock_pending` has returned."""
    row = {
        "request_id": request.id,
        "decision": decision,
        "decided_at": act.at,
        "decided_by": act.actor,
        "reason": act.reason,
        "result": result,
    }
    connection.execute(insert(approval_decision).values(row))
    verb = "approval.approve" if decision == APPROVED else "approval.reject"
    asked = {"action": request.action, "object": request.object, "asked_by": request.asked_by}
    act.note(connection, verb, request.id, tenant_id=request.tenant_id, before=asked, after=result)
    return find_approval(connection, request.id, act.at)


def find_approval(connection: Connection, id: str, now: datetime, within: Within = None) -> Approval:
    """Raises StoreError: there is no such request, or it may not be seen."""
    found = _approvals(connection, now, approval_request.c.id == id)
    if not found or not is_within(found[0].tenant_id, within):
        raise NotFound(f"There is no request {id[:60]!r}: the list of requests says which there are.")
    return found[0]


def page_of_approvals(
    connection: Connection, page: Page, now: datetime, *, state: State | None = None
) -> list[Approval]:
    """Return a page of requests, by id."""
    wanted = [] if state is None else [_in(state, now)]
    return _approvals(connection, now, *wanted, page=page)


def _approvals(
    connection: Connection, now: datetime, *wanted: ColumnElement[bool], page: Page = EVERYTHING
) -> list[Approval]:
    decided, asked = approval_decision.c, approval_request.c
    query = _joined(
        approval_request,
        tenant.c.name.label("tenant"),
        decided.decision,
        decided.decided_at,
        decided.decided_by,
        decided.reason.label("decision_reason"),
        decided.result,
    ).where(*wanted)
    rows = connection.execute(page.of(query, asked.id, tenant_id=asked.tenant_id)).mappings()
    return [_approval(dict(row), now) for row in rows]


def _joined(*columns: Any) -> Select[Any]:
    request = approval_request.outerjoin(
        approval_decision, approval_decision.c.request_id == approval_request.c.id
    )
    return select(*columns).select_from(
        request.outerjoin(tenant, tenant.c.id == approval_request.c.tenant_id)
    )


def _approval(row: dict[str, Any], now: datetime) -> Approval:
    undecided = State.PENDING if row["expires_at"] > now else State.EXPIRED
    return Approval(state=row.pop("decision") or undecided, **row)


def _in(state: State, now: datetime) -> ColumnElement[bool]:
    decision, expires_at = approval_decision.c.decision, approval_request.c.expires_at
    match state:
        case State.PENDING:
            return decision.is_(None) & (expires_at > now)
        case State.EXPIRED:
            return decision.is_(None) & (expires_at <= now)
        case _:
            return decision == state.value
