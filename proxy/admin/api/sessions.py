"""`/sessions`: conversations, live and past, and how to stop one."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from proxy.admin.api.models import (
    At,
    Dollars,
    Flag,
    Id,
    Input,
    Nanousd,
    Nothing,
    Output,
    Paged,
    TenantPageParams,
    with_usd,
)
from proxy.admin.api.pages import paged
from proxy.admin.api.routes import ADMINS, EVERYONE, Answer, Call, Opens, Route
from proxy.store import NotFound
from proxy.store.live import request_stop
from proxy.store.sessions import SessionRow, find_session, page_of_sessions


class SessionOut(Output):
    """A session. Of a live one: what it has cost so far, what runs by estimate, what is left to it."""

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
    cost_nanousd: Nanousd
    cost_usd: Dollars
    unrated_entries: int
    running_nanousd: Nanousd
    running_usd: Dollars
    burn_nanousd: Nanousd = Field(description="What a live one has spent in the last minute.")
    burn_usd: Dollars
    left_nanousd: Nanousd | None = Field(description="Of the narrowest budget of a live one.")
    left_usd: Dollars | None


class Stopping(Output):
    """A session that is being stopped."""

    id: str
    stopping: bool


class SessionParams(TenantPageParams):
    """Which sessions."""

    live: Annotated[Flag, Field(description="Only those that go on.")] = False


class SessionPath(Input):
    """Which session."""

    session_id: Id


def list_sessions(call: Call[SessionParams, Nothing]) -> Answer:
    """Answer with a page of sessions, the newest first."""
    tenant_id = call.tenant_id(call.params.tenant)
    return paged(
        call,
        lambda page: page_of_sessions(
            call.connection, call.at, page, tenant_id=tenant_id, live=call.params.live
        ),
        key=lambda one: (one.opened_at, one.id),
        kinds=(datetime, str),
        show=_shown,
        newest_first=True,
    )


def show_session(call: Call[SessionPath, Nothing]) -> Answer:
    """Answer with one session; `/ledger?session=` has its entries."""
    found = find_session(call.context.engine, call.params.session_id, call.at, call.within)
    if found is None:
        raise _missing(call.params.session_id)
    return Answer(_shown(found))


def stop_session(call: Call[SessionPath, Nothing]) -> Answer:
    """Order a session to be stopped. One that was not posted yet has no tenant that could be compared."""
    engine, id = call.context.engine, call.params.session_id
    if call.within is not None and find_session(engine, id, call.at, call.within) is None:
        raise _missing(id)
    request_stop(engine, id, call.act())
    return Answer(Stopping(id=id, stopping=True), 202)


def _missing(session_id: str) -> NotFound:
    return NotFound(f"There is no session {session_id!r}: GET /api/v1/sessions lists them.")


def _shown(one: SessionRow) -> SessionOut:
    return SessionOut.model_validate(with_usd(one.as_json()), strict=False)


ROUTES = (
    Route(
        method="GET",
        path="/sessions",
        summary="List sessions, live and past, the newest first",
        roles=EVERYONE,
        handler=list_sessions,
        params=SessionParams,
        result=Paged[SessionOut],
    ),
    Route(
        method="GET",
        path="/sessions/{session_id}",
        summary="Show a session, live or past",
        roles=EVERYONE,
        handler=show_session,
        params=SessionPath,
        result=SessionOut,
        opens=Opens.NOTHING,
    ),
    Route(
        method="DELETE",
        path="/sessions/{session_id}",
        summary="Stop a live session: within two seconds its app is told the reason, and it is settled",
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
