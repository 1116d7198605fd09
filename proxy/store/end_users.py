"""End users: a surrogate id that stays in the ledger, and a name that can be erased."""

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, select

from proxy.ids import new_id
from proxy.store.columns import storable
from proxy.store.rows import insert_new
from proxy.store.schema import end_user


def end_user_ids(connection: Connection, named: Iterable[tuple[str, str]]) -> Mapping[tuple[str, str], str]:
    """Return the surrogate id of each (tenant id, name), made where there was none.

    Names come back as they are stored: see `storable`.
    """
    wanted = sorted({(tenant_id, storable(name)) for tenant_id, name in named})
    if not wanted:
        return {}
    rows = [{"id": new_id("u"), "tenant_id": tenant_id, "name": name} for tenant_id, name in wanted]
    insert_new(connection, end_user, ("tenant_id", "name"), rows)
    found = connection.execute(
        select(end_user.c.tenant_id, end_user.c.name, end_user.c.id).where(
            end_user.c.tenant_id.in_({tenant_id for tenant_id, _ in wanted}),
            end_user.c.name.in_({name for _, name in wanted}),
        )
    )
    return {(row.tenant_id, row.name): row.id for row in found}


def end_user_id(connection: Connection, tenant_id: str, name: str) -> str | None:
    """Return the surrogate id of a tenant's end user, None where nobody of this name was ever there."""
    named = (end_user.c.tenant_id == tenant_id) & (end_user.c.name == storable(name))
    found: str | None = connection.execute(select(end_user.c.id).where(named)).scalar()
    return found
