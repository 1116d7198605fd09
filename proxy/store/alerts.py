"""Reading what was announced: the outbox, as people and programs look at it.

Scheduled reports are no alerts (`schedule_log` shows them), and tests of webhooks are none.
"""

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, select

from proxy.core.announced import TEST, Announcement
from proxy.store import NotFound
from proxy.store.pages import Page, Within, is_within
from proxy.store.schema import outbox

_IS_ALERT = outbox.c.schedule_id.is_(None) & (outbox.c.kind != TEST)


def page_of_alerts(
    connection: Connection,
    page: Page,
    *,
    tenant_id: str | None = None,
    kind: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> list[Announcement]:
    """Return a page of announcements, by id; `start` is inside, `end` is not."""
    wanted: list[ColumnElement[bool]] = [_IS_ALERT]
    if tenant_id is not None:
        wanted.append(outbox.c.tenant_id == tenant_id)
    if kind is not None:
        wanted.append(outbox.c.kind == kind)
    if start is not None:
        wanted.append(outbox.c.at >= start)
    if end is not None:
        wanted.append(outbox.c.at < end)
    query = page.of(select(outbox).where(*wanted), outbox.c.id, tenant_id=outbox.c.tenant_id)
    return [
        Announcement(row.id, row.key, row.kind, row.tenant_id, row.at, row.payload)
        for row in connection.execute(query)
    ]


def find_alert(connection: Connection, alert_id: int, within: Within = None) -> Announcement:
    """Raises StoreError: there is no such announcement, or it is of no tenant `within`."""
    row = connection.execute(select(outbox).where(outbox.c.id == alert_id, _IS_ALERT)).first()
    if row is None or not is_within(row.tenant_id, within):
        raise NotFound(f"There is no alert {alert_id}: they are kept for 30 days.")
    return Announcement(row.id, row.key, row.kind, row.tenant_id, row.at, row.payload)
