"""The instances that there were, as people see them, and forgetting one whose journal is lost.

An instance that died is not over: only its journal knows what it has metered since its last posting, and what
it spent of its leases. So it waits for its next start. Where the journal is lost, somebody has to say so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Select, delete, func, select, update

from proxy.core.money import format_usd
from proxy.store import Conflict, NotFound
from proxy.store.audit import Act
from proxy.store.instants import format_instant
from proxy.store.leases import empty_leases
from proxy.store.pages import EVERYTHING, Page
from proxy.store.schema import instance, lease, live_session, session

DEAD_AFTER = timedelta(seconds=30)  # since it was seen; one that runs says so every 5 s


class InstanceState(StrEnum):
    """What is known of an instance."""

    RUNNING = "running"
    DEAD = "dead"  # it did not end well, or is cut off from the database
    ENDED = "ended"  # with everything in the ledger
    FORGOTTEN = "forgotten"


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """An instance, and what the database knows of what it may still have."""

    id: str
    state: InstanceState
    version: str
    journal_path: str
    started_at: datetime
    seen_at: datetime
    ended_at: datetime | None
    forgotten_at: datetime | None
    unposted_from: (
        datetime | None
    )  # when it journalled the first of what was not in the ledger, by its last word
    parked: int
    sessions: int  # that have not ended in the ledger
    reserved_nanousd: int  # of budgets

    @property
    def may_hide(self) -> list[str]:
        """Return what the ledger may lack if its journal is lost: a sentence each."""
        seen = format_instant(self.seen_at)
        unposted = (
            f"By its last word, of {seen}, all was in the ledger; what it metered after that is not."
            if self.unposted_from is None
            else f"What it has metered since {format_instant(self.unposted_from)} is not in the ledger."
        )
        sessions = (
            f"{self.sessions} of its conversations have not ended in the ledger: what they still cost will be"
            " missing, and they stay open there."
        )
        parked = f"{self.parked} records that the ledger refused were in its journal."
        reserved = (
            f"${format_usd(self.reserved_nanousd)} of budgets that it held will be free: if it had spent"
            " them, budgets are exceeded by as much."
        )
        counted = ((self.sessions, sessions), (self.parked, parked), (self.reserved_nanousd, reserved))
        return [unposted, *(said for count, said in counted if count)]


def list_instances(connection: Connection, now: datetime, page: Page = EVERYTHING) -> list[InstanceRow]:
    """Return the instances that there were, by id: in the order in which they first started."""
    return _read(connection, page.of(select(instance), instance.c.id, tenant_id=None), now)


def find_instance(connection: Connection, instance_id: str, now: datetime) -> InstanceRow:
    """Return one instance; raises NotFound."""
    found = _read(connection, select(instance).where(instance.c.id == instance_id), now)
    if not found:
        raise NotFound(f"There is no instance {instance_id}: the list of instances says which there are.")
    return found[0]


def _read(connection: Connection, query: Select[Any], now: datetime) -> list[InstanceRow]:
    found = connection.execute(query).all()
    ids = [row.id for row in found]
    reserved = func.sum(lease.c.granted_nanousd - lease.c.taken_nanousd)
    held = _by_instance(connection, select(lease.c.instance_id, reserved), lease.c.instance_id, ids)
    unfinished = select(session.c.instance_id, func.count()).where(session.c.closed_at.is_(None))
    sessions = _by_instance(connection, unfinished, session.c.instance_id, ids)
    return [_shown(row, now, sessions.get(row.id, 0), held.get(row.id, 0)) for row in found]


def _by_instance(
    connection: Connection, query: Select[Any], whose: Any, ids: Sequence[str]
) -> Mapping[str, int]:
    rows = connection.execute(query.where(whose.in_(ids)).group_by(whose))
    return {row[0]: int(row[1]) for row in rows}


def _shown(row: Any, now: datetime, sessions: int, reserved: int) -> InstanceRow:
    return InstanceRow(
        id=row.id,
        state=_state(row, now),
        version=row.version,
        journal_path=row.journal_path,
        started_at=row.started_at,
        seen_at=row.seen_at,
        ended_at=row.ended_at,
        forgotten_at=row.forgotten_at,
        unposted_from=row.unposted_from,
        parked=row.parked,
        sessions=sessions,
        reserved_nanousd=reserved,
    )


def _state(row: Any, now: datetime) -> InstanceState:
    """Tell a state. One that was forgotten and is seen after that has been found again."""
    if is_forgotten(row):
        return InstanceState.FORGOTTEN
    if row.ended_at is not None:
        return InstanceState.ENDED
    return InstanceState.RUNNING if row.seen_at > now - DEAD_AFTER else InstanceState.DEAD


def is_forgotten(row: Any) -> bool:
    """Tell whether an instance was forgotten, and has not been seen since."""
    return row.forgotten_at is not None and row.forgotten_at >= row.seen_at


def count_states(connection: Connection, now: datetime) -> Mapping[InstanceState, int]:
    """Return how many instances run, and how many are dead."""
    of = instance.c
    awaited = of.ended_at.is_(None) & (of.forgotten_at.is_(None) | (of.forgotten_at < of.seen_at))
    rows = [_state(row, now) for row in connection.execute(select(instance).where(awaited))]
    return {state: rows.count(state) for state in (InstanceState.RUNNING, InstanceState.DEAD)}


def forget(connection: Connection, instance_id: str, act: Act) -> InstanceRow:
    """Give up a dead instance whose journal is lost; return it as it was before.

    What it held of budgets is free from then on, it stands in the way of no close, and nothing waits for
    it. If it starts again on its journal nevertheless, all that this holds is booked as always.

    Raises:
        NotFound: there is no such instance.
        Conflict: it runs, has ended, or was forgotten before.
    """
    found = find_instance(connection, instance_id, act.at)
    if found.state is InstanceState.RUNNING:
        raise Conflict(
            f"Instance {instance_id} still runs, seen less than {DEAD_AFTER.seconds} s ago: stop it first."
            " One that runs gives back by itself what it does not need."
        )
    if found.state is InstanceState.ENDED:
        raise Conflict(f"Instance {instance_id} has ended with everything in the ledger: it hides nothing.")
    if found.state is InstanceState.FORGOTTEN:
        raise Conflict(f"Instance {instance_id} was forgotten before.")
    empty_leases(connection, instance_id)
    connection.execute(delete(live_session).where(live_session.c.instance_id == instance_id))
    connection.execute(update(instance).where(instance.c.id == instance_id).values(forgotten_at=act.at))
    lost = {"freed_usd": format_usd(found.reserved_nanousd), "sessions": found.sessions}
    since = format_instant(found.unposted_from) if found.unposted_from is not None else None
    seen = {"seen_at": format_instant(found.seen_at), "unposted_from": since, "parked": found.parked}
    act.note(connection, "instance.forget", instance_id, after=lost | seen)
    return found
