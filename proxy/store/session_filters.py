"""Which sessions are meant: filters for lists of them, each answered by an index or bounded in time.

Tenants, projects, keys and end users have an index with the order of the list. For the rest sessions are read
one by one, newest first, until a page is full; so what is rare is looked for in a limited number of days.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection, func, select

from proxy.store import StoreError
from proxy.store.filters import Condition, parse_tag, project_id
from proxy.store.groups import tag_value
from proxy.store.live import LIVE_S
from proxy.store.pages import Within
from proxy.store.schema import end_user, live_session, session, tenant
from proxy.store.tenants import find_tenant

SEARCH_DAYS_MAX = 100  # as of reports that read single entries
_DAY = timedelta(days=1)


class TooManyDays(StoreError):
    """What no index knows would have to be looked for in too many days."""


class State(StrEnum):
    """Whether a session goes on."""

    LIVE = "live"
    ENDED = "ended"
    LOST = "lost"  # neither: its instance died, and its journal was not replayed yet


@dataclass(frozen=True, slots=True)
class SessionFilters:
    """Sessions that fulfil all that is given; they opened from `start` on, and before `end`.

    A tenant, project or end user is meant by its name or id, a key by its id. A tag is written name=value.
    `id` is how the session's id begins. `reason` is why it ended.
    """

    tenant: str | None = None
    project: str | None = None
    key: str | None = None
    end_user: str | None = None
    state: State | None = None
    start: datetime | None = None
    end: datetime | None = None
    model: str | None = None
    tag: str | None = None
    reason: str | None = None
    id: str | None = None


EVERYTHING = SessionFilters()
_SEARCHED = ("model", "tag", "reason", "id")


def session_conditions(
    connection: Connection, filters: SessionFilters, now: datetime, within: Within = None
) -> list[Condition]:
    """Return `filters` as SQL over `session` and, for the state, `live_session`.

    Raises:
        StoreError: a tenant or project does not exist, a project's name is not unique, a tag is none, or the
            time ends before it begins.
        TooManyDays: more than `SEARCH_DAYS_MAX` days would have to be searched.
    """
    if filters.start is not None and filters.end is not None and filters.end <= filters.start:
        raise StoreError("The time asked about ends before it begins: give an end after its start.")
    of = session.c
    found = _whose(connection, filters, within)
    found += [of.opened_at >= filters.start] if filters.start is not None else []
    found += [of.opened_at < filters.end] if filters.end is not None else []
    found += _in_state(filters.state, now) if filters.state is not None else []
    return [*found, *_searched(connection, filters, now)]


def _whose(connection: Connection, filters: SessionFilters, within: Within) -> list[Condition]:
    of = session.c
    found: list[Condition] = []
    if filters.tenant is not None:
        owner = find_tenant(connection, filters.tenant, within).id
        within = frozenset({owner})
        found.append(of.tenant_id == owner)
    if filters.project is not None:
        found.append(of.project_id == project_id(connection, within, filters.project))
    if filters.key is not None:
        found.append(of.api_key_id == filters.key)
    if filters.end_user is not None:
        found.append(of.end_user_id.in_(_users(connection, filters.end_user, within)))
    return found


def _users(connection: Connection, name_or_id: str, within: Within) -> list[str]:
    """Return the ids of those of this name, found by the index of each tenant; an erased one is its id."""
    whose = select(tenant.c.id) if within is None else within
    named = end_user.c.tenant_id.in_(whose) & (end_user.c.name == name_or_id)
    return [name_or_id, *connection.execute(select(end_user.c.id).where(named)).scalars()]


def _in_state(state: State, now: datetime) -> list[Condition]:
    is_open, lives_since = session.c.closed_at.is_(None), now - timedelta(seconds=LIVE_S)
    match state:
        case State.LIVE:
            return [is_open, live_session.c.seen_at >= lives_since]
        case State.ENDED:
            return [~is_open]
    return [is_open, func.coalesce(live_session.c.seen_at < lives_since, True)]


# --- What no index knows


def _searched(connection: Connection, filters: SessionFilters, now: datetime) -> list[Condition]:
    of = session.c
    is_whole_id = filters.id is not None and _exists(connection, filters.id)
    why = [name for name in _SEARCHED if getattr(filters, name) is not None]
    if why and not is_whole_id:
        _check_days(connection, filters, now, why)
    found: list[Condition] = []
    if filters.id is not None:
        begins = of.id if is_whole_id else func.substr(of.id, 1, len(filters.id))
        found.append(begins == filters.id)
    if filters.model is not None:
        found.append(of.model == filters.model)
    if filters.reason is not None:
        found.append(of.reason == filters.reason)
    if filters.tag is not None:
        name, value = parse_tag(filters.tag)
        found.append(tag_value(name, connection.dialect.name, of.tags) == value)
    return found


def _exists(connection: Connection, session_id: str) -> bool:
    return connection.execute(select(session.c.id).where(session.c.id == session_id)).first() is not None


def _check_days(connection: Connection, filters: SessionFilters, now: datetime, why: list[str]) -> None:
    first = connection.execute(select(func.min(session.c.opened_at))).scalar_one()
    if first is None:
        return
    start = max(filters.start or first, first)
    end = min(filters.end or now, now)
    days = -((start - end) // _DAY)
    if days > SEARCH_DAYS_MAX:
        raise TooManyDays(
            f"What is asked for ({', '.join(why)}) is looked for session by session, in at most"
            f" {SEARCH_DAYS_MAX} days, and here are {days}: give a start and an end that are closer, or do"
            " without it."
        )
