"""`/instances`: the data planes that there were, and forgetting one whose journal is lost."""

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
from proxy.store import instance_list as store


class InstanceOut(Output):
    """An instance, what it holds of budgets, and what the ledger may lack if its journal is lost."""

    id: str
    state: store.InstanceState
    version: str
    journal_path: str
    started_at: At
    seen_at: At
    ended_at: At | None
    forgotten_at: At | None
    unposted_from: At | None
    parked: int
    sessions: int
    reserved_nanousd: Nanousd
    reserved_usd: Dollars
    may_hide: list[str]


class InstancePath(Input):
    """Which instance."""

    instance_id: Id


def list_instances(call: Call[PageParams, Nothing]) -> Answer:
    """Answer with a page of instances, by id."""
    return paged(
        call,
        lambda page: store.list_instances(call.connection, call.at, page),
        key=lambda one: (one.id,),
        kinds=(str,),
        show=_shown,
    )


def show_instance(call: Call[InstancePath, Nothing]) -> Answer:
    """Answer with one instance."""
    return Answer(_shown(store.find_instance(call.connection, call.params.instance_id, call.at)))


def forget(call: Call[InstancePath, Nothing]) -> Answer:
    """Give up an instance; answer with it as it was before, and with what that may hide."""
    if not (call.reason or "").strip():
        raise invalid("header", REASON, "say why it is forgotten")
    return Answer(_shown(store.forget(call.connection, call.params.instance_id, call.act())))


def _shown(found: store.InstanceRow) -> InstanceOut:
    return InstanceOut.model_validate({**fields_of(found), "may_hide": found.may_hide})


ROUTES = (
    Route(
        method="GET",
        path="/instances",
        summary="List instances: what each has not posted, and what it holds of budgets",
        roles=READERS,
        handler=list_instances,
        params=PageParams,
        result=Paged[InstanceOut],
        installation=True,
    ),
    Route(
        method="GET",
        path="/instances/{instance_id}",
        summary="Show an instance, and what is lost with its journal",
        roles=READERS,
        handler=show_instance,
        params=InstancePath,
        result=InstanceOut,
        installation=True,
    ),
    Route(
        method="DELETE",
        path="/instances/{instance_id}",
        summary="Forget a dead instance whose journal is lost; the reason is needed",
        roles=ADMINS,
        handler=forget,
        params=InstancePath,
        result=InstanceOut,
        installation=True,
        reasons=True,
    ),
)
