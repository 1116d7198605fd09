"""Whose spending a budget counts: from the names that an administrator gives to the ids of the tables."""

from dataclasses import asdict, dataclass

from sqlalchemy import Connection

from proxy.core.budgets import Scope
from proxy.store import Conflict, StoreError
from proxy.store.columns import storable
from proxy.store.end_users import end_user_ids
from proxy.store.tenants import Tenant, active_tenant, find_key, find_project, find_tenant

USER_CHARS_MAX = 200  # what the header Talkmeter-User may have

_NAMED = {Scope.PROJECT: "a project", Scope.KEY: "an API key's id", Scope.END_USER: "an end user"}


@dataclass(frozen=True, slots=True)
class Owner:
    """The columns of `budget` that say whose it is; those that the scope does not need are None."""

    scope: Scope
    tenant_id: str | None = None
    project_id: str | None = None
    api_key_id: str | None = None
    end_user_id: str | None = None

    @property
    def columns(self) -> dict[str, str | None]:
        return {**asdict(self), "scope": self.scope.value}


def find_owner(
    connection: Connection, scope: Scope, tenant: str | None = None, name: str | None = None
) -> Owner:
    """Return whose budget of `scope` is meant. An end user's row is made when missing.

    `tenant` is its name or id; a key's need not be given. `name` is the project's name or id, the
    key's id or the end user's name, and None for the other scopes.

    Raises:
        StoreError: what is named does not exist, is archived or revoked, or does not go together.
    """
    if (name is not None) != (scope in _NAMED):
        wanted = _NAMED.get(scope, "no name")
        raise StoreError(f"A budget of the scope {scope} needs {wanted}.")
    if scope is Scope.ORGANISATION:
        if tenant is not None:
            raise StoreError("The installation's budget counts all tenants: name none.")
        return Owner(scope)
    if scope is Scope.KEY:
        return _key(connection, tenant, name or "")
    if tenant is None:
        raise StoreError(f"A budget of the scope {scope} needs a tenant.")
    payer = active_tenant(connection, tenant)
    if scope is Scope.PROJECT:
        return Owner(scope, payer.id, project_id=_project(connection, payer, name or ""))
    if scope is Scope.END_USER:
        return Owner(scope, payer.id, end_user_id=_end_user(connection, payer, name or ""))
    return Owner(scope, payer.id)


def _project(connection: Connection, payer: Tenant, name: str) -> str:
    found = find_project(connection, payer, name)
    if found.archived_at is not None:
        raise Conflict(f"Project {found.name!r} of tenant {payer.name!r} is archived.")
    return found.id


def _key(connection: Connection, tenant: str | None, key_id: str) -> Owner:
    found = find_key(connection, key_id)
    if tenant is not None and find_tenant(connection, tenant).id != found.tenant_id:
        raise StoreError(f"Key {found.id} is of another tenant: leave the tenant out, or name its own.")
    active_tenant(connection, found.tenant_id)
    if found.revoked_at is not None:
        raise Conflict(f"Key {found.id} is revoked: nothing can be spent with it.")
    return Owner(Scope.KEY, found.tenant_id, api_key_id=found.id)


def _end_user(connection: Connection, payer: Tenant, name: str) -> str:
    if not 0 < len(name) <= USER_CHARS_MAX or not name.isprintable():
        raise StoreError(f"An end user's name has 1 to {USER_CHARS_MAX} printable characters.")
    return end_user_ids(connection, [(payer.id, name)])[payer.id, storable(name)]
