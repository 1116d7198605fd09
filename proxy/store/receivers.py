"""Where schedules send: webhooks that there are, Slack channels by their URL, e-mail addresses.

All are rows of `webhook`, so that one delivery, one retry and one record serve them all. A Slack channel and
an address belong to their schedule and go with it. Each address is a receiver of its own: one that does not
exist holds up no other, and nobody sees who else is sent it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, Row, Select, delete, insert, select, update

from proxy.core.announced import Announced, Channel
from proxy.core.mail_relay import parse_mail_address
from proxy.ids import new_id
from proxy.store import Conflict, NotFound, StoreError
from proxy.store.schema import schedule_receiver, webhook
from proxy.store.webhooks import checked_url, end_receivers, find_webhook

RECEIVERS_MAX = 20  # of one schedule
OWN = "rcv"  # how the ids of receivers begin that belong to a schedule
MAILTO = "mailto:"
SHAPE = "mailto:NAME@HOST, slack:https://… or webhook:ID"
REMOVED = "the schedule does not send to it any more"


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send: a URL, an address, or a webhook's id. Without a channel: the receiver of this id."""

    channel: Channel | None
    place: str


@dataclass(frozen=True, slots=True)
class Receiver:
    """A receiver of a schedule. `to` is how it may be shown: a Slack URL is a secret."""

    id: str
    channel: str
    to: str


def parse_targets(texts: Sequence[str]) -> tuple[Target, ...]:
    """Return what `mailto:…`, `slack:…` and `webhook:…` name, each once.

    Raises:
        StoreError: one of them names nothing, or there are too many or none.
    """
    found = tuple(dict.fromkeys(target for text in texts for target in _targets(text.strip())))
    if not 0 < len(found) <= RECEIVERS_MAX:
        raise StoreError(f"A schedule sends to 1 to {RECEIVERS_MAX} receivers: {SHAPE}.")
    return found


def _targets(text: str) -> list[Target]:
    scheme, colon, rest = text.partition(":")
    match scheme:
        case "mailto" if colon:
            return [Target(Channel.EMAIL, _address(one)) for one in rest.split(",")]
        case "slack" if colon:
            return [Target(Channel.SLACK, checked_url(rest))]
        case "webhook" if colon:
            return [Target(Channel.WEBHOOK, rest)]
    if text.startswith(f"{OWN}_"):
        return [Target(None, text)]
    raise StoreError(f"What reports are sent to is written {SHAPE}.")


def _address(text: str) -> str:
    try:
        return parse_mail_address(text)
    except ValueError as problem:
        raise StoreError(f"{problem}.") from None


def receivers_of(connection: Connection, schedule_ids: Collection[str]) -> dict[str, list[Receiver]]:
    """Return the receivers of schedules: mail first, then Slack, then webhooks."""
    found: dict[str, list[Receiver]] = {}
    for row in connection.execute(
        _linked(schedule_ids).order_by(webhook.c.channel, webhook.c.url, webhook.c.id)
    ):
        found.setdefault(row.schedule_id, []).append(
            Receiver(row.id, row.channel, shown(row.channel, row.url, row.id))
        )
    return found


def set_receivers(
    connection: Connection,
    schedule_id: str,
    targets: Sequence[Target],
    *,
    tenant_id: str | None,
    at_once: bool,
    at: datetime,
) -> None:
    """Let a schedule send to `targets` and to nobody else. Who it sends to as before is left as it is.

    `at_once` receivers are sent anomalies when they are found, and no reports.

    Raises:
        StoreError: there is no such webhook, or it is not for what this schedule tells.
    """
    old = {_target(row): row.id for row in connection.execute(_linked([schedule_id]))}
    wanted = _resolved(targets, {id: target for target, id in old.items()})
    kinds = [Announced.SPEND_ANOMALY.value] if at_once else []
    kept = {id for target, id in old.items() if target in wanted}
    drop_receivers(connection, schedule_id, [id for id in old.values() if id not in kept], at)
    own = webhook.c.id.in_(kept) & (webhook.c.channel != Channel.WEBHOOK)
    connection.execute(update(webhook).where(own).values(kinds=kinds))
    for target in wanted:
        if target.channel is Channel.WEBHOOK:
            _check_webhook(connection, target.place, tenant_id, at_once)
        if target not in old:
            id = _made(connection, target, {"tenant_id": tenant_id, "kinds": kinds, "created_at": at})
            connection.execute(insert(schedule_receiver).values(schedule_id=schedule_id, webhook_id=id))


def _resolved(targets: Sequence[Target], known: Mapping[str, Target]) -> list[Target]:
    """Return the targets, those that are given by their id as what they are."""
    unknown = [one.place for one in targets if one.channel is None and one.place not in known]
    if unknown:
        raise NotFound(f"This schedule has no receiver {unknown[0][:60]!r}: write {SHAPE}.")
    return list(dict.fromkeys(one if one.channel is not None else known[one.place] for one in targets))


def _made(connection: Connection, target: Target, facts: Mapping[str, Any]) -> str:
    """Return the id of a receiver: a webhook's that there is, or that of one that is made."""
    if target.channel is Channel.WEBHOOK:
        return target.place
    assert target.channel is not None, "it is resolved"
    url = MAILTO + target.place if target.channel is Channel.EMAIL else target.place
    row = {"id": new_id(OWN), "channel": target.channel.value, "url": url, "secret": ""}
    connection.execute(insert(webhook).values(**row, **facts))
    return row["id"]


def drop_receivers(connection: Connection, schedule_id: str, ids: Sequence[str], at: datetime) -> None:
    """Take receivers from a schedule. Its own end; webhooks stay what they are."""
    link = schedule_receiver.c
    gone = (link.schedule_id == schedule_id) & link.webhook_id.in_(ids)
    connection.execute(delete(schedule_receiver).where(gone))
    own = select(webhook.c.id).where(webhook.c.id.in_(ids), webhook.c.channel != Channel.WEBHOOK)
    end_receivers(connection, list(connection.execute(own).scalars()), at, REMOVED)


def shown(channel: str, url: str, receiver_id: str) -> str:
    """Return how a receiver may be shown."""
    match channel:
        case Channel.EMAIL:
            return url
        case Channel.SLACK:
            parts = urlsplit(url)
            return f"slack:{parts.scheme}://{parts.hostname}/…"
    return f"webhook:{receiver_id}"


def _target(row: Row[Any]) -> Target:
    match row.channel:
        case Channel.EMAIL:
            return Target(Channel.EMAIL, row.url.removeprefix(MAILTO))
        case Channel.SLACK:
            return Target(Channel.SLACK, row.url)
    return Target(Channel.WEBHOOK, row.id)


def _linked(schedule_ids: Collection[str]) -> Select[Any]:
    link = schedule_receiver.c
    columns = (link.schedule_id, webhook.c.id, webhook.c.channel, webhook.c.url)
    joined = select(*columns).join(webhook, webhook.c.id == link.webhook_id)
    return joined.where(link.schedule_id.in_(schedule_ids))


def _check_webhook(connection: Connection, webhook_id: str, tenant_id: str | None, at_once: bool) -> None:
    hook = find_webhook(connection, webhook_id)
    if hook.tenant_id not in (None, tenant_id):
        raise Conflict(f"Webhook {hook.id} hears of the tenant {hook.tenant} only, and this is not about it.")
    if at_once:
        raise Conflict(
            f"Webhook {hook.id} hears of anomalies at once if it was made for {Announced.SPEND_ANOMALY}: that"
            " needs no schedule. For a list of them let the schedule send every day or every week."
        )
