"""Announcements: written in the transaction of what they tell of, delivered by the control plane."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from proxy.store.rows import insert_new
from proxy.store.schema import outbox


@dataclass(frozen=True, slots=True)
class News:
    """What is told, once for each `key`. `tenant_id` None concerns the installation only."""

    key: str
    kind: str
    tenant_id: str | None
    at: datetime
    payload: Mapping[str, Any]


def announce(connection: Connection, announcements: Sequence[News]) -> None:
    """Write what was not announced before."""
    rows = [
        {"key": one.key, "kind": one.kind, "tenant_id": one.tenant_id, "at": one.at, "payload": one.payload}
        for one in announcements
    ]
    if rows:
        insert_new(connection, outbox, ("key",), rows)
