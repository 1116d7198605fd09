"""The outbox: what happened, for the webhooks, written in the transaction that made it happen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from proxy.store.columns import storable
from proxy.store.rows import insert_new
from proxy.store.schema import outbox
from proxy.store.spend import chunks

KEYS_MAX = 10_000  # in one statement: SQLite takes 32,766 parameters


@dataclass(frozen=True, slots=True)
class Announcement:
    """Something that is announced once: `key` is unique for ever. No content, no names of end users."""

    key: str
    kind: str
    tenant_id: str | None  # None: it concerns the installation
    at: datetime
    payload: Mapping[str, Any]
    schedule_id: str | None = (
        None  # whose receivers it is sent to; None: the webhooks that asked for its kind
    )


def announce(connection: Connection, rows: Sequence[Announcement]) -> tuple[Announcement, ...]:
    """Write what was not announced before; return that."""
    by_key = {storable(row.key): row for row in rows}
    if not by_key:
        return ()
    known = {
        key
        for some in chunks(by_key, KEYS_MAX)
        for key in connection.scalars(select(outbox.c.key).where(outbox.c.key.in_(some)))
    }
    new = [(key, row) for key, row in by_key.items() if key not in known]
    values = [
        {
            "key": key,
            "kind": row.kind,
            "tenant_id": row.tenant_id,
            "at": row.at,
            "payload": row.payload,
            "schedule_id": row.schedule_id,
        }
        for key, row in new
    ]
    if values:
        insert_new(connection, outbox, ("key",), values)
    return tuple(row for _, row in new)
