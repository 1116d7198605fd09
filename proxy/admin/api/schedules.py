"""`/schedules`: reports that are sent by themselves, and how that went."""

from functools import partial
from typing import Annotated, Any

from pydantic import Field

from proxy.admin.api.etags import check, etag
from proxy.admin.api.models import (
    At,
    Id,
    Input,
    Name,
    NameOrId,
    Nothing,
    Output,
    Paged,
    PageParams,
    Reason,
    TenantPageParams,
    Text,
    Zone,
)
from proxy.admin.api.pages import paged
from proxy.admin.api.problems import invalid
from proxy.admin.api.routes import ADMINS, FINANCE_READERS, Answer, Call, Opens, Route
from proxy.admin.api.saved_reports import owner_of
from proxy.core.timetable import Every, Timetable, parse_on, parse_time
from proxy.store import NotFound, StoreError
from proxy.store import schedules as store
from proxy.store.database import reading
from proxy.store.instants import parse_zone
from proxy.store.occurrences import make_now
from proxy.store.receivers import RECEIVERS_MAX, SHAPE, Target, parse_targets
from proxy.store.schedule_log import page_of_log
from proxy.store.schedules import Content, Schedule, Wanted

TO_CHARS_MAX = 2_010
ON_CHARS_MAX = 9


class ReceiverOut(Output):
    """Where a schedule sends. Of a Slack URL only the host is shown: the rest is a secret."""

    id: str
    channel: str
    to: str


class ScheduleOut(Output):
    """A schedule. Without a tenant it is about all of them; without `every` it tells at once."""

    id: str
    tenant_id: str | None
    tenant: str | None
    name: str
    content: str
    report_id: str | None
    report: str | None
    every: str | None
    at: str | None
    on: str | None
    tz: str | None
    to: list[ReceiverOut]
    next_at: At | None
    created_at: At
    changed_at: At


class ScheduleIn(Input):
    """What is sent when and to whom."""

    name: Name
    content: Annotated[Content, Field(strict=False)]
    report: Annotated[NameOrId | None, Field(description="Of `report`: which saved report.")] = None
    every: Annotated[
        Every | None, Field(strict=False, description="How often; null: at once, which `anomaly` can be.")
    ] = None
    at: Annotated[Text, Field(min_length=5, max_length=5, description="HH:MM on the wall of `tz`.")] = "08:00"
    on: Annotated[
        Text | None,
        Field(min_length=1, max_length=ON_CHARS_MAX, description="A weekday's name, or a day of the month."),
    ] = None
    tz: Annotated[Zone | None, Field(description="Else the ledger's.")] = None
    to: Annotated[
        list[Annotated[Text, Field(min_length=1, max_length=TO_CHARS_MAX)]],
        Field(
            min_length=1,
            max_length=RECEIVERS_MAX,
            description=f"{SHAPE}; or the id of a receiver that it has.",
            examples=[["mailto:ann@example.com"]],
        ),
    ]
    reason: Reason | None = None


class ScheduleNew(ScheduleIn):
    """A schedule to be made."""

    tenant: Annotated[NameOrId | None, Field(description="About this tenant, in what it owes.")] = None


class SchedulePath(Input):
    """Which schedule."""

    schedule_id: Id


class LogParams(PageParams, SchedulePath):
    """Which page of a schedule's log."""


class LogOut(Output):
    """What was sent to one receiver. Neither next nor delivered: it was given up."""

    id: int
    schedule_id: str
    content: str
    at: At
    due_at: At
    skipped: int
    problem: str | None
    receiver_id: str | None
    to: str | None
    state: str
    attempts: int
    status: int | None
    error: str | None
    next_at: At | None
    delivered_at: At | None


class MadeOut(Output):
    """What is on its way. `problem` says why there is nothing in it."""

    schedule_id: str
    due_at: At
    problem: str | None


def list_schedules(call: Call[TenantPageParams, Nothing]) -> Answer:
    """Answer with a page of schedules, by id."""
    return paged(
        call,
        lambda page: store.list_schedules(call.connection, call.params.tenant, page),
        key=lambda one: (one.id,),
        kinds=(str,),
        show=_shown,
    )


def create_schedule(call: Call[Nothing, ScheduleNew]) -> Answer:
    """Make a schedule."""
    tenant_id = owner_of(call, call.body.tenant)
    wanted = _wanted(call, parse_targets(call.body.to))
    made = store.set_schedule(call.connection, wanted, call.act(), tenant=tenant_id, only_new=True)
    return _answer(made, 201)


def show_schedule(call: Call[SchedulePath, Nothing]) -> Answer:
    """Answer with one schedule."""
    return _answer(_find(call))


def change_schedule(call: Call[SchedulePath, ScheduleIn]) -> Answer:
    """Put another schedule in the place of this one."""
    found = _find(call)
    check(call.if_match, _etag(found))
    wanted = _wanted(call, parse_targets(call.body.to))
    return _answer(store.change_schedule(call.connection, found.id, wanted, call.act()))


def remove_schedule(call: Call[SchedulePath, Nothing]) -> Answer:
    """Remove a schedule; answer with what it was."""
    found = _find(call)
    check(call.if_match, _etag(found))
    return Answer(_shown(store.remove_schedule(call.connection, found.id, call.act())))


def run_schedule(call: Call[SchedulePath, Nothing]) -> Answer:
    """Send what would be due now. The next time stays as it is."""
    engine = call.context.engine
    with reading(engine) as connection:
        found = _of_id(store.find_schedule(connection, call.params.schedule_id, within=call.within), call)
    made = make_now(engine, found, call.act(), partial(call.context.reconciler.run_last, engine))
    return Answer(MadeOut(schedule_id=found.id, due_at=made.due_at, problem=made.problem), 202)


def list_deliveries(call: Call[LogParams, Nothing]) -> Answer:
    """Answer with a page of a schedule's log, the newest first."""
    found = _of_id(store.find_schedule(call.connection, call.params.schedule_id, within=call.within), call)
    return paged(
        call,
        lambda page: page_of_log(call.connection, page, schedule_id=found.id),
        key=lambda one: (one.id, one.receiver_id or ""),
        kinds=(int, str),
        show=LogOut.model_validate,
        newest_first=True,
    )


def _wanted(call: Call[Any, Any], to: tuple[Target, ...]) -> Wanted:
    body: ScheduleIn = call.body
    return Wanted(body.name, body.content, _timetable(call), to, body.report)


def _timetable(call: Call[Any, Any]) -> Timetable | None:
    body: ScheduleIn = call.body
    try:
        at = parse_time(body.at)
    except ValueError as error:
        raise invalid("body", "at", str(error)) from None
    try:
        zone = call.context.zone if body.tz is None else parse_zone(body.tz)
    except StoreError as error:
        raise invalid("body", "tz", str(error)) from None
    if body.every is None:
        if body.on is not None:
            raise invalid("body", "on", "it needs `every` week or month")
        return None
    try:
        return Timetable(body.every, at, zone, parse_on(body.every, body.on))
    except ValueError as error:
        raise invalid("body", "on", str(error)) from None


def _find(call: Call[SchedulePath, Any]) -> Schedule:
    return _of_id(store.find_schedule(call.connection, call.params.schedule_id, within=call.within), call)


def _of_id(found: Schedule, call: Call[Any, Any]) -> Schedule:
    if found.id != call.params.schedule_id:
        raise NotFound(
            f"There is no schedule with the id {call.params.schedule_id!r}: GET /api/v1/schedules."
        )
    return found


def _shown(one: Schedule) -> ScheduleOut:
    return ScheduleOut(
        id=one.id,
        tenant_id=one.tenant_id,
        tenant=one.tenant,
        name=one.name,
        content=one.content.value,
        report_id=one.report_id,
        report=one.report,
        **one.when,
        to=[ReceiverOut.model_validate(receiver) for receiver in one.to],
        next_at=one.next_at,
        created_at=one.created_at,
        changed_at=one.changed_at,
    )


def _answer(one: Schedule, status: int = 200) -> Answer:
    headers = {"ETag": _etag(one), "Location": f"/api/v1/schedules/{one.id}"}
    return Answer(_shown(one), status, headers)


def _etag(one: Schedule) -> str:
    to = [receiver.id for receiver in one.to]
    return etag(one.id, one.name, one.content.value, one.report_id, one.when, to)


ROUTES = (
    Route(
        method="GET",
        path="/schedules",
        summary="List schedules",
        roles=FINANCE_READERS,
        handler=list_schedules,
        params=TenantPageParams,
        result=Paged[ScheduleOut],
    ),
    Route(
        method="POST",
        path="/schedules",
        summary="Make a schedule: what is sent when and to whom",
        roles=ADMINS,
        handler=create_schedule,
        body=ScheduleNew,
        result=ScheduleOut,
        status=201,
        creates=True,
    ),
    Route(
        method="GET",
        path="/schedules/{schedule_id}",
        summary="Show a schedule",
        roles=FINANCE_READERS,
        handler=show_schedule,
        params=SchedulePath,
        result=ScheduleOut,
    ),
    Route(
        method="PUT",
        path="/schedules/{schedule_id}",
        summary="Change a schedule",
        roles=ADMINS,
        handler=change_schedule,
        params=SchedulePath,
        body=ScheduleIn,
        result=ScheduleOut,
        edits=True,
    ),
    Route(
        method="DELETE",
        path="/schedules/{schedule_id}",
        summary="Remove a schedule: nothing more is sent",
        roles=ADMINS,
        handler=remove_schedule,
        params=SchedulePath,
        result=ScheduleOut,
        edits=True,
        reasons=True,
    ),
    Route(
        method="POST",
        path="/schedules/{schedule_id}/run",
        summary="Send what would be due now, to try a schedule out",
        roles=ADMINS,
        handler=run_schedule,
        params=SchedulePath,
        result=MadeOut,
        status=202,
        opens=Opens.NOTHING,
        reasons=True,
    ),
    Route(
        method="GET",
        path="/schedules/{schedule_id}/deliveries",
        summary="List what a schedule has sent, the newest first",
        roles=FINANCE_READERS,
        handler=list_deliveries,
        params=LogParams,
        result=Paged[LogOut],
    ),
)
