"""`/audit`: who changed what, when and why."""

from datetime import UTC
from typing import Annotated, Any

from pydantic import Field

from proxy.admin.api.models import At, NameOrId, Nothing, Output, Paged, PageParams, PeriodParams
from proxy.admin.api.pages import paged
from proxy.admin.api.periods import period
from proxy.admin.api.routes import FINANCE_READERS, Answer, Call, Route
from proxy.store.audit import page_of_audit


class ActOut(Output):
    """An act: a row of the audit log. `before` and `after` have the fields that matter."""

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


class AuditParams(PageParams, PeriodParams):
    """Which acts."""

    tenant: Annotated[NameOrId | None, Field(description="Only about this tenant (name or id).")] = None


def list_acts(call: Call[AuditParams, Nothing]) -> Answer:
    """Answer with a page of the audit log, the newest first."""
    start, end = period(call.params, UTC)
    tenant_id = call.tenant_id(call.params.tenant)
    return paged(
        call,
        lambda page: page_of_audit(call.connection, page, tenant_id=tenant_id, start=start, end=end),
        key=lambda one: (one.id,),
        kinds=(int,),
        show=ActOut.model_validate,
        newest_first=True,
    )


ROUTES = (
    Route(
        method="GET",
        path="/audit",
        summary="List what was changed by whom, the newest first",
        roles=FINANCE_READERS,
        handler=list_acts,
        params=AuditParams,
        result=Paged[ActOut],
    ),
)
