"""`/markups`: what tenants are billed on top of our cost, or less, from an instant on."""

from typing import Annotated

from pydantic import Field

from proxy.admin.api.models import (
    At,
    Input,
    NameOrId,
    Nothing,
    Output,
    Paged,
    Reason,
    TenantPageParams,
    Time,
)
from proxy.admin.api.pages import paged
from proxy.admin.api.periods import instant
from proxy.admin.api.routes import ADMINS, FINANCE_READERS, Answer, Call, Route
from proxy.admin.api.saved_reports import owner_of
from proxy.core.rating import BASIS_POINTS
from proxy.store import markups as store
from proxy.store.markups import MARKUP_BP_MAX


class MarkupOut(Output):
    """A markup. Without a tenant it is of all tenants that have none of their own."""

    id: str
    tenant: str | None
    basis_points: int = Field(description="Hundredths of a percent, on top of our cost.")
    percent: str
    effective_from: At
    created_at: At


class MarkupNew(Input):
    """A markup from an instant on. It supersedes the one before; 0 ends that."""

    tenant: Annotated[NameOrId | None, Field(description="Else of all that have none of their own.")] = None
    basis_points: Annotated[
        int,
        Field(
            ge=-BASIS_POINTS, le=MARKUP_BP_MAX, description="1500 is 15% on top; below 0 it is a discount."
        ),
    ]
    from_: Annotated[Time | None, Field(alias="from", description="Now if left out.")] = None
    reason: Reason | None = None


def list_markups(call: Call[TenantPageParams, Nothing]) -> Answer:
    """Answer with a page of markups, by id."""
    tenant_id = call.tenant_id(call.params.tenant)
    return paged(
        call,
        lambda page: store.page_of_markups(call.connection, tenant_id, page),
        key=lambda one: (one.id,),
        kinds=(str,),
        show=MarkupOut.model_validate,
    )


def set_markup(call: Call[Nothing, MarkupNew]) -> Answer:
    """Set a markup; the same again finds the first one."""
    tenant_id = owner_of(call, call.body.tenant)
    start = instant("body", "from", call.body.from_, call.context.zone)
    at = call.at.replace(microsecond=0) if start is None else start
    made = store.set_markup(call.connection, tenant_id, call.body.basis_points, at, call.act())
    return Answer(MarkupOut.model_validate(made), 201)


ROUTES = (
    Route(
        method="GET",
        path="/markups",
        summary="List markups and discounts, past and future ones too",
        roles=FINANCE_READERS,
        handler=list_markups,
        params=TenantPageParams,
        result=Paged[MarkupOut],
    ),
    Route(
        method="POST",
        path="/markups",
        summary="Set a markup or a discount from an instant on; 0 ends it",
        roles=ADMINS,
        handler=set_markup,
        body=MarkupNew,
        result=MarkupOut,
        status=201,
        creates=True,
    ),
)
