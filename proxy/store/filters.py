"""Which ledger entries are meant: one set of filters for lists, reports and exports."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, select

from proxy.store import NotFound, StoreError
from proxy.store.pages import Within
from proxy.store.schema import ledger_entry, project, tenant
from proxy.store.tenants import find_tenant

Condition = ColumnElement[bool]


@dataclass(frozen=True, slots=True)
class Filters:
    """Entries that fulfil all that is given; `start` is inside, `end` is not.

    A tenant or project is meant by its name or id, the others by id. Tenants that are not `within` do
    not exist.
    """

    start: datetime | None = None
    end: datetime | None = None
    tenant: str | None = None
    project: str | None = None
    key: str | None = None
    model: str | None = None
    session: str | None = None
    kind: str | None = None
    period: str | None = None  # the month that it is accounted in
    unrated: bool = False
    kinds: frozenset[str] | None = None
    within: Within = None


EVERYTHING = Filters()


def conditions(connection: Connection, filters: Filters) -> list[Condition]:
    """Return `filters` as SQL.

    Raises:
        StoreError: a tenant or project does not exist, or a project's name is not unique.
    """
    entry = ledger_entry.c
    found: list[Condition] = []
    if filters.start is not None:
        found.append(entry.occurred_at >= filters.start)
    if filters.end is not None:
        found.append(entry.occurred_at < filters.end)
    tenant_id = find_tenant(connection, filters.tenant, filters.within).id if filters.tenant else None
    within = filters.within if tenant_id is None else frozenset({tenant_id})
    if within is not None:
        found.append(entry.tenant_id.in_(within))
    if filters.project:
        found.append(entry.project_id == _project_id(connection, within, filters.project))
    if filters.kinds is not None:
        found.append(entry.kind.in_(filters.kinds))
    for column, value in (
        (entry.api_key_id, filters.key),
        (entry.model, filters.model),
        (entry.session_id, filters.session),
        (entry.kind, filters.kind),
        (entry.period, filters.period),
    ):
        if value is not None:
            found.append(column == value)
    if filters.unrated:
        found.append(entry.cost_nanousd.is_(None))
    return found


def _project_id(connection: Connection, within: Within, name_or_id: str) -> str:
    query = (
        select(project.c.id, tenant.c.name)
        .join(tenant, tenant.c.id == project.c.tenant_id)
        .where((project.c.name == name_or_id) | (project.c.id == name_or_id))
    )
    if within is not None:
        query = query.where(project.c.tenant_id.in_(within))
    rows = connection.execute(query).all()
    if not rows:
        raise NotFound(f"There is no project {name_or_id[:100]!r}: see `talkmeter project list`.")
    if len(rows) > 1:
        owners = ", ".join(sorted(row.name for row in rows)[:10])
        raise StoreError(
            f"Several tenants have a project {name_or_id[:100]!r} ({owners}): give the tenant too."
        )
    return str(rows[0].id)
