"""`/audit`: who changed what, when and why."""

from typing import Annotated, Any

from pydantic import Field

from proxy.admin.api.models import At, Nothing, Output, Paged, PeriodParams, TenantPageParams, Text
from proxy.admin.api.pages import paged
from proxy.admin.api.periods import period
from proxy.admin.api.routes import FINANCE_READERS, Answer, Call, Route
from proxy.store.audit import ACTOR_CHARS_MAX, Which, page_of_audit


class NotedOut(Output):
    """An act: `before` and `after` have the fields that matter."""

    id: int
    at: At
    actor: str
    action: str
    object: str
    tenant_id: str | None
    tenant: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    reason: str | None


class AuditParams(TenantPageParams, PeriodParams):
    """Which acts."""

    actor: Annotated[
        Text | None,
        Field(min_length=1, max_length=ACTOR_CHARS_MAX, description="Only of this actor, or `user:*`."),
    ] = None
    action: Annotated[
        Text | None, Field(min_length=1, max_length=ACTOR_CHARS_MAX, description="`key.revoke`, or `key.*`.")
    ] = None
    object: Annotated[
        Text | None, Field(min_length=1, max_length=ACTOR_CHARS_MAX, description="Only about this id.")
    ] = None


def list_acts(call: Call[AuditParams, Nothing]) -> Answer:
    """Answer with a page of acts, the newest first."""
    start, end = period(call.params, call.context.zone)
    tenant_id = call.tenant_id(call.params.tenant)
    which = Which(call.params.actor, call.params.action, call.params.object)
    return paged(
        call,
        lambda page: page_of_audit(
            call.connection, page, tenant_id=tenant_id, start=start, end=end, which=which
        ),
        key=lambda one: (one.id,),
        kinds=(int,),
        show=NotedOut.model_validate,
        newest_first=True,
    )


ROUTES = (
    Route(
        method="GET",
        path="/audit",
        summary="List acts, the newest first",
        roles=FINANCE_READERS,
        handler=list_acts,
        params=AuditParams,
        result=Paged[NotedOut],
    ),
)
