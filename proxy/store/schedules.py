"""Schedules: what is sent regularly, when and to whom. `occurrences` makes what is sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update

from proxy.core.timetable import Every, Timetable, format_on
from proxy.ids import new_id
from proxy.store import Conflict, NotFound, StoreError
from proxy.store.audit import Act
from proxy.store.changes import lock
from proxy.store.instants import parse_zone
from proxy.store.pages import EVERYTHING, Page, Within, is_within
from proxy.store.receivers import Receiver, Target, drop_receivers, receivers_of, set_receivers
from proxy.store.saved_reports import find_report
from proxy.store.schema import saved_report, schedule, tenant
from proxy.store.tenants import active_tenant, checked_name, find_tenant

SCHEDULES_MAX = 100  # of one tenant, and of the installation


class Content(StrEnum):
    """What a schedule sends."""

    REPORT = "report"  # a saved report
    DIGEST = "digest"  # how the day, week or month before went
    ANOMALY = "anomaly"  # hours that cost unusually much
    RECONCILIATION = "reconciliation"  # how the ledger agrees with the provider's bill


@dataclass(frozen=True, slots=True)
class Schedule:
    """What is sent when to whom. Without a tenant it is about all; without a timetable it tells at once."""

    id: str
    tenant_id: str | None
    tenant: str | None
    name: str
    content: Content
    report_id: str | None
    report: str | None
    timetable: Timetable | None
    to: Sequence[Receiver]
    next_at: datetime | None
    created_at: datetime
    changed_at: datetime

    @property
    def when(self) -> dict[str, str | None]:
        """Return the timetable as people write it."""
        table = self.timetable
        if table is None:
            return {"every": None, "at": None, "on": None, "tz": None}
        return {
            "every": table.every.value,
            "at": f"{table.at:%H:%M}",
            "on": format_on(table.every, table.on),
            "tz": table.zone.key,
        }


@dataclass(frozen=True, slots=True)
class Wanted:
    """A schedule to be set. Without a timetable it tells at once, as only anomalies can be told."""

    name: str
    content: Content
    timetable: Timetable | None
    to: Sequence[Target]
    report: str | None = None  # its name or id


def set_schedule(
    connection: Connection, wanted: Wanted, act: Act, *, tenant: str | None = None, only_new: bool = False
) -> Schedule:
    """Make a schedule, or change the one that this tenant, or the installation, has of this name.

    Raises:
        StoreError: no such tenant, report or webhook, a value that cannot be used, too many, or it is there
            already and `only_new` was asked for.
    """
    lock(connection)  # or two at once would both make one
    owner = None if tenant is None else active_tenant(connection, tenant)
    owner_id = owner.id if owner else None
    own = schedule.c.tenant_id.is_not_distinct_from(owner_id)
    name = checked_name(wanted.name)
    old = _listed(connection, own & (schedule.c.name == name))
    if old and only_new:
        raise Conflict(f"There is a schedule {name!r} already: change {old[0].id}.")
    if old:
        return _change(connection, old[0], wanted, act)
    if connection.execute(select(func.count()).where(own)).scalar_one() >= SCHEDULES_MAX:
        whose = "A tenant" if owner else "An installation"
        raise Conflict(f"{whose} has at most {SCHEDULES_MAX} schedules: remove one first.")
    row = _row(connection, wanted, owner_id, act.at)
    row |= {"id": new_id("sch"), "tenant_id": owner_id, "created_at": act.at, "changed_at": act.at}
    connection.execute(insert(schedule).values(row))
    _send_to(connection, row["id"], wanted, owner_id, act.at)
    made = find_schedule(connection, row["id"])
    act.note(connection, "schedule.set", made.id, tenant_id=owner_id, after=noted(made))
    return made


def change_schedule(connection: Connection, schedule_id: str, wanted: Wanted, act: Act) -> Schedule:
    """Put another schedule in the place of this one; raises as `set_schedule`, or where the name is taken."""
    lock(connection)
    old = find_schedule(connection, schedule_id)
    same = schedule.c.tenant_id.is_not_distinct_from(old.tenant_id) & (schedule.c.name == wanted.name.strip())
    if any(one.id != old.id for one in _listed(connection, same)):
        raise Conflict(f"There is a schedule {wanted.name.strip()!r} already.")
    return _change(connection, old, wanted, act)


def remove_schedule(connection: Connection, schedule_id: str, act: Act) -> Schedule:
    """Remove a schedule: nothing more is sent. What it was stands in the audit log.

    Raises:
        StoreError: there is no such schedule.
    """
    lock(connection)
    old = find_schedule(connection, schedule_id)
    drop_receivers(connection, old.id, [one.id for one in old.to], act.at)
    connection.execute(delete(schedule).where(schedule.c.id == old.id))
    act.note(connection, "schedule.remove", old.id, tenant_id=old.tenant_id, before=noted(old))
    return old


def list_schedules(
    connection: Connection, tenant_name: str | None = None, page: Page = EVERYTHING
) -> list[Schedule]:
    """Return schedules, of one tenant or of all: in the order of their names, or a page of them by id."""
    query = select(schedule.c.id)
    if tenant_name is not None:
        query = query.where(schedule.c.tenant_id == find_tenant(connection, tenant_name, page.within).id)
    rows = page.of(query, schedule.c.id, tenant_id=schedule.c.tenant_id)
    ids = list(connection.execute(rows).scalars())
    found = _listed(connection, schedule.c.id.in_(ids))
    return sorted(found, key=lambda one: (one.tenant or "", one.name)) if page.is_everything else found


def find_schedule(
    connection: Connection, name_or_id: str, tenant_name: str | None = None, within: Within = None
) -> Schedule:
    """Return the schedule of this id or name, of that tenant if one is given.

    Raises:
        StoreError: there is none, it is of no tenant `within`, or several are called so.
    """
    wanted = (schedule.c.id == name_or_id) | (schedule.c.name == name_or_id)
    if tenant_name is not None:
        wanted &= schedule.c.tenant_id == find_tenant(connection, tenant_name, within).id
    found = [one for one in _listed(connection, wanted) if is_within(one.tenant_id, within)]
    by_id = [one for one in found if one.id == name_or_id]
    if not found:
        raise NotFound(
            f"There is no schedule {name_or_id[:100]!r}: the list of schedules says which there are."
        )
    if len(found) > 1 and not by_id:
        owners = ", ".join(sorted(one.tenant or "the installation" for one in found)[:10])
        raise StoreError(f"Several schedules are called {name_or_id[:100]!r} ({owners}): give the id.")
    return (by_id or found)[0]


def due_schedules(connection: Connection, now: datetime) -> list[Schedule]:
    """Return the schedules that something is due of, the longest waiting first."""
    found = _listed(connection, schedule.c.next_at <= now)
    return sorted(found, key=lambda one: (one.next_at or now, one.id))


def move_on(connection: Connection, one: Schedule, following: datetime) -> bool:
    """Let the next occurrence be another one; return False where somebody else has done so already.

    That is what makes each occurrence once: of several that try, the database lets one through.
    """
    as_read = (schedule.c.id == one.id) & (schedule.c.next_at == one.next_at)
    return connection.execute(update(schedule).where(as_read).values(next_at=following)).rowcount > 0


def noted(one: Schedule) -> dict[str, Any]:
    """Return what the audit log says of a schedule; of a Slack URL the host only."""
    what = {"name": one.name, "content": one.content.value, "report": one.report}
    return {**what, **one.when, "to": [receiver.to for receiver in one.to]}


def _change(connection: Connection, old: Schedule, wanted: Wanted, act: Act) -> Schedule:
    row = _row(connection, wanted, old.tenant_id, act.at)
    if wanted.timetable == old.timetable:
        row["next_at"] = old.next_at  # what is due and not made yet is not passed over
    connection.execute(update(schedule).where(schedule.c.id == old.id).values(**row, changed_at=act.at))
    _send_to(connection, old.id, wanted, old.tenant_id, act.at)
    made = find_schedule(connection, old.id)
    before, after = noted(old), noted(made)
    act.note(connection, "schedule.set", made.id, tenant_id=made.tenant_id, before=before, after=after)
    return made


def _send_to(
    connection: Connection, schedule_id: str, wanted: Wanted, tenant_id: str | None, at: datetime
) -> None:
    at_once = wanted.timetable is None
    set_receivers(connection, schedule_id, wanted.to, tenant_id=tenant_id, at_once=at_once, at=at)


def _row(connection: Connection, wanted: Wanted, tenant_id: str | None, now: datetime) -> dict[str, Any]:
    _check_when(wanted)
    if wanted.content is Content.RECONCILIATION and tenant_id is not None:
        raise StoreError(
            "The provider's bill is the whole installation's: set this schedule without a tenant."
        )
    table = wanted.timetable
    return {
        "name": checked_name(wanted.name),
        "content": wanted.content.value,
        "report_id": _report_id(connection, wanted, tenant_id),
        "every": table.every.value if table else None,
        "at_time": f"{table.at:%H:%M}" if table else None,
        "on_day": table.on if table else None,
        "zone": table.zone.key if table else "UTC",
        "next_at": table.next_after(now) if table else None,
    }


def _check_when(wanted: Wanted) -> None:
    table = wanted.timetable
    if wanted.content is not Content.ANOMALY and table is None:
        raise StoreError("Say how often: every day, week or month.")
    if wanted.content is Content.ANOMALY and table is not None and table.every is Every.MONTH:
        raise StoreError("Anomalies are told at once, or every day or week: they are kept for 30 days.")


def _report_id(connection: Connection, wanted: Wanted, tenant_id: str | None) -> str | None:
    """Return the saved report's id: one of the schedule's own tenant, or the installation's."""
    if (wanted.content is Content.REPORT) != (wanted.report is not None):
        raise StoreError("Name the saved report that is sent, or else ask for something else.")
    if wanted.report is None:
        return None
    within = None if tenant_id is None else frozenset({tenant_id})
    report = find_report(connection, wanted.report, tenant_id, within)
    if report.tenant_id != tenant_id:
        raise Conflict(
            f"Saved report {report.name!r} is of the tenant {report.tenant}: give the schedule that tenant."
        )
    return report.id


def _listed(connection: Connection, wanted: ColumnElement[bool]) -> list[Schedule]:
    query = (
        select(schedule, tenant.c.name.label("tenant"), saved_report.c.name.label("report"))
        .join(tenant, tenant.c.id == schedule.c.tenant_id, isouter=True)
        .join(saved_report, saved_report.c.id == schedule.c.report_id, isouter=True)
        .where(wanted)
        .order_by(schedule.c.id)
    )
    rows = connection.execute(query).all()
    receivers = receivers_of(connection, [row.id for row in rows])
    return [_schedule(row, receivers.get(row.id, ())) for row in rows]


def _schedule(row: Row[Any], to: Sequence[Receiver]) -> Schedule:
    table = None
    if row.every is not None:
        at = time.fromisoformat(row.at_time)
        table = Timetable(Every(row.every), at, parse_zone(row.zone), row.on_day)
    return Schedule(
        id=row.id,
        tenant_id=row.tenant_id,
        tenant=row.tenant,
        name=row.name,
        content=Content(row.content),
        report_id=row.report_id,
        report=row.report,
        timetable=table,
        to=to,
        next_at=row.next_at,
        created_at=row.created_at,
        changed_at=row.changed_at,
    )
