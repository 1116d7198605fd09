"""`/tenants`: who pays."""

from proxy.admin.api.etags import check, etag
from proxy.admin.api.models import At, Id, Input, Name, Nothing, Output, Paged, PageParams
from proxy.admin.api.pages import paged
from proxy.admin.api.routes import ADMINS, FINANCE_READERS, Answer, Call, Route
from proxy.store import NotFound, tenants
from proxy.store.tenants import Tenant


class TenantOut(Output):
    """A tenant. Archived ones keep their name and their ledger."""

    id: str
    name: str
    created_at: At
    archived_at: At | None


class TenantNew(Input):
    """A tenant to be made."""

    name: Name


class TenantPath(Input):
    """Which tenant."""

    tenant_id: Id


def list_tenants(call: Call[PageParams, Nothing]) -> Answer:
    """Answer with a page of tenants, by id."""
    return paged(
        call,
        lambda page: tenants.list_tenants(call.connection, page),
        key=lambda one: (one.id,),
        kinds=(str,),
        show=TenantOut.model_validate,
    )


def show_tenant(call: Call[TenantPath, Nothing]) -> Answer:
    """Answer with one tenant."""
    return _answer(_tenant(call))


def create_tenant(call: Call[Nothing, TenantNew]) -> Answer:
    """Make a tenant."""
    return _answer(tenants.create_tenant(call.connection, call.body.name, call.act()), 201)


def archive_tenant(call: Call[TenantPath, Nothing]) -> Answer:
    """Archive a tenant."""
    found = _tenant(call)
    check(call.if_match, _etag(found))
    return _answer(tenants.archive_tenant(call.connection, found.id, call.act()))


def _tenant(call: Call[TenantPath, Nothing]) -> Tenant:
    found = call.tenant(call.params.tenant_id)
    if found.id != call.params.tenant_id:
        raise NotFound(f"There is no tenant with the id {call.params.tenant_id!r}: GET /api/v1/tenants.")
    return found


def _answer(one: Tenant, status: int = 200) -> Answer:
    headers = {"ETag": _etag(one), "Location": f"/api/v1/tenants/{one.id}"}
    return Answer(TenantOut.model_validate(one), status, headers)


def _etag(one: Tenant) -> str:
    return etag(one.id, one.name, one.archived_at)


ROUTES = (
    Route(
        method="GET",
        path="/tenants",
        summary="List tenants",
        roles=FINANCE_READERS,
        handler=list_tenants,
        params=PageParams,
        result=Paged[TenantOut],
    ),
    Route(
        method="POST",
        path="/tenants",
        summary="Create a tenant",
        roles=ADMINS,
        handler=create_tenant,
        body=TenantNew,
        result=TenantOut,
        status=201,
        installation=True,
        creates=True,
    ),
    Route(
        method="GET",
        path="/tenants/{tenant_id}",
        summary="Show a tenant",
        roles=FINANCE_READERS,
        handler=show_tenant,
        params=TenantPath,
        result=TenantOut,
    ),
    Route(
        method="DELETE",
        path="/tenants/{tenant_id}",
        summary="Archive a tenant: its keys stop working, its ledger stays",
        roles=ADMINS,
        handler=archive_tenant,
        params=TenantPath,
        result=TenantOut,
        edits=True,
        reasons=True,
    ),
)
