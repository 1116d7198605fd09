"""`/leases`: what instances hold of budgets, and how to free what a dead one held."""

from datetime import datetime

from proxy.admin.api.models import (
    At,
    Dollars,
    Id,
    Input,
    Nanousd,
    Nothing,
    Output,
    Paged,
    PageParams,
    fields_of,
)
from proxy.admin.api.pages import paged
from proxy.admin.api.problems import invalid
from proxy.admin.api.requests import REASON
from proxy.admin.api.routes import ADMINS, READERS, Answer, Call, Route
from proxy.core.money import format_usd
from proxy.store import leases as store


class LeaseOut(Output):
    """What an instance still holds of one budget's window."""

    instance_id: str
    seen_at: At | None
    budget_id: str
    subject: str
    starts_at: At
    reserved_nanousd: Nanousd
    reserved_usd: Dollars


class Freed(Output):
    """What was freed."""

    instance_id: str
    freed_nanousd: Nanousd
    freed_usd: Dollars


class InstancePath(Input):
    """Which instance."""

    instance_id: Id


def list_leases(call: Call[PageParams, Nothing]) -> Answer:
    """Answer with a page of leases, by instance and budget."""
    return paged(
        call,
        lambda page: store.list_leases(call.connection, page),
        key=lambda one: (one.instance_id, one.budget_id, one.subject, one.starts_at),
        kinds=(str, str, str, datetime),
        show=lambda one: LeaseOut.model_validate(fields_of(one)),
    )


def write_off(call: Call[InstancePath, Nothing]) -> Answer:
    """Free what a dead instance holds."""
    if not (call.reason or "").strip():
        raise invalid("header", REASON, "say why it is written off")
    freed = store.write_off(call.connection, call.params.instance_id, call.act())
    return Answer(
        Freed(instance_id=call.params.instance_id, freed_nanousd=freed, freed_usd=format_usd(freed))
    )


ROUTES = (
    Route(
        method="GET",
        path="/leases",
        summary="List what instances hold of budgets",
        roles=READERS,
        handler=list_leases,
        params=PageParams,
        result=Paged[LeaseOut],
        installation=True,
    ),
    Route(
        method="DELETE",
        path="/leases/{instance_id}",
        summary="Free what a dead instance holds whose journal is lost; the reason is needed",
        roles=ADMINS,
        handler=write_off,
        params=InstancePath,
        result=Freed,
        installation=True,
        reasons=True,
    ),
)
