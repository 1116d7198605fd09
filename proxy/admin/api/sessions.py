"""`/sessions`: conversations, live and past; and stopping one."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from proxy.admin.api.entries import EntryOut, shown
from proxy.admin.api.models import (
    At,
    Dollars,
    Flag,
    Id,
    Input,
    Model,
    NameOrId,
    Nanousd,
    Nothing,
    Output,
    Paged,
    PeriodParams,
    TenantPageParams,
    Text,
    fields_of,
)
from proxy.admin.api.pages import paged
from proxy.admin.api.periods import period
from proxy.admin.api.problems import invalid
from proxy.admin.api.routes import ADMINS, EVERYONE, Answer, Call, Opens, Route
from proxy.store import NotFound, StoreError, sessions
from proxy.store.filters import parse_tag
from proxy.store.ledger import session_turns
from proxy.store.live import request_stop
from proxy.store.pages import Page
from proxy.store.session_filters import SEARCH_DAYS_MAX, SessionFilters, State, TooManyDays
from proxy.store.sessions import SessionRow
from proxy.store.tokens import TokenRole


class SessionOut(Output):
    """A conversation. To a viewer, cost is what the tenant owes for what is booked."""

    id: str
    tenant_id: str
    tenant: str
    project: str | None
    api_key_id: str
    key: str | None
    end_user: str | None
    tags: dict[str, str]
    provider: str
    model: str | None
    upstream_session_id: str | None
    instance_id: str
    opened_at: At
    closed_at: At | None
    close_code: int | None
    reason: str | None
    live: bool
    seconds: int | None
    responses: int
    cost_nanousd: Nanousd | None = Field(description="Of what is booked; of a live one, so far.")
    cost_usd: Dollars | None
    unrated_entries: int
    running_nanousd: Nanousd | None = Field(description="What runs now, by estimate: not in the cost.")
    running_usd: Dollars | None
    burn_nanousd: Nanousd | None = Field(description="Spent in the last minute.")
    burn_usd: Dollars | None
    left_nanousd: Nanousd | None = Field(description="Of the narrowest budget.")
    left_usd: Dollars | None


class SessionWhole(SessionOut):
    """A conversation, thing by thing."""

    turns: list[EntryOut]


_SEARCHED = f"Within {SEARCH_DAYS_MAX} days."


class SessionParams(TenantPageParams, PeriodParams):
    """Which sessions; `from` and `to` say when they opened."""

    live: Annotated[Flag, Field(description="Only those that go on.")] = False
    state: Annotated[
        State | None, Field(strict=False, description="Only those that are live, have ended, or are lost.")
    ] = None
    project: NameOrId | None = None
    key: Annotated[Id | None, Field(description="Only of this API key (id).")] = None
    end_user: Annotated[Text | None, Field(min_length=1, max_length=256)] = None
    model: Annotated[Model | None, Field(description=f"A model's name. {_SEARCHED}")] = None
    tag: Annotated[
        Text | None, Field(min_length=1, max_length=256, description=f"NAME=VALUE. {_SEARCHED}")
    ] = None
    reason: Annotated[
        Text | None,
        Field(min_length=1, max_length=64, description=f"Why they ended, such as refused. {_SEARCHED}"),
    ] = None
    id: Annotated[
        Text | None,
        Field(
            min_length=1, max_length=100, description=f"How the id begins, {_SEARCHED.lower()} Or all of it."
        ),
    ] = None


class SessionPath(Input):
    """Which session."""

    session_id: Id


class Stopping(Output):
    """A session that is about to end."""

    id: str
    state: str = "stopping"
    asked_at: datetime


def list_sessions(call: Call[SessionParams, Nothing]) -> Answer:
    """Answer with a page of sessions, the newest first."""
    filters = _filters(call)

    def fetch(page: Page) -> Sequence[SessionRow]:
        try:
            return sessions.page_of_sessions(call.connection, call.at, page, filters)
        except TooManyDays as error:
            raise invalid("query", "from", str(error)) from None

    return paged(
        call,
        fetch,
        key=lambda one: (one.opened_at, one.id),
        kinds=(datetime, str),
        show=lambda one: SessionOut.model_validate(_fields(one, call.caller.role)),
        newest_first=True,
    )


def _filters(call: Call[SessionParams, Nothing]) -> SessionFilters:
    params = call.params
    start, end = period(params, call.context.zone)
    if params.live and params.state not in (None, State.LIVE):
        raise invalid("query", "state", f"it contradicts `live`, which is {State.LIVE}")
    if params.tag is not None:
        try:
            parse_tag(params.tag)
        except StoreError as error:
            raise invalid("query", "tag", str(error)) from None
    names = ("tenant", "project", "key", "end_user", "model", "tag", "reason", "id")
    given = {name: getattr(params, name) for name in names}
    return SessionFilters(**given, state=State.LIVE if params.live else params.state, start=start, end=end)


def show_session(call: Call[SessionPath, Nothing]) -> Answer:
    """Answer with one session and what was booked for it."""
    found = _find(call)
    turns = session_turns(call.context.engine, found.id)
    fields = _fields(found, call.caller.role)
    return Answer(SessionWhole(**fields, turns=[shown(one, call.caller.role) for one in turns]))


def stop_session(call: Call[SessionPath, Nothing]) -> Answer:
    """Order a live session to be stopped."""
    found = _find(call)
    request_stop(call.context.engine, found.id, call.act())
    return Answer(Stopping(id=found.id, asked_at=call.at), 202)


def _find(call: Call[SessionPath, Nothing]) -> SessionRow:
    found = sessions.find_session(call.context.engine, call.params.session_id, call.at, call.within)
    if found is None:
        raise NotFound(f"There is no session {call.params.session_id[:60]!r}: GET /api/v1/sessions.")
    return found


def _fields(one: SessionRow, role: TokenRole) -> dict[str, Any]:
    """Return a session's fields; a viewer is told what the tenant owes, and not what it costs us."""
    fields = fields_of(one)
    if role is not TokenRole.VIEWER:
        return fields
    hidden = dict.fromkeys(name for name in fields if name.endswith(("_nanousd", "_usd")))
    return fields | hidden | {f"cost_{unit}": fields[f"billed_{unit}"] for unit in ("nanousd", "usd")}


ROUTES = (
    Route(
        method="GET",
        path="/sessions",
        summary="List sessions, the newest first",
        roles=EVERYONE,
        handler=list_sessions,
        params=SessionParams,
        result=Paged[SessionOut],
    ),
    Route(
        method="GET",
        path="/sessions/{session_id}",
        summary="Show a session and everything that was booked for it",
        roles=EVERYONE,
        handler=show_session,
        params=SessionPath,
        result=SessionWhole,
        opens=Opens.NOTHING,
    ),
    Route(
        method="DELETE",
        path="/sessions/{session_id}",
        summary="Stop a live session: it ends within two seconds",
        roles=ADMINS,
        handler=stop_session,
        params=SessionPath,
        result=Stopping,
        status=202,
        also=(409,),
        opens=Opens.NOTHING,
        reasons=True,
    ),
)
