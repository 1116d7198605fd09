"""`/saved-reports`: questions that are asked again, about a span that goes with the time."""

from typing import Annotated, Any

from pydantic import Field

from proxy.admin.api.etags import check, etag
from proxy.admin.api.models import (
    At,
    Id,
    Input,
    Model,
    Name,
    NameOrId,
    Nothing,
    Output,
    Paged,
    Reason,
    TenantPageParams,
    Text,
    Zone,
    with_usd,
)
from proxy.admin.api.pages import paged
from proxy.admin.api.problems import Problem, invalid
from proxy.admin.api.reports import CostsOut
from proxy.admin.api.routes import BOOKKEEPERS, EVERYONE, Answer, Call, Opens, Route
from proxy.core.records import Kind
from proxy.core.spans import SHAPE
from proxy.core.usage import Meter, Modality
from proxy.store import NotFound, StoreError
from proxy.store import saved_reports as store
from proxy.store.database import reading
from proxy.store.filters import Filters
from proxy.store.groups import GROUPS, GROUPS_MAX
from proxy.store.instants import parse_zone
from proxy.store.reports import CostQuery
from proxy.store.saved_reports import SavedReport, Wanted
from proxy.store.tokens import TokenRole

SPAN_CHARS_MAX = 20
VALUE_CHARS_MAX = 256
CONFINED = "This token is confined to tenants: name the one that it is for."


class FiltersIn(Input):
    """Which entries, besides the tenant."""

    project: NameOrId | None = None
    key: Id | None = None
    model: Model | None = None
    end_user: Annotated[Text | None, Field(min_length=1, max_length=VALUE_CHARS_MAX)] = None
    tag: Annotated[
        Text | None, Field(min_length=1, max_length=VALUE_CHARS_MAX, description="NAME=VALUE.")
    ] = None
    kind: Annotated[Kind | None, Field(strict=False)] = None
    status: Annotated[Text | None, Field(min_length=1, max_length=64)] = None
    meter: Annotated[Meter | None, Field(strict=False)] = None
    modality: Annotated[Modality | None, Field(strict=False)] = None
    unrated: bool = False
    estimated: bool = False


class SavedReportOut(Output):
    """A saved report. Without a tenant it is about all of them."""

    id: str
    tenant_id: str | None
    tenant: str | None
    name: str
    span: str
    group_by: list[str]
    filters: dict[str, Any]
    tz: str
    count_sessions: bool
    created_at: At
    changed_at: At


class SavedReportIn(Input):
    """What a saved report asks."""

    name: Name
    span: Annotated[Text, Field(min_length=1, max_length=SPAN_CHARS_MAX, description=f"{SHAPE}.")]
    group_by: Annotated[
        list[Annotated[Text, Field(min_length=1, max_length=VALUE_CHARS_MAX)]],
        Field(max_length=GROUPS_MAX, description=f"Any of {', '.join(GROUPS)}, tag:NAME."),
    ] = []
    filters: FiltersIn = FiltersIn()
    tz: Annotated[Zone | None, Field(description="Of hours, days and months; else the ledger's.")] = None
    count_sessions: bool = False
    reason: Reason | None = None


class SavedReportNew(SavedReportIn):
    """A report to be saved."""

    tenant: Annotated[NameOrId | None, Field(description="It is of this tenant, and about it alone.")] = None


class SavedReportPath(Input):
    """Which saved report."""

    report_id: Id


def list_reports(call: Call[TenantPageParams, Nothing]) -> Answer:
    """Answer with a page of saved reports, by id."""
    return paged(
        call,
        lambda page: store.list_reports(call.connection, call.params.tenant, page),
        key=lambda one: (one.id,),
        kinds=(str,),
        show=_shown,
    )


def create_report(call: Call[Nothing, SavedReportNew]) -> Answer:
    """Save a report."""
    tenant_id = owner_of(call, call.body.tenant)
    wanted = _wanted(call)
    made = store.save_report(call.connection, wanted, call.act(), tenant=tenant_id, only_new=True)
    return _answer(made, 201)


def show_report(call: Call[SavedReportPath, Nothing]) -> Answer:
    """Answer with one saved report."""
    return _answer(_find(call))


def change_report(call: Call[SavedReportPath, SavedReportIn]) -> Answer:
    """Put another question in the place of a saved one."""
    found = _find(call)
    check(call.if_match, _etag(found))
    return _answer(store.change_report(call.connection, found.id, _wanted(call), call.act()))


def forget_report(call: Call[SavedReportPath, Nothing]) -> Answer:
    """Forget a saved report; answer with what it was."""
    found = _find(call)
    check(call.if_match, _etag(found))
    return Answer(_shown(store.forget_report(call.connection, found.id, call.act())))


def run_report(call: Call[SavedReportPath, Nothing]) -> Answer:
    """Answer a saved report about the span that it means now. To a viewer, cost is what the tenant owes."""
    engine = call.context.engine
    with reading(engine) as connection:
        found = _of_id(store.find_report(connection, call.params.report_id, within=call.within), call)
    is_billed = call.caller.role is TokenRole.VIEWER
    told = store.run_saved(engine, found, call.at, is_billed=is_billed, within=call.within).as_json()
    return Answer(CostsOut(**{("from_" if name == "from" else name): with_usd(told[name]) for name in told}))


def owner_of(call: Call[Any, Any], tenant: str | None) -> str | None:
    """Return the id of the tenant that something new is for; None is the installation."""
    if tenant is None and call.within is not None:
        raise Problem("forbidden", CONFINED)
    return call.tenant_id(tenant)


def _wanted(call: Call[Any, Any]) -> Wanted:
    body: SavedReportIn = call.body
    zone = call.context.zone
    if body.tz is not None:
        try:
            zone = parse_zone(body.tz)
        except StoreError as error:
            raise invalid("body", "tz", str(error)) from None
    filters = Filters(**body.filters.model_dump())
    query = CostQuery(tuple(body.group_by), filters, zone, body.count_sessions)
    return Wanted(body.name, query, body.span)


def _find(call: Call[SavedReportPath, Any]) -> SavedReport:
    return _of_id(store.find_report(call.connection, call.params.report_id, within=call.within), call)


def _of_id(found: SavedReport, call: Call[SavedReportPath, Any]) -> SavedReport:
    if found.id != call.params.report_id:
        raise NotFound(
            f"There is no saved report with the id {call.params.report_id!r}: GET /api/v1/saved-reports."
        )
    return found


def _shown(one: SavedReport) -> SavedReportOut:
    return SavedReportOut(
        id=one.id,
        tenant_id=one.tenant_id,
        tenant=one.tenant,
        name=one.name,
        span=one.span,
        group_by=one.query["group_by"],
        filters=one.query["filters"],
        tz=one.query["zone"],
        count_sessions=one.query["count_sessions"],
        created_at=one.created_at,
        changed_at=one.changed_at,
    )


def _answer(one: SavedReport, status: int = 200) -> Answer:
    headers = {"ETag": _etag(one), "Location": f"/api/v1/saved-reports/{one.id}"}
    return Answer(_shown(one), status, headers)


def _etag(one: SavedReport) -> str:
    return etag(one.id, one.name, one.query, one.span)


ROUTES = (
    Route(
        method="GET",
        path="/saved-reports",
        summary="List saved reports",
        roles=EVERYONE,
        handler=list_reports,
        params=TenantPageParams,
        result=Paged[SavedReportOut],
    ),
    Route(
        method="POST",
        path="/saved-reports",
        summary="Save a report",
        roles=BOOKKEEPERS,
        handler=create_report,
        body=SavedReportNew,
        result=SavedReportOut,
        status=201,
        creates=True,
    ),
    Route(
        method="GET",
        path="/saved-reports/{report_id}",
        summary="Show a saved report",
        roles=EVERYONE,
        handler=show_report,
        params=SavedReportPath,
        result=SavedReportOut,
    ),
    Route(
        method="PUT",
        path="/saved-reports/{report_id}",
        summary="Change a saved report, or its name",
        roles=BOOKKEEPERS,
        handler=change_report,
        params=SavedReportPath,
        body=SavedReportIn,
        result=SavedReportOut,
        edits=True,
    ),
    Route(
        method="DELETE",
        path="/saved-reports/{report_id}",
        summary="Forget a saved report",
        roles=BOOKKEEPERS,
        handler=forget_report,
        params=SavedReportPath,
        result=SavedReportOut,
        edits=True,
        reasons=True,
    ),
    Route(
        method="GET",
        path="/saved-reports/{report_id}/costs",
        summary="Run a saved report, about the span that it means now",
        roles=EVERYONE,
        handler=run_report,
        params=SavedReportPath,
        result=CostsOut,
        opens=Opens.NOTHING,
    ),
)
