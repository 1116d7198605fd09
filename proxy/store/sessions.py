"""Reading sessions: those that go on and those that are over, with what they cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, func, select

from proxy.store.database import reading
from proxy.store.instants import format_instant
from proxy.store.live import LIVE_S
from proxy.store.pages import Page, Within, is_within
from proxy.store.schema import (
    api_key,
    end_user,
    ledger_entry,
    live_session,
    project,
    session,
    tenant,
)
from proxy.store.session_filters import EVERYTHING, SessionFilters, session_conditions
from proxy.store.sums import RESPONSES, UNRATED, exact, parts

PAGE_SESSIONS = 500
SESSIONS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session, live or past. `cost_nanousd` is what is booked; for a live one what it cost so far."""

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
    opened_at: datetime
    closed_at: datetime | None
    close_code: int | None
    reason: str | None
    live: bool
    seconds: int | None  # it has lasted; None where its end is not known
    responses: int
    cost_nanousd: int
    billed_nanousd: int  # what the tenant owes for what is booked
    unrated_entries: int
    running_nanousd: int = 0  # a live one's running responses by estimate: not in the cost
    burn_nanousd: int = 0  # what a live one has spent in the last minute
    left_nanousd: int | None = None  # of the narrowest budget of a live one

    def as_json(self) -> dict[str, Any]:
        shown = {name: getattr(self, name) for name in self.__slots__}
        for name in ("opened_at", "closed_at"):
            shown[name] = shown[name] and format_instant(shown[name])
        return shown


def list_sessions(
    engine: Engine, now: datetime, filters: SessionFilters = EVERYTHING, *, limit: int = 100
) -> list[SessionRow]:
    """Return the newest sessions first; raises as `page_of_sessions` does."""
    page = Page(limit=min(limit, SESSIONS_MAX), newest_first=True)
    with reading(engine) as connection:
        return page_of_sessions(connection, now, page, filters)


def page_of_sessions(
    connection: Connection, now: datetime, page: Page, filters: SessionFilters = EVERYTHING
) -> list[SessionRow]:
    """Return a page of sessions, by when they opened and their id.

    Raises:
        StoreError: as `session_conditions` does.
    """
    query = _sessions().where(*session_conditions(connection, filters, now, page.within))
    key = (session.c.opened_at, session.c.id)
    rows = [
        row
        for one in page.by_tenant()
        for row in connection.execute(one.of(query, *key, tenant_id=session.c.tenant_id))
    ]
    rows.sort(key=lambda row: (row.opened_at, row.id), reverse=page.newest_first)
    return _with_sums(connection, rows[: page.limit], now)


def find_session(engine: Engine, session_id: str, now: datetime, within: Within = None) -> SessionRow | None:
    """Return one session, or None when none of that id was posted, or it is of no tenant `within`."""
    with reading(engine) as connection:
        found = connection.execute(_sessions().where(session.c.id == session_id)).all()
        rows = _with_sums(connection, found, now)
    return rows[0] if rows and is_within(rows[0].tenant_id, within) else None


_COLUMNS = (
    "id",
    "tenant_id",
    "api_key_id",
    "tags",
    "provider",
    "model",
    "upstream_session_id",
    "instance_id",
    "opened_at",
    "closed_at",
    "close_code",
    "reason",
)


_LIVE_FIGURES = ("running_nanousd", "burn_nanousd", "left_nanousd")


def _sessions() -> Select[Any]:
    return (
        select(
            *(session.c[name] for name in _COLUMNS),
            func.coalesce(tenant.c.name, session.c.tenant_id).label("tenant"),
            func.coalesce(project.c.name, session.c.project_id).label("project"),
            api_key.c.name.label("key"),
            func.coalesce(end_user.c.name, session.c.end_user_id).label("end_user"),
            live_session.c.seen_at,
            live_session.c.cost_nanousd.label("live_cost"),
            live_session.c.responses.label("live_responses"),
            live_session.c.model.label("live_model"),
            live_session.c.running_nanousd,
            live_session.c.burn_nanousd,
            live_session.c.left_nanousd,
        )
        .join(tenant, tenant.c.id == session.c.tenant_id, isouter=True)
        .join(project, project.c.id == session.c.project_id, isouter=True)
        .join(api_key, api_key.c.id == session.c.api_key_id, isouter=True)
        .join(end_user, end_user.c.id == session.c.end_user_id, isouter=True)
        .join(live_session, live_session.c.session_id == session.c.id, isouter=True)
    )


def _with_sums(connection: Connection, rows: Sequence[Row[Any]], now: datetime) -> list[SessionRow]:
    sums = _sums(connection, [row.id for row in rows])
    return [_session_row(row, sums.get(row.id, _NOTHING), now) for row in rows]


@dataclass(frozen=True, slots=True)
class _Sums:
    responses: int
    cost_nanousd: int
    billed_nanousd: int
    unrated: int


_NOTHING = _Sums(0, 0, 0, 0)


def _sums(connection: Connection, session_ids: Sequence[str]) -> Mapping[str, _Sums]:
    """Return what the entries of each of these sessions come to."""
    entry = ledger_entry.c
    sums: dict[str, _Sums] = {}
    for start in range(0, len(session_ids), PAGE_SESSIONS):
        amounts = (*parts(entry.cost_nanousd, "cost"), *parts(entry.billed_nanousd, "billed"))
        query = select(entry.session_id, RESPONSES, UNRATED, *amounts)
        query = query.where(entry.session_id.in_(session_ids[start : start + PAGE_SESSIONS]))
        for row in connection.execute(query.group_by(entry.session_id)):
            cost, billed = exact(row, "cost"), exact(row, "billed")
            sums[row.session_id] = _Sums(int(row.responses), cost, billed, int(row.unrated))
    return sums


def _seconds(row: Row[Any], now: datetime) -> int:
    return int(((row.closed_at or now) - row.opened_at).total_seconds())


def _session_row(row: Row[Any], sums: _Sums, now: datetime) -> SessionRow:
    live = (
        row.closed_at is None and row.seen_at is not None and row.seen_at >= now - timedelta(seconds=LIVE_S)
    )
    cost = max(sums.cost_nanousd, row.live_cost) if live else sums.cost_nanousd
    now_it_is = {name: getattr(row, name) for name in _LIVE_FIGURES} if live else {}
    if live:  # what was booked since it told us how it is does not run any more
        now_it_is["running_nanousd"] = max(0, row.running_nanousd - (cost - row.live_cost))
    return SessionRow(
        **{name: getattr(row, name) for name in _COLUMNS if name != "model"},
        model=(live and row.live_model) or row.model,
        seconds=_seconds(row, now) if row.closed_at or live else None,
        **now_it_is,
        tenant=row.tenant,
        project=row.project,
        key=row.key or None,
        end_user=row.end_user,
        live=live,
        responses=max(sums.responses, row.live_responses) if live else sums.responses,
        cost_nanousd=cost,
        billed_nanousd=sums.billed_nanousd,
        unrated_entries=sums.unrated,
    )
