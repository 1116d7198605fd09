"""Answers kept by their Idempotency-Key, so that a request can be repeated without being done again.

A row belongs to the transaction that makes the change: after a crash there are both or neither. What holds
a secret is kept without it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, select, update

from proxy.store import StoreError
from proxy.store.rows import insert_new
from proxy.store.schema import api_answer

KEPT = timedelta(hours=48)


class KeyUsed(StoreError):
    """The key was used for another request."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer that was given before."""

    status: int
    answer: Mapping[str, Any]


def claim(connection: Connection, caller: str, key: str, fingerprint: str, now: datetime) -> Kept | None:
    """Take a key for a request, before its change is made; return the answer if that was made before.

    Where another transaction has taken it and is not over, this waits for its end.

    Raises:
        KeyUsed: it was taken for a request with another fingerprint.
    """
    connection.execute(delete(api_answer).where(api_answer.c.created_at < now - KEPT))
    mine = (api_answer.c.caller == caller) & (api_answer.c.key == key)
    row = {"caller": caller, "key": key, "fingerprint": fingerprint, "created_at": now}
    insert_new(connection, api_answer, ("caller", "key"), [row])
    found = connection.execute(select(api_answer).where(mine)).one()
    if found.fingerprint != fingerprint:
        raise KeyUsed("This Idempotency-Key was used for another request: take a new one for a new request.")
    return None if found.status is None else Kept(found.status, found.answer)


def keep(connection: Connection, caller: str, key: str, kept: Kept) -> None:
    """Keep the answer to a request whose key was claimed, in the same transaction."""
    mine = (api_answer.c.caller == caller) & (api_answer.c.key == key)
    values = {"status": kept.status, "answer": kept.answer}
    connection.execute(update(api_answer).where(mine).values(**values))
