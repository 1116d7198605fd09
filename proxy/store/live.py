"""Live sessions and the orders to stop them: how the control plane reaches a running instance.

An instance calls `publish` and `stop_orders` once a second; everybody else only reads, and asks for
a stop with `request_stop`.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row, bindparam, delete, func, insert, select, update

from proxy.store import Conflict, NotFound, StoreError
from proxy.store.audit import Act
from proxy.store.database import reading, writing
from proxy.store.schema import live_session, session, stop_order

LIVE_S = 10  # a session that was not seen for this long is not live: its instance died
SEEN_AGAIN_S = 3  # a session that did not change is written this often, only to be seen
REASON_CHARS_MAX = 200


@dataclass(frozen=True, slots=True)
class Live:
    """A session that is going on, and what it has cost so far."""

    session_id: str
    cost_nanousd: int
    responses: int
    running_nanousd: int = 0  # of running responses, by estimate: not in the cost
    burn_nanousd: int = 0  # spent in the last minute
    model: str | None = None
    left_nanousd: int | None = None  # of the narrowest budget


def publish(engine: Engine, instance_id: str, sessions: Iterable[Live], now: datetime) -> None:
    """Make `sessions` the live sessions of this instance; orders for those that ended are dropped."""
    rows = {one.session_id: one for one in sessions}
    mine = live_session.c.instance_id == instance_id
    with writing(engine) as connection:
        known = {row.session_id: row for row in connection.execute(select(live_session).where(mine))}
        ended = known.keys() - rows.keys()
        if ended:
            connection.execute(_DELETE_LIVE, [{"ended": session_id} for session_id in ended])
            connection.execute(_DELETE_ORDER, [{"ended": session_id} for session_id in ended])
        again = [one for key, one in rows.items() if key in known and _is_stale(known[key], one, now)]
        if again:
            connection.execute(_UPDATE, [_row(one, instance_id, now) for one in again])
        new = [one for key, one in rows.items() if key not in known]
        if new:
            connection.execute(_INSERT, [_row(one, instance_id, now) for one in new])


def _is_stale(row: Row[Any], one: Live, now: datetime) -> bool:
    """Tell whether the table says something else of this session, or says it too long ago."""
    same = all(getattr(row, name) == getattr(one, name) for name in _FIGURES)
    return not same or row.seen_at <= now - timedelta(seconds=SEEN_AGAIN_S)


_FIGURES = ("cost_nanousd", "responses", "running_nanousd", "burn_nanousd", "model", "left_nanousd")
_DELETE_LIVE = delete(live_session).where(live_session.c.session_id == bindparam("ended"))
_DELETE_ORDER = delete(stop_order).where(stop_order.c.session_id == bindparam("ended"))
_VALUES: dict[str, Any] = {
    "instance_id": bindparam("instance"),
    "seen_at": bindparam("seen"),
    **{name: bindparam(f"its_{name}") for name in _FIGURES},
}
_UPDATE = update(live_session).where(live_session.c.session_id == bindparam("id")).values(**_VALUES)
_INSERT = insert(live_session).values(session_id=bindparam("id"), **_VALUES)


def _row(one: Live, instance_id: str, now: datetime) -> dict[str, object]:
    return {
        "id": one.session_id,
        "instance": instance_id,
        "seen": now,
        **{f"its_{name}": getattr(one, name) for name in _FIGURES},
    }


def stop_orders(engine: Engine, instance_id: str) -> dict[str, str]:
    """Return the sessions of this instance that are to be stopped, each with the reason."""
    query = (
        select(stop_order.c.session_id, stop_order.c.reason)
        .join(live_session, live_session.c.session_id == stop_order.c.session_id)
        .where(live_session.c.instance_id == instance_id)
    )
    with reading(engine) as connection:
        return {row.session_id: row.reason for row in connection.execute(query)}


def elsewhere(engine: Engine, instance_id: str, now: datetime) -> dict[str, int]:
    """Return how many sessions are live on other instances, by the id of their tenant and of their key."""
    lives = live_session.c.seen_at > now - timedelta(seconds=LIVE_S)
    query = (
        select(session.c.tenant_id, session.c.api_key_id, func.count().label("n"))
        .join(live_session, live_session.c.session_id == session.c.id)
        .where(live_session.c.instance_id != instance_id, lives)
        .group_by(session.c.tenant_id, session.c.api_key_id)
    )
    counts: Counter[str] = Counter()
    with reading(engine) as connection:
        for row in connection.execute(query):
            counts[row.tenant_id] += row.n
            counts[row.api_key_id] += row.n
    return dict(counts)


def request_stop(engine: Engine, session_id: str, act: Act) -> None:
    """Order a live session to be stopped; its instance does it within two seconds.

    The app is told the act's reason. A second order takes the place of the first.

    Raises:
        StoreError: no such session is live, or the reason cannot be used.
    """
    with writing(engine) as connection:
        row = connection.execute(
            select(live_session).where(live_session.c.session_id == session_id)
        ).one_or_none()
        if row is None or row.seen_at < act.at - timedelta(seconds=LIVE_S):
            raise _not_live(connection, session_id)
        reason = (act.reason or "")[:REASON_CHARS_MAX]
        connection.execute(delete(stop_order).where(stop_order.c.session_id == session_id))
        connection.execute(insert(stop_order).values(session_id=session_id, reason=reason, at=act.at))
        owner = select(session.c.tenant_id).where(session.c.id == session_id)  # none until it is posted
        tenant_id = connection.execute(owner).scalar_one_or_none()
        figures = {name: getattr(row, name) for name in ("model", "cost_nanousd", "running_nanousd")}
        before, after = {"state": "live", **figures}, {"state": "stopping"}
        act.note(connection, "session.stop", session_id, tenant_id=tenant_id, before=before, after=after)


def _not_live(connection: Connection, session_id: str) -> StoreError:
    said = f"No session {session_id[:60]!r} is live: the list of live sessions says which there are."
    is_past = connection.execute(select(session.c.id).where(session.c.id == session_id)).first()
    return Conflict(said) if is_past else NotFound(said)
