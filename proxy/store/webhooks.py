"""Webhooks: where announcements are sent. Made, listed, given a new secret, deleted.

A webhook's secret is shown once, when it is made, and kept in the database as it is: each message is
signed with it. Who reads the database can therefore forge messages to receivers, though not use a key.
"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update

from proxy.core.announced import Announced, Channel
from proxy.core.mail_relay import is_loopback
from proxy.core.signing import secret_from
from proxy.ids import new_id
from proxy.store import Conflict, NotFound, StoreError
from proxy.store.audit import Act
from proxy.store.changes import bump
from proxy.store.pages import EVERYTHING, Page, Within, is_within
from proxy.store.schema import delivery, schedule_receiver, tenant, webhook
from proxy.store.tenants import find_tenant

SECRET_BYTES = 32
URL_CHARS_MAX = 2_000
WEBHOOKS_MAX = 20  # of one tenant, and of the installation
OLD_SECRET_LASTS = timedelta(hours=24)

DELETED = "the webhook was deleted"


@dataclass(frozen=True, slots=True)
class Webhook:
    """A receiver of announcements, without its secret. No tenant: it hears of all tenants."""

    id: str
    tenant_id: str | None
    tenant: str | None
    url: str
    kinds: Sequence[str]
    created_at: datetime


def create_webhook(
    connection: Connection,
    *,
    url: str,
    act: Act,
    tenant_name: str | None = None,
    kinds: Iterable[str] = (),
) -> tuple[Webhook, str]:
    """Return a new webhook and its secret, which is not shown again. Without `kinds` it hears of all.

    Raises:
        StoreError: no such tenant or kind, an archived tenant, a URL that cannot be used, or too many.
    """
    owner = find_tenant(connection, tenant_name) if tenant_name is not None else None
    if owner is not None and owner.archived_at is not None:
        raise Conflict(f"Tenant {owner.name!r} is archived.")
    owner_id, name = (owner.id, owner.name) if owner else (None, None)
    made = Webhook(new_id("whk"), owner_id, name, checked_url(url), _checked_kinds(kinds), act.at)
    _refuse_too_many(connection, owner_id)
    secret = _new_secret()
    row = {"id": made.id, "tenant_id": owner_id, "url": made.url, "kinds": made.kinds, "created_at": act.at}
    connection.execute(insert(webhook).values(**row, secret=secret))
    bump(connection)
    act.note(connection, "webhook.create", made.id, tenant_id=owner_id, after=noted(made))
    return made, secret


def list_webhooks(
    connection: Connection, tenant_name: str | None = None, page: Page = EVERYTHING
) -> list[Webhook]:
    """Return the webhooks of one tenant, or all, in the order they were made."""
    query = _webhooks()
    if tenant_name is not None:
        query = query.where(webhook.c.tenant_id == find_tenant(connection, tenant_name, page.within).id)
    rows = connection.execute(page.of(query, webhook.c.id, tenant_id=webhook.c.tenant_id))
    return [_webhook(row) for row in rows]


def find_webhook(connection: Connection, webhook_id: str, within: Within = None) -> Webhook:
    """Raises StoreError: there is no such webhook, or it is of no tenant `within`."""
    row = connection.execute(_webhooks().where(webhook.c.id == webhook_id)).first()
    if row is None or not is_within(row.tenant_id, within):
        raise NotFound(f"There is no webhook {webhook_id[:60]!r}: the list of webhooks says which there are.")
    return _webhook(row)


def delete_webhook(connection: Connection, webhook_id: str, act: Act) -> Webhook:
    """Delete a webhook: what it has not been sent yet, it is not sent any more.

    Raises:
        StoreError: there is no such webhook.
    """
    found = find_webhook(connection, webhook_id)
    end_receivers(connection, [found.id], act.at, DELETED)
    bump(connection)
    act.note(connection, "webhook.delete", found.id, tenant_id=found.tenant_id, before=noted(found))
    return found


def end_receivers(connection: Connection, ids: Sequence[str], at: datetime, why: str) -> None:
    """Send nothing more to these receivers, of whatever channel, and leave them out of schedules.

    Their secrets go; the rows stay for the record of what was delivered.
    """
    gone = {"deleted_at": at, "secret": "", "old_secret": None, "old_until": None}
    connection.execute(update(webhook).where(webhook.c.id.in_(ids)).values(**gone))
    pending = delivery.c.webhook_id.in_(ids) & delivery.c.next_at.is_not(None)
    connection.execute(update(delivery).where(pending).values(next_at=None, error=why))
    connection.execute(delete(schedule_receiver).where(schedule_receiver.c.webhook_id.in_(ids)))


def rotate_secret(connection: Connection, webhook_id: str, act: Act) -> tuple[Webhook, str]:
    """Return a webhook and its new secret. For a day the one before signs beside it, and none older.

    Raises:
        StoreError: there is no such webhook.
    """
    found = find_webhook(connection, webhook_id)
    secret = _new_secret()
    changed = {"secret": secret, "old_secret": webhook.c.secret, "old_until": act.at + OLD_SECRET_LASTS}
    connection.execute(update(webhook).where(webhook.c.id == found.id).values(**changed))
    bump(connection)
    act.note(connection, "webhook.rotate", found.id, tenant_id=found.tenant_id)
    return found, secret


def noted(hook: Webhook) -> dict[str, object]:
    """Return what the audit log says of a webhook: no secret, and of its URL neither query nor user."""
    parts = urlsplit(hook.url)
    host = parts.netloc.rpartition("@")[2]
    return {"url": f"{parts.scheme}://{host}{parts.path}", "kinds": list(hook.kinds)}


def _webhooks() -> Select[Any]:
    columns = [webhook.c[name] for name in ("id", "tenant_id", "url", "kinds", "created_at")]
    names = tenant.c.name.label("tenant")
    joined = select(*columns, names).join(tenant, tenant.c.id == webhook.c.tenant_id, isouter=True)
    return joined.where(webhook.c.deleted_at.is_(None), webhook.c.channel == Channel.WEBHOOK)


def _webhook(row: Row[Any]) -> Webhook:
    return Webhook(**row._mapping)


def _new_secret() -> str:
    return secret_from(secrets.token_bytes(SECRET_BYTES))


def _refuse_too_many(connection: Connection, owner_id: str | None) -> None:
    same_owner = webhook.c.tenant_id.is_not_distinct_from(owner_id) & webhook.c.deleted_at.is_(None)
    own = same_owner & (webhook.c.channel == Channel.WEBHOOK)
    count = connection.execute(select(func.count()).select_from(webhook).where(own)).scalar_one()
    if count >= WEBHOOKS_MAX:
        whose = "A tenant" if owner_id else "An installation"
        raise Conflict(f"{whose} has at most {WEBHOOKS_MAX} webhooks: delete one first.")


def _checked_kinds(kinds: Iterable[str]) -> list[str]:
    wanted = set(kinds) or set(Announced)
    unknown = sorted(wanted - set(Announced))
    if unknown:
        raise StoreError(f"{unknown[0][:60]!r} is not announced: there are {', '.join(Announced)}.")
    return [kind.value for kind in Announced if kind in wanted]


def checked_url(url: str) -> str:
    """Return `url` if it can be posted to. It is not quoted: a path can be a secret."""
    if not 0 < len(url) <= URL_CHARS_MAX or not url.isascii() or not url.isprintable() or " " in url:
        raise StoreError(
            f"A webhook's URL has at most {URL_CHARS_MAX} printable ASCII characters, no spaces."
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise StoreError("This webhook's URL cannot be read: it should be https://HOST/PATH.") from None
    if parts.scheme not in ("https", "http") or not host or port == 0 or parts.fragment:
        raise StoreError("A webhook's URL should be https://HOST/PATH, without a fragment.")
    if parts.scheme == "http" and not is_loopback(host):
        raise StoreError("A webhook's URL has to be https, since announcements name costs and customers.")
    if parts.username is not None or parts.password is not None:
        raise StoreError("A webhook's URL holds no user and no password: messages are signed instead.")
    return url
