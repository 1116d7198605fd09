"""`/approvals`: what waits for a second person, and deciding about it."""

from typing import Annotated, Any

from pydantic import Field

from proxy.admin.api.models import At, Id, Input, Nothing, Output, Paged, PageParams, with_usd
from proxy.admin.api.pages import paged
from proxy.admin.api.routes import BOOKKEEPERS, FINANCE_READERS, Answer, Call, Route
from proxy.store import four_eyes
from proxy.store.approvals import Approval, State, find_approval, page_of_approvals
from proxy.store.four_eyes import Approver
from proxy.store.sign_ins import names_of


class ApprovalOut(Output):
    """A request that a second person approves, and what was decided."""

    id: str
    state: str = Field(description="pending, approved, rejected or expired.")
    action: str = Field(description="As the audit log calls it, such as period.close.")
    object: str = Field(description="The period, or the adjustment's key.")
    tenant_id: str | None
    tenant: str | None
    wanted: dict[str, Any] = Field(description="All that was asked for.")
    asked_at: At
    asked_by: str
    reason: str | None
    expires_at: At
    decided_at: At | None
    decided_by: str | None
    decision_reason: str | None
    result: dict[str, Any] | None = Field(description="What came of it: an entry's id, a close's seal.")


class ApprovalParams(PageParams):
    """Which requests."""

    state: Annotated[State | None, Field(strict=False, description="Only those that are so now.")] = None


class ApprovalPath(Input):
    """Which request."""

    approval_id: Id


def shown_approval(one: Approval) -> ApprovalOut:
    """Return a request as it is answered with, its amounts in dollars too."""
    fields = {name: getattr(one, name) for name in Approval.__slots__}
    return ApprovalOut.model_validate(fields | {"wanted": with_usd(one.wanted)})


def asked(one: Approval) -> Answer:
    """Answer that something was asked for, and is not done yet."""
    return Answer(shown_approval(one), 202, {"Location": f"/api/v1/approvals/{one.id}"})


def list_approvals(call: Call[ApprovalParams, Nothing]) -> Answer:
    """Answer with a page of requests, the newest first."""
    return paged(
        call,
        lambda page: page_of_approvals(call.connection, page, call.at, state=call.params.state),
        key=lambda one: (one.id,),
        kinds=(str,),
        show=shown_approval,
        newest_first=True,
    )


def show_approval(call: Call[ApprovalPath, Nothing]) -> Answer:
    """Answer with one request."""
    found = find_approval(call.connection, call.params.approval_id, call.at, call.within)
    return Answer(shown_approval(found))


def approve(call: Call[ApprovalPath, Nothing]) -> Answer:
    """Do what was asked for."""
    done = four_eyes.approve(
        call.connection,
        call.params.approval_id,
        _approver(call),
        call.act(),
        zone=call.context.zone,
        issuer=call.context.issuer,
    )
    return Answer(shown_approval(done))


def reject(call: Call[ApprovalPath, Nothing]) -> Answer:
    """Decide that it is not done."""
    done = four_eyes.reject(call.connection, call.params.approval_id, _approver(call), call.act())
    return Answer(shown_approval(done))


def _approver(call: Call[ApprovalPath, Nothing]) -> Approver:
    caller = call.caller
    names = frozenset[str]() if caller.subject is None else names_of(call.connection, caller.subject)
    return Approver(caller.named_since, call.within, names)


ROUTES = (
    Route(
        method="GET",
        path="/approvals",
        summary="List what waits for a second person, or did, the newest first",
        roles=FINANCE_READERS,
        handler=list_approvals,
        params=ApprovalParams,
        result=Paged[ApprovalOut],
    ),
    Route(
        method="GET",
        path="/approvals/{approval_id}",
        summary="Show a request that waits for a second person, or did",
        roles=FINANCE_READERS,
        handler=show_approval,
        params=ApprovalPath,
        result=ApprovalOut,
    ),
    Route(
        method="POST",
        path="/approvals/{approval_id}/approve",
        summary="Approve what somebody else has asked for, and so do it",
        roles=BOOKKEEPERS,
        handler=approve,
        params=ApprovalPath,
        result=ApprovalOut,
        named=True,
        creates=True,
        reasons=True,
    ),
    Route(
        method="POST",
        path="/approvals/{approval_id}/reject",
        summary="Reject what was asked for, or take back what you have asked for; the reason is needed",
        roles=BOOKKEEPERS,
        handler=reject,
        params=ApprovalPath,
        result=ApprovalOut,
        named=True,
        creates=True,
        reasons=True,
    ),
)
