"""Trying a webhook out: an announcement that only it is sent, on the way that all announcements go."""

from sqlalchemy import Connection, func, insert, select

from proxy.core.announced import TEST
from proxy.ids import new_id
from proxy.store import Conflict
from proxy.store.audit import Act
from proxy.store.changes import lock
from proxy.store.deliveries import DeliveryRow, find_delivery
from proxy.store.pages import Within
from proxy.store.schema import delivery, outbox
from proxy.store.webhooks import find_webhook

TESTS_PENDING_MAX = 3  # of one webhook: what is still being tried tells already that something is wrong
SAID = "This is a test: nothing has happened."


def send_test(connection: Connection, webhook_id: str, act: Act, within: Within = None) -> DeliveryRow:
    """Send a test to a webhook, whatever kinds it asked for; return its delivery, with all its retries.

    Raises:
        StoreError: there is no such webhook, or too many tests to it are still being tried.
    """
    lock(connection)
    hook = find_webhook(connection, webhook_id, within)
    pending = (outbox.c.kind == TEST) & (delivery.c.webhook_id == hook.id) & delivery.c.next_at.is_not(None)
    under_way = select(func.count()).select_from(delivery.join(outbox, outbox.c.id == delivery.c.outbox_id))
    if connection.execute(under_way.where(pending)).scalar_one() >= TESTS_PENDING_MAX:
        raise Conflict(
            f"{TESTS_PENDING_MAX} tests to webhook {hook.id} are still being tried: its deliveries say why."
        )
    row = {
        "key": f"test/{new_id('tst')}",
        "kind": TEST,
        "tenant_id": hook.tenant_id,
        "at": act.at,
        "payload": {"webhook_id": hook.id, "tenant_id": hook.tenant_id, "message": SAID},
        "fanned_at": act.at,  # its one delivery is made out here
    }
    outbox_id = connection.execute(insert(outbox).values(row).returning(outbox.c.id)).scalar_one()
    made = {"outbox_id": outbox_id, "webhook_id": hook.id, "attempts": 0, "next_at": act.at}
    connection.execute(insert(delivery).values(made))
    act.note(connection, "webhook.test", hook.id, tenant_id=hook.tenant_id, after={"delivery": outbox_id})
    return find_delivery(connection, outbox_id, hook.id)
