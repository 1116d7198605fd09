"""Deliveries: what of the outbox goes to which receiver, when it is tried again, and how it went.

A deliverer calls, in one transaction, `record` for what it has tried, `fan_out`, and `claim` for what
it tries next. Several may do so on one PostgreSQL: each row is taken by one of them (SKIP LOCKED),
and a claim moves `next_at` forward, so that what a deliverer took and died with comes up again. That
makes it at least once: a receiver keeps one message of each id.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Text,
    delete,
    exists,
    insert,
    or_,
    select,
    type_coerce,
    update,
)

from proxy.core.announced import Announced, Announcement, Channel, message_id
from proxy.core.money import format_usd
from proxy.store import Conflict, NotFound
from proxy.store.audit import Act
from proxy.store.pages import Page
from proxy.store.schema import delivery, outbox, schedule_receiver, webhook
from proxy.store.webhooks import DELETED

FAN_OUT_MAX = 200
CLAIM_LASTS = timedelta(seconds=30)  # longer than an attempt may take
RETRY_AFTER = tuple(
    timedelta(seconds=seconds) for seconds in (5, 30, 2 * 60, 10 * 60, 3_600, 6 * 3_600, 24 * 3_600)
)
ERROR_CHARS_MAX = 200
GONE = 410
MAIL = "mail"  # the lane of all e-mail: it goes through one server

KEPT = timedelta(days=30)
# A threshold's row is what keeps it from being announced again: it outlives a quarter. Those of a
# lifetime's window stay.
THRESHOLD_KEPT = timedelta(days=100)
_OF_A_LIFETIME = '%"window":"lifetime"%'  # the payload is JSON without spaces; a value's quotes are escaped
PRUNE_MAX = 500


@dataclass(frozen=True, slots=True)
class Claim:
    """One attempt to make: the `attempts`th of this delivery. Holds secrets: never log it."""

    announcement: Announcement
    webhook_id: str
    url: str
    secrets: Sequence[str]
    attempts: int
    channel: Channel = Channel.WEBHOOK

    @property
    def lane(self) -> str:
        """Return what this attempt waits behind: its receiver, or the server that all mail goes through."""
        return lane_of(self.channel, self.webhook_id)


def lane_of(channel: str, webhook_id: str) -> str:
    return MAIL if channel == Channel.EMAIL else webhook_id


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt went: the receiver's status if it answered, and what was wrong if anything was.

    `error` is for people, and holds neither a secret nor a URL nor anything that a webhook wrote. With
    `is_final` trying again is no use.
    """

    claim: Claim
    status: int | None
    error: str | None
    is_final: bool = False

    @property
    def delivered(self) -> bool:
        return self.error is None

    @property
    def gives_up(self) -> bool:
        """Tell whether no attempt follows: the receiver is gone for good, or this was the last one."""
        spent = self.claim.attempts > len(RETRY_AFTER)
        return not self.delivered and (self.is_final or self.status == GONE or spent)

    def next_at(self, now: datetime) -> datetime | None:
        """Return when it is tried again, or None."""
        if self.delivered or self.gives_up:
            return None
        return now + RETRY_AFTER[self.claim.attempts - 1]


def waiting(connection: Connection, now: datetime) -> bool:
    """Tell whether `fan_out` or `claim` would find anything. Two looks into small indexes, no lock."""
    new = select(outbox.c.id).where(outbox.c.fanned_at.is_(None)).limit(1)
    return connection.execute(new).first() is not None or bool(_receivers(connection, now, limit=1))


def fan_out(connection: Connection, now: datetime) -> list[Announcement]:
    """Make out the deliveries of the oldest new rows of the outbox and return those rows.

    Each row is marked by itself. A greatest id that was seen would not do: a transaction that began
    earlier can commit later, and its lower id would never be looked at.
    """
    query = select(outbox).where(outbox.c.fanned_at.is_(None)).order_by(outbox.c.id).limit(FAN_OUT_MAX)
    new = [_announcement(row) for row in connection.execute(query.with_for_update(skip_locked=True))]
    if not new:
        return []
    ids = [one.id for one in new]
    for_whom = [*_subscribed(connection, new), *_scheduled(connection, ids)]
    rows = [{"outbox_id": id, "webhook_id": to, "attempts": 0, "next_at": now} for id, to in for_whom]
    if rows:
        connection.execute(insert(delivery), rows)
    connection.execute(update(outbox).where(outbox.c.id.in_(ids)).values(fanned_at=now))
    return new


def _subscribed(connection: Connection, new: Sequence[Announcement]) -> list[tuple[int, str]]:
    """Return which announcement goes to which receiver since that asked for its kind."""
    wanting = select(webhook.c.id, webhook.c.tenant_id, webhook.c.kinds).where(webhook.c.deleted_at.is_(None))
    hooks = connection.execute(wanting).all()
    return [
        (one.id, hook.id)
        for one in new
        for hook in hooks
        if hook.tenant_id in (None, one.tenant_id) and one.kind in hook.kinds
    ]


def _scheduled(connection: Connection, ids: Sequence[int]) -> list[tuple[int, str]]:
    """Return which report goes to which receiver of its schedule."""
    query = (
        select(outbox.c.id, schedule_receiver.c.webhook_id)
        .join(schedule_receiver, schedule_receiver.c.schedule_id == outbox.c.schedule_id)
        .where(outbox.c.id.in_(ids))
    )
    return [(row.id, row.webhook_id) for row in connection.execute(query)]


def claim(connection: Connection, now: datetime, room: Callable[[str], int], limit: int) -> list[Claim]:
    """Take at most `limit` deliveries that are due, and of each lane as many as `room` says."""
    claimed: list[Claim] = []
    taken: Counter[str] = Counter()
    hooks = [(lane_of(hook.channel, hook.id), hook) for hook in _receivers(connection, now)]
    for lane, hook in sorted(hooks, key=lambda one: -room(one[0])):
        most = min(room(lane) - taken[lane], limit - len(claimed))
        if most > 0:
            own = _claim_of(connection, hook, now, most)
            taken[lane] += len(own)
            claimed += own
    return claimed


def _receivers(connection: Connection, now: datetime, limit: int | None = None) -> Sequence[Row[Any]]:
    """Return the receivers that something is due for."""
    due = exists().where(delivery.c.webhook_id == webhook.c.id, delivery.c.next_at <= now)
    query = select(webhook).where(webhook.c.deleted_at.is_(None), due).order_by(webhook.c.id)
    return connection.execute(query.limit(limit)).all()


def _claim_of(connection: Connection, hook: Row[Any], now: datetime, most: int) -> list[Claim]:
    query = (
        select(outbox, delivery.c.attempts)
        .join(delivery, delivery.c.outbox_id == outbox.c.id)
        .where(delivery.c.webhook_id == hook.id, delivery.c.next_at <= now)
        .order_by(delivery.c.next_at, delivery.c.outbox_id)
        .limit(most)
        .with_for_update(skip_locked=True, of=delivery)
    )
    rows = connection.execute(query).all()
    ids = [row.id for row in rows]
    if ids:
        # What the last attempt came to goes: this one's takes its place.
        taken = {
            "attempts": delivery.c.attempts + 1,
            "next_at": now + CLAIM_LASTS,
            "status": None,
            "error": None,
        }
        mine = (delivery.c.webhook_id == hook.id) & delivery.c.outbox_id.in_(ids)
        connection.execute(update(delivery).where(mine).values(**taken))
    channel = Channel(hook.channel)
    keys = [hook.secret] if hook.secret else []
    if hook.old_secret and hook.old_until > now:
        keys.append(hook.old_secret)
    return [Claim(_told(row, hook), hook.id, hook.url, keys, row.attempts + 1, channel) for row in rows]


def record(connection: Connection, outcomes: Iterable[Outcome], now: datetime) -> None:
    """Write down how attempts went. One that another deliverer has repeated meanwhile is its business."""
    for outcome in outcomes:
        mine = (
            (delivery.c.outbox_id == outcome.claim.announcement.id)
            & (delivery.c.webhook_id == outcome.claim.webhook_id)
            & (delivery.c.attempts == outcome.claim.attempts)
            & delivery.c.next_at.is_not(None)
        )
        written = {
            "next_at": outcome.next_at(now),
            "delivered_at": now if outcome.delivered else None,
            "status": outcome.status,
            "error": outcome.error and outcome.error[:ERROR_CHARS_MAX],
        }
        connection.execute(update(delivery).where(mine).values(**written))


def _told(row: Row[Any], hook: Row[Any]) -> Announcement:
    """Return what a webhook is told: a tenant's own as cost what the tenant owes, and not our cost."""
    one = _announcement(row)
    if hook.tenant_id is None or "billed_nanousd" not in one.payload:
        return one
    billed = one.payload["billed_nanousd"]
    return replace(one, payload={**one.payload, "cost_nanousd": billed, "cost_usd": format_usd(billed)})


def _announcement(row: Row[Any]) -> Announcement:
    return Announcement(row.id, row.key, row.kind, row.tenant_id, row.at, row.payload)


# --- What people see, and ask for


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """A delivery and how it went. Neither next nor delivered: it was given up."""

    id: int
    message_id: str
    kind: str
    at: datetime
    webhook_id: str
    attempts: int
    status: int | None
    error: str | None
    next_at: datetime | None
    delivered_at: datetime | None


def list_deliveries(
    connection: Connection, *, webhook_id: str | None = None, limit: int = 50
) -> list[DeliveryRow]:
    """Return the deliveries of the newest announcements first; `id` is the announcement's."""
    return page_of_deliveries(connection, Page(limit=limit, newest_first=True), webhook_id=webhook_id)


def page_of_deliveries(
    connection: Connection, page: Page, *, webhook_id: str | None = None, outbox_id: int | None = None
) -> list[DeliveryRow]:
    """Return a page of deliveries, by the announcement's id and the webhook's, whose tenant counts."""
    known = [column for column in outbox.c if column is not outbox.c.payload]  # a report's can be long
    query = select(*known, delivery).join(delivery, delivery.c.outbox_id == outbox.c.id)
    query = query.join(webhook, webhook.c.id == delivery.c.webhook_id)
    if webhook_id is not None:
        query = query.where(delivery.c.webhook_id == webhook_id)
    if outbox_id is not None:
        query = query.where(delivery.c.outbox_id == outbox_id)
    newest = page.of(query, delivery.c.outbox_id, delivery.c.webhook_id, tenant_id=webhook.c.tenant_id)
    names = DeliveryRow.__slots__[4:]
    return [
        DeliveryRow(
            row.id,
            message_id(row.key),
            row.kind,
            row.at,
            **{name: getattr(row, name) for name in names},
        )
        for row in connection.execute(newest)
    ]


def find_delivery(connection: Connection, outbox_id: int, webhook_id: str) -> DeliveryRow:
    """Raises StoreError: there is no such delivery."""
    found = page_of_deliveries(connection, Page(limit=1), webhook_id=webhook_id, outbox_id=outbox_id)
    if not found:
        raise NotFound(
            f"Webhook {webhook_id} has no delivery {outbox_id}: the list of deliveries says which there are."
        )
    return found[0]


def redeliver(connection: Connection, outbox_id: int, webhook_id: str, act: Act) -> None:
    """Send an announcement to a receiver once more, with all its retries.

    Raises:
        StoreError: it was never meant for this receiver, is gone, or is being delivered as it is.
    """
    there = (webhook.c.id == webhook_id) & webhook.c.deleted_at.is_(None)
    hook = connection.execute(select(webhook.c.id, webhook.c.tenant_id).where(there)).first()
    if hook is None:
        raise NotFound(f"There is no webhook {webhook_id[:60]!r}: the list of webhooks says which there are.")
    mine = (delivery.c.outbox_id == outbox_id) & (delivery.c.webhook_id == hook.id)
    find_delivery(connection, outbox_id, hook.id)
    again = mine & delivery.c.next_at.is_(None)
    fresh = {"attempts": 0, "next_at": act.at, "delivered_at": None, "status": None, "error": None}
    if not connection.execute(update(delivery).where(again).values(**fresh)).rowcount:
        raise Conflict(f"Delivery {outbox_id} to webhook {hook.id} is still being tried: nothing to repeat.")
    after = {"delivery": outbox_id}
    act.note(connection, "webhook.redeliver", hook.id, tenant_id=hook.tenant_id, after=after)


# --- What is not kept


def prune(connection: Connection, now: datetime) -> int:
    """Delete what is done and older than 30 days, at most `PRUNE_MAX` of each; return how many rows."""
    _give_up_deleted(connection)
    return _prune_deliveries(connection, now) + _prune_outbox(connection, now)


def _give_up_deleted(connection: Connection) -> None:
    """End what a fan-out made for a webhook that was deleted while it ran."""
    gone = select(webhook.c.id).where(webhook.c.deleted_at.is_not(None))
    stray = delivery.c.next_at.is_not(None) & delivery.c.webhook_id.in_(gone)
    connection.execute(update(delivery).where(stray).values(next_at=None, error=DELETED))


def _prune_deliveries(connection: Connection, now: datetime) -> int:
    old = (
        select(delivery.c.outbox_id)
        .join(outbox, outbox.c.id == delivery.c.outbox_id)
        .where(outbox.c.at < now - KEPT, delivery.c.next_at.is_(None))
        .limit(PRUNE_MAX)
        .with_for_update(skip_locked=True, of=delivery)  # two that prune at once do not meet
    )
    ids = {row.outbox_id for row in connection.execute(old)}
    done = delivery.c.outbox_id.in_(ids) & delivery.c.next_at.is_(None)
    return connection.execute(delete(delivery).where(done)).rowcount if ids else 0


def _prune_outbox(connection: Connection, now: datetime) -> int:
    old = (
        select(outbox.c.id)
        .where(
            outbox.c.at < now - KEPT,
            outbox.c.fanned_at.is_not(None),
            _never_again(now),
            ~exists().where(delivery.c.outbox_id == outbox.c.id),
        )
        .limit(PRUNE_MAX)
        .with_for_update(skip_locked=True)
    )
    ids = [row.id for row in connection.execute(old)]
    return connection.execute(delete(outbox).where(outbox.c.id.in_(ids))).rowcount if ids else 0


def _never_again(now: datetime) -> ColumnElement[bool]:
    """Return which rows cannot come again, so that nothing depends on finding them here."""
    lifetime = type_coerce(outbox.c.payload, Text).like(_OF_A_LIFETIME)
    threshold = outbox.c.kind.in_((Announced.BUDGET_THRESHOLD, Announced.BUDGET_FORECAST))
    return or_(~threshold, (outbox.c.at < now - THRESHOLD_KEPT) & ~lifetime)
