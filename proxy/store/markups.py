"""Markups and discounts: what tenants are billed on top of our cost, from an instant on.

Like rate cards they are never edited: a later one supersedes, and 0 ends it. What was booked keeps the one it
was rated with until it is rated again.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, insert, select

from proxy.core.rating import BASIS_POINTS, Markup
from proxy.ids import new_id
from proxy.store import Conflict, StoreError
from proxy.store.audit import Act
from proxy.store.changes import bump
from proxy.store.instants import format_instant
from proxy.store.pages import Page
from proxy.store.schema import markup, tenant
from proxy.store.tenants import find_tenant

MARKUP_BP_MAX = 100 * BASIS_POINTS


@dataclass(frozen=True, slots=True)
class MarkupRow:
    """A markup as people and programs see it. `tenant` None: all tenants that have none of their own."""

    id: str
    tenant: str | None
    basis_points: int
    effective_from: datetime
    created_at: datetime

    @property
    def percent(self) -> str:
        """Return it as people write it: 15%, or -2.5% for a discount."""
        whole, rest = divmod(abs(self.basis_points), 100)
        sign = "-" if self.basis_points < 0 else ""
        return f"{sign}{whole}{f'.{rest:02}'.rstrip('0') if rest else ''}%"


def load_markups(connection: Connection) -> tuple[Markup, ...]:
    """Return all markups, past and future ones too."""
    query = select(markup.c.tenant_id, markup.c.effective_from, markup.c.basis_points)
    return tuple(Markup(*row) for row in connection.execute(query.order_by(markup.c.id)))


def list_markups(connection: Connection) -> list[MarkupRow]:
    """Return all markups: those of all tenants first, then by tenant and instant."""
    found = [MarkupRow(**row._mapping) for row in connection.execute(_markups())]
    return sorted(found, key=lambda one: (one.tenant is not None, one.tenant or "", one.effective_from))


def page_of_markups(connection: Connection, tenant_id: str | None, page: Page) -> list[MarkupRow]:
    """Return a page of markups, by id: a tenant's, or those of all that may be seen."""
    query = _markups()
    if tenant_id is not None:
        query = query.where(markup.c.tenant_id == tenant_id)
    rows = connection.execute(page.of(query, markup.c.id, tenant_id=markup.c.tenant_id))
    return [MarkupRow(**row._mapping) for row in rows]


def _markups() -> Select[Any]:
    columns = (markup.c.basis_points, markup.c.effective_from, markup.c.created_at)
    query = select(markup.c.id, tenant.c.name.label("tenant"), *columns)
    return query.join(tenant, tenant.c.id == markup.c.tenant_id, isouter=True)


def set_markup(
    connection: Connection, tenant_name: str | None, basis_points: int, effective_from: datetime, act: Act
) -> MarkupRow:
    """Bill a tenant, or all that have no markup of their own, our cost and so much from an instant on.

    Raises:
        StoreError: no such tenant, too much or less than nothing, or another one starts at that very instant.
    """
    if not -BASIS_POINTS <= basis_points <= MARKUP_BP_MAX:
        raise StoreError(f"A markup is between -100% (nothing is billed) and {MARKUP_BP_MAX // 100}%.")
    owner = find_tenant(connection, tenant_name) if tenant_name is not None else None
    owner_id = owner.id if owner else None
    is_owners = markup.c.tenant_id == owner_id if owner else markup.c.tenant_id.is_(None)
    same = select(markup.c.id, markup.c.basis_points, markup.c.created_at)
    there = connection.execute(same.where(is_owners, markup.c.effective_from == effective_from)).first()
    name = owner.name if owner else None
    if there is not None:
        if there.basis_points != basis_points:
            raise Conflict(
                f"Another markup starts at {format_instant(effective_from)}, and none is ever edited:"
                " give this one a later instant."
            )
        return MarkupRow(there.id, name, basis_points, effective_from, there.created_at)
    made = MarkupRow(new_id("mrk"), name, basis_points, effective_from, act.at)
    connection.execute(
        insert(markup).values(
            id=made.id,
            tenant_id=owner_id,
            basis_points=basis_points,
            effective_from=effective_from,
            created_at=act.at,
        )
    )
    bump(connection)
    after = {"basis_points": basis_points, "effective_from": format_instant(effective_from)}
    act.note(connection, "markup.set", made.id, tenant_id=owner_id, after=after)
    return made
