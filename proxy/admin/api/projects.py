"""`/projects`: parts of a tenant."""

from proxy.admin.api.etags import check, etag
from proxy.admin.api.models import At, Id, Input, Name, NameOrId, Nothing, Output, Paged, TenantPageParams
from proxy.admin.api.pages import paged
from proxy.admin.api.routes import ADMINS, FINANCE_READERS, Answer, Call, Route
from proxy.store import tenants
from proxy.store.tenants import Project


class ProjectOut(Output):
    """A project of a tenant."""

    id: str
    tenant_id: str
    tenant: str
    name: str
    created_at: At
    archived_at: At | None


class ProjectNew(Input):
    """A project to be made."""

    tenant: NameOrId
    name: Name


class ProjectPath(Input):
    """Which project."""

    project_id: Id


def list_projects(call: Call[TenantPageParams, Nothing]) -> Answer:
    """Answer with a page of projects, by id."""
    return paged(
        call,
        lambda page: tenants.list_projects(call.connection, call.params.tenant, page),
        key=lambda one: (one.id,),
        kinds=(str,),
        show=ProjectOut.model_validate,
    )


def show_project(call: Call[ProjectPath, Nothing]) -> Answer:
    """Answer with one project."""
    return _answer(tenants.project_of_id(call.connection, call.params.project_id, call.within))


def create_project(call: Call[Nothing, ProjectNew]) -> Answer:
    """Make a project."""
    owner = call.tenant(call.body.tenant)
    return _answer(tenants.create_project(call.connection, owner.id, call.body.name, call.act()), 201)


def archive_project(call: Call[ProjectPath, Nothing]) -> Answer:
    """Archive a project."""
    found = tenants.project_of_id(call.connection, call.params.project_id, call.within)
    check(call.if_match, _etag(found))
    return _answer(tenants.archive_project(call.connection, found.tenant_id, found.id, call.act()))


def _answer(one: Project, status: int = 200) -> Answer:
    headers = {"ETag": _etag(one), "Location": f"/api/v1/projects/{one.id}"}
    return Answer(ProjectOut.model_validate(one), status, headers)


def _etag(one: Project) -> str:
    return etag(one.id, one.name, one.archived_at)


ROUTES = (
    Route(
        method="GET",
        path="/projects",
        summary="List projects",
        roles=FINANCE_READERS,
        handler=list_projects,
        params=TenantPageParams,
        result=Paged[ProjectOut],
    ),
    Route(
        method="POST",
        path="/projects",
        summary="Create a project of a tenant",
        roles=ADMINS,
        handler=create_project,
        body=ProjectNew,
        result=ProjectOut,
        status=201,
        creates=True,
    ),
    Route(
        method="GET",
        path="/projects/{project_id}",
        summary="Show a project",
        roles=FINANCE_READERS,
        handler=show_project,
        params=ProjectPath,
        result=ProjectOut,
    ),
    Route(
        method="DELETE",
        path="/projects/{project_id}",
        summary="Archive a project: its keys stop working, its ledger stays",
        roles=ADMINS,
        handler=archive_project,
        params=ProjectPath,
        result=ProjectOut,
        edits=True,
        reasons=True,
    ),
)
