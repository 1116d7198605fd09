"""The log of schedules: what each has sent, and how each delivery of it went. Kept for 30 days."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select

from proxy.core.announced import REPORT, Announced, Channel
from proxy.store.instants import format_instant
from proxy.store.pages import Page
from proxy.store.receivers import shown
from proxy.store.schedules import Content
from proxy.store.schema import delivery, outbox, schedule, schedule_receiver, webhook


@dataclass(frozen=True, slots=True)
class LogRow:
    """What was sent to one receiver. `skipped` are the missed occurrences before it.

    `state` is delivered, pending, given up, or "to nobody" where there was no receiver. `problem` says why
    there was nothing in it.
    """

    id: int
    schedule_id: str
    schedule: str
    content: str
    at: datetime
    due_at: str
    skipped: int
    problem: str | None
    receiver_id: str | None
    to: str | None
    state: str
    attempts: int
    status: int | None
    error: str | None
    next_at: datetime | None
    delivered_at: datetime | None


def page_of_log(connection: Connection, page: Page, *, schedule_id: str | None = None) -> list[LogRow]:
    """Return a page of the log, by the announcement's id and the receiver's."""
    query = _sent()
    if schedule_id is not None:
        query = query.where(_of_schedule == schedule_id)
    receiver = func.coalesce(delivery.c.webhook_id, "")
    rows = connection.execute(page.of(query, outbox.c.id, receiver, tenant_id=outbox.c.tenant_id)).all()
    reports = {id: _told(connection, id) for id in {row.id for row in rows if row.kind == REPORT}}
    return [_row(row, reports.get(row.id) or _alarm(row)) for row in rows]


def list_log(connection: Connection, *, schedule_id: str | None = None, limit: int = 50) -> list[LogRow]:
    """Return the newest rows first."""
    return page_of_log(connection, Page(limit=limit, newest_first=True), schedule_id=schedule_id)


# A report says whose it is. An anomaly that is told at once is known by a receiver that is a schedule's own.
_of_schedule = func.coalesce(outbox.c.schedule_id, schedule_receiver.c.schedule_id)


def _sent() -> Select[Any]:
    own = (schedule_receiver.c.webhook_id == webhook.c.id) & (webhook.c.channel != Channel.WEBHOOK)
    return (
        select(
            *(column for column in outbox.c if column is not outbox.c.payload),
            delivery,
            _of_schedule.label("of_schedule"),
            schedule.c.name.label("of_name"),
            webhook.c.id.label("receiver_id"),
            webhook.c.channel,
            webhook.c.url,
        )
        .join(delivery, delivery.c.outbox_id == outbox.c.id, isouter=True)
        .join(webhook, webhook.c.id == delivery.c.webhook_id, isouter=True)
        .join(schedule_receiver, own, isouter=True)
        .join(schedule, schedule.c.id == _of_schedule, isouter=True)
        .where(outbox.c.kind.in_((REPORT, Announced.SPEND_ANOMALY.value)), _of_schedule.is_not(None))
    )


_FACTS = ("schedule", "content", "due_at", "skipped", "problem")


def _told(connection: Connection, report_id: int) -> dict[str, Any]:
    """Return what the log says of a report. They are read one by one, since each is all there in its row."""
    payload = connection.execute(select(outbox.c.payload).where(outbox.c.id == report_id)).scalar_one()
    return {name: payload[name] for name in _FACTS}


def _alarm(row: Row[Any]) -> dict[str, Any]:
    """Return what the log says of an anomaly that one of several schedules has told at once."""
    known = {"schedule": row.of_name, "content": Content.ANOMALY.value, "due_at": format_instant(row.at)}
    return known | {"skipped": 0, "problem": None}


def _row(row: Row[Any], told: dict[str, Any]) -> LogRow:
    return LogRow(
        id=row.id,
        schedule_id=row.of_schedule,
        at=row.at,
        **told,
        receiver_id=row.receiver_id,
        to=None if row.receiver_id is None else shown(row.channel, row.url, row.receiver_id),
        state=_state(row),
        attempts=row.attempts or 0,
        status=row.status,
        error=row.error,
        next_at=row.next_at,
        delivered_at=row.delivered_at,
    )


def _state(row: Row[Any]) -> str:
    if row.delivered_at is not None:
        return "delivered"
    if row.receiver_id is None and row.fanned_at is not None:
        return "to nobody"
    return "given up" if row.receiver_id is not None and row.next_at is None else "pending"
