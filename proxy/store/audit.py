"""The audit log: who changed what, when and why, written in the transaction of the change itself.

Rows are only ever added. What they hold is small and never a secret: functions that change the
catalogue name the fields that matter, before and after.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, insert, select

from proxy.core.models import ANY_END
from proxy.store import StoreError
from proxy.store.columns import storable
from proxy.store.pages import Page
from proxy.store.schema import audit, tenant

ACTOR_CHARS_MAX = 200
REASON_CHARS_MAX = 500
AUDIT_ROWS_MAX = 10_000

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Act:
    """Who changes something, when and why: what every function that changes the catalogue is given."""

    actor: str  # such as cli:USER@HOST
    at: datetime
    reason: str | None = None

    def note(
        self,
        connection: Connection,
        action: str,
        object: str,
        *,
        tenant_id: str | None = None,
        before: Fields | None = None,
        after: Fields | None = None,
    ) -> None:
        """Write this act down; raises what `note` raises."""
        note(
            connection,
            at=self.at,
            actor=self.actor,
            action=action,
            object=object,
            tenant_id=tenant_id,
            before=before,
            after=after,
            reason=self.reason,
        )


@dataclass(frozen=True, slots=True)
class Noted:
    """A row of the audit log. `before` and `after` have the fields that matter."""

    id: int
    at: datetime
    actor: str
    action: str  # such as budget.set
    object: str  # its id
    tenant_id: str | None
    tenant: str | None
    before: Fields | None
    after: Fields | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Which:
    """Whose acts, of what kind, about what. None: all. A `*` at the end stands for anything."""

    actor: str | None = None
    action: str | None = None
    object: str | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return what a row has to be."""
        asked = ((audit.c.actor, self.actor), (audit.c.action, self.action), (audit.c.object, self.object))
        return [_is_like(column, pattern) for column, pattern in asked if pattern is not None]


ANY = Which()


def _is_like(column: ColumnElement[str], pattern: str) -> ColumnElement[bool]:
    """Return whether a text is this, or begins so; letters count as they are on SQLite too."""
    if not pattern.endswith(ANY_END):
        return column == storable(pattern)
    begin = storable(pattern.removesuffix(ANY_END))
    return func.substr(column, 1, len(begin)) == begin


def note(
    connection: Connection,
    *,
    at: datetime,
    actor: str,
    action: str,
    object: str,
    tenant_id: str | None = None,
    before: Fields | None = None,
    after: Fields | None = None,
    reason: str | None = None,
) -> None:
    """Add a row, in the transaction that makes the change.

    Raises:
        StoreError: the reason cannot be used. The caller's transaction must then be rolled back.
    """
    if reason is not None and (len(reason) > REASON_CHARS_MAX or not reason.isprintable()):
        raise StoreError(f"A reason has at most {REASON_CHARS_MAX} printable characters.")
    connection.execute(
        insert(audit).values(
            at=at,
            actor=actor[:ACTOR_CHARS_MAX],
            action=action,
            object=object,
            tenant_id=tenant_id,
            before=before,
            after=after,
            reason=reason or None,
        )
    )


def list_audit(
    connection: Connection,
    *,
    tenant_id: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    which: Which = ANY,
    limit: int = 50,
) -> list[Noted]:
    """Return the newest `limit` rows in the order they were written; `start` is inside, `end` is not."""
    newest = Page(limit=min(limit, AUDIT_ROWS_MAX), newest_first=True)
    return page_of_audit(connection, newest, tenant_id=tenant_id, start=start, end=end, which=which)[::-1]


def page_of_audit(
    connection: Connection,
    page: Page,
    *,
    tenant_id: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    which: Which = ANY,
) -> list[Noted]:
    """Return a page of rows, by id; `start` is inside, `end` is not."""
    columns = [audit.c[name] for name in Noted.__slots__ if name != "tenant"]
    query = select(*columns, func.coalesce(tenant.c.name, audit.c.tenant_id).label("tenant")).join(
        tenant, tenant.c.id == audit.c.tenant_id, isouter=True
    )
    if tenant_id is not None:
        query = query.where(audit.c.tenant_id == tenant_id)
    if start is not None:
        query = query.where(audit.c.at >= start)
    if end is not None:
        query = query.where(audit.c.at < end)
    query = query.where(*which.conditions())
    rows = connection.execute(page.of(query, audit.c.id, tenant_id=audit.c.tenant_id))
    return [Noted(**row._mapping) for row in rows]
