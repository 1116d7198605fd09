"""Tenants, their projects and their API keys: made, listed, archived or revoked, never deleted.

Functions over a connection; the writing ones belong into `database.writing`. Every change counts in
the change counter, which is how running instances learn of it within half a second, and stands in the
audit log.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, insert, select, true, union_all, update

from proxy.ids import new_id
from proxy.store import Conflict, NotFound, StoreError
from proxy.store.audit import Act
from proxy.store.changes import bump, lock
from proxy.store.instants import format_instant
from proxy.store.keys import hash_secret, new_secret, shown_prefix
from proxy.store.pages import EVERYTHING, Page, Within
from proxy.store.schema import api_key, api_token, key_rotation, project, tenant

NAME_CHARS_MAX = 100
_JOINED = ("tenant", "project", "replaces", "replaced_by")  # of a key, from other tables than its own
TAGS_MAX = 8
TAG_CHARS_MAX = 200


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who pays."""

    id: str
    name: str
    created_at: datetime
    archived_at: datetime | None


@dataclass(frozen=True, slots=True)
class Project:
    """A part of a tenant."""

    id: str
    tenant_id: str
    tenant: str
    name: str
    created_at: datetime
    archived_at: datetime | None


@dataclass(frozen=True, slots=True)
class Key:
    """An API key, without its secret."""

    id: str
    tenant_id: str
    tenant: str
    project_id: str | None
    project: str | None
    name: str
    prefix: str
    tags: Mapping[str, str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    replaces: str | None = None  # the id of the key that this one was made for by a rotation
    replaced_by: str | None = None


# --- Tenants


def create_tenant(connection: Connection, name: str, act: Act) -> Tenant:
    """Raises StoreError: the name cannot be used, or is taken (an archived tenant keeps its name)."""
    name = checked_name(name)
    taken = connection.execute(select(tenant.c.id).where(tenant.c.name == name)).first()
    if taken:
        raise Conflict(f"There is a tenant {name!r} already ({taken.id}).")
    made = Tenant(new_id("ten"), name, act.at, None)
    connection.execute(insert(tenant).values(id=made.id, name=name, created_at=act.at))
    bump(connection)
    act.note(connection, "tenant.create", made.id, tenant_id=made.id, after={"name": name})
    return made


def list_tenants(connection: Connection, page: Page = EVERYTHING) -> list[Tenant]:
    """Return tenants, archived ones too: all of them by name, or a page of them by id."""
    rows = connection.execute(page.of(select(tenant), tenant.c.id, tenant_id=tenant.c.id))
    found = [Tenant(**row._mapping) for row in rows]
    return sorted(found, key=lambda one: one.name) if page.is_everything else found


def find_tenant(connection: Connection, name_or_id: str, within: Within = None) -> Tenant:
    """Return a tenant; where one is called as another's id, the id counts.

    Raises:
        StoreError: there is no such tenant, or it is not one of those `within`.
    """
    named = (tenant.c.name == name_or_id) | (tenant.c.id == name_or_id)
    query = select(tenant).where(named, _one_of(tenant.c.id, within))
    row = connection.execute(query.order_by((tenant.c.id == name_or_id).desc())).first()
    if row is None:
        raise NotFound(
            f"There is no tenant {name_or_id[:NAME_CHARS_MAX]!r}: the list of tenants says which there are."
        )
    return Tenant(**row._mapping)


def archive_tenant(connection: Connection, name_or_id: str, act: Act) -> Tenant:
    """Archive a tenant: its keys stop working, its ledger stays.

    Raises:
        StoreError: there is no such tenant.
    """
    lock(connection)  # before the row: an edit through the API does so too
    found = find_tenant(connection, name_or_id)
    active = (tenant.c.id == found.id) & tenant.c.archived_at.is_(None)
    if connection.execute(update(tenant).where(active).values(archived_at=act.at)).rowcount:
        bump(connection)
        act.note(connection, "tenant.archive", found.id, tenant_id=found.id, before={"name": found.name})
    return find_tenant(connection, found.id)


# --- Projects


def create_project(connection: Connection, tenant_name: str, name: str, act: Act) -> Project:
    """Raises StoreError: no such tenant, it is archived, or it has a project of that name."""
    owner = active_tenant(connection, tenant_name)
    name = checked_name(name)
    if _project_of(connection, owner, name):
        raise Conflict(f"Tenant {owner.name!r} has a project {name!r} already.")
    return _insert_project(connection, owner, name, act)


def list_projects(
    connection: Connection, tenant_name: str | None = None, page: Page = EVERYTHING
) -> list[Project]:
    """Return the projects of one tenant or of all, archived ones too; a page of them by id."""
    query = _projects()
    if tenant_name is not None:
        query = query.where(project.c.tenant_id == find_tenant(connection, tenant_name, page.within).id)
    rows = connection.execute(page.of(query, project.c.id, tenant_id=project.c.tenant_id))
    found = [Project(**row._mapping) for row in rows]
    return sorted(found, key=lambda one: (one.tenant, one.name)) if page.is_everything else found


def project_of_id(connection: Connection, project_id: str, within: Within = None) -> Project:
    """Raises StoreError: there is no such project, or it is of no tenant `within`."""
    query = _projects().where(project.c.id == project_id, _one_of(project.c.tenant_id, within))
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(
            f"There is no project {project_id[:NAME_CHARS_MAX]!r}: the list of projects says which there are."
        )
    return Project(**row._mapping)


def archive_project(connection: Connection, tenant_name: str, name_or_id: str, act: Act) -> Project:
    """Archive a project: its keys stop working, its ledger stays.

    Raises:
        StoreError: no such tenant or project.
    """
    lock(connection)  # before the row: an edit through the API does so too
    found = find_project(connection, find_tenant(connection, tenant_name), name_or_id)
    active = (project.c.id == found.id) & project.c.archived_at.is_(None)
    if connection.execute(update(project).where(active).values(archived_at=act.at)).rowcount:
        bump(connection)
        before = {"name": found.name}
        act.note(connection, "project.archive", found.id, tenant_id=found.tenant_id, before=before)
    return find_project(connection, find_tenant(connection, found.tenant_id), found.id)


def find_project(connection: Connection, owner: Tenant, name_or_id: str) -> Project:
    """Raises StoreError: this tenant has no such project."""
    found = _project_of(connection, owner, name_or_id)
    if found is None:
        raise NotFound(
            f"Tenant {owner.name!r} has no project {name_or_id[:NAME_CHARS_MAX]!r}:"
            " the list of projects says which there are."
        )
    return found


def _projects() -> Select[Any]:
    columns = (project.c.id, project.c.tenant_id, tenant.c.name.label("tenant"))
    more = (project.c.name, project.c.created_at, project.c.archived_at)
    return select(*columns, *more).join(tenant, tenant.c.id == project.c.tenant_id)


def _project_of(connection: Connection, owner: Tenant, name_or_id: str) -> Project | None:
    query = _projects().where(
        project.c.tenant_id == owner.id, (project.c.name == name_or_id) | (project.c.id == name_or_id)
    )
    row = connection.execute(query).first()
    return Project(**row._mapping) if row else None


def _insert_project(connection: Connection, owner: Tenant, name: str, act: Act) -> Project:
    made = Project(new_id("prj"), owner.id, owner.name, name, act.at, None)
    connection.execute(insert(project).values(id=made.id, tenant_id=owner.id, name=name, created_at=act.at))
    bump(connection)
    act.note(connection, "project.create", made.id, tenant_id=owner.id, after={"name": name})
    return made


# --- API keys


def create_key(
    connection: Connection,
    pepper: bytes,
    *,
    tenant_name: str,
    act: Act,
    project_name: str | None = None,
    name: str = "",
    expires_at: datetime | None = None,
    tags: Mapping[str, str] | None = None,
) -> tuple[Key, str]:
    """Return a new key and its secret, which cannot be had again. A project is made when missing.

    Raises:
        StoreError: no such tenant, something is archived, or an argument cannot be used.
    """
    owner = active_tenant(connection, tenant_name)
    part = _active_project(connection, owner, project_name, act) if project_name else None
    if expires_at is not None and expires_at <= act.at:
        raise StoreError("This key would have expired already: give a later instant.")
    secret = new_secret()
    made = Key(
        id=new_id("key"),
        tenant_id=owner.id,
        tenant=owner.name,
        project_id=part.id if part else None,
        project=part.name if part else None,
        name=checked_name(name) if name else "",
        prefix=shown_prefix(secret),
        tags=_checked_tags(tags or {}),
        created_at=act.at,
        expires_at=expires_at,
        revoked_at=None,
    )
    connection.execute(insert(api_key).values(**_key_row(made), secret_hmac=hash_secret(secret, pepper)))
    bump(connection)
    act.note(connection, "key.create", made.id, tenant_id=owner.id, after=_noted(made))
    return made, secret


def list_keys(
    connection: Connection,
    tenant_name: str | None = None,
    page: Page = EVERYTHING,
    *,
    project_id: str | None = None,
) -> list[Key]:
    """Return the keys of one tenant, of one project or all in the order they were made, revoked ones too.

    Raises:
        StoreError: there is no such tenant or project, or it is none that may be seen.
    """
    query = _keys()
    if project_id is not None:
        query = query.where(api_key.c.project_id == project_of_id(connection, project_id, page.within).id)
    if tenant_name is not None:
        query = query.where(api_key.c.tenant_id == find_tenant(connection, tenant_name, page.within).id)
    rows = connection.execute(page.of(query, api_key.c.id, tenant_id=api_key.c.tenant_id))
    return [_key(row) for row in rows]


def revoke_key(connection: Connection, key_id: str, act: Act) -> Key:
    """Revoke a key for good. Its live sessions end within two seconds.

    Raises:
        StoreError: there is no such key.
    """
    found = find_key(connection, key_id)
    valid = (api_key.c.id == key_id) & api_key.c.revoked_at.is_(None)
    if connection.execute(update(api_key).where(valid).values(revoked_at=act.at)).rowcount:
        bump(connection)
        before, after = _noted(found), {"revoked_at": format_instant(act.at)}
        act.note(connection, "key.revoke", found.id, tenant_id=found.tenant_id, before=before, after=after)
    return find_key(connection, key_id)


def find_key(connection: Connection, key_id: str, within: Within = None) -> Key:
    """Raises StoreError: there is no such key, or it is of no tenant `within`."""
    query = _keys().where(api_key.c.id == key_id, _one_of(api_key.c.tenant_id, within))
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(f"There is no key {key_id[:NAME_CHARS_MAX]!r}: the list of keys says which there are.")
    return _key(row)


def keys_exist(connection: Connection) -> bool:
    """Tell whether any API key or API token was ever made here: what the pepper is needed for."""
    any_of_them = union_all(select(api_key.c.id), select(api_token.c.id)).limit(1)
    return connection.execute(any_of_them).first() is not None


def _one_of(tenant_id: ColumnElement[Any], within: Within) -> ColumnElement[bool]:
    return true() if within is None else tenant_id.in_(within)


def _keys() -> Select[Any]:
    columns = [column for column in api_key.c if column is not api_key.c.secret_hmac]
    names = (tenant.c.name.label("tenant"), project.c.name.label("project"))
    made, gone = key_rotation.alias(), key_rotation.alias()  # this key was made by it, or is replaced by it
    links = (made.c.old_key_id.label("replaces"), gone.c.new_key_id.label("replaced_by"))
    return (
        select(*columns, *names, *links)
        .join(tenant, tenant.c.id == api_key.c.tenant_id)
        .join(project, project.c.id == api_key.c.project_id, isouter=True)
        .join(made, made.c.new_key_id == api_key.c.id, isouter=True)
        .join(gone, gone.c.old_key_id == api_key.c.id, isouter=True)
    )


def _key(row: Row[Any]) -> Key:
    return Key(**row._mapping)


def _key_row(key: Key) -> dict[str, object]:
    return {name: getattr(key, name) for name in Key.__slots__ if name not in _JOINED}


def _noted(key: Key) -> dict[str, object]:
    """Return what the audit log says of a key: neither its secret nor any part of it."""
    expires = format_instant(key.expires_at) if key.expires_at else None
    return {"name": key.name, "project": key.project, "tags": dict(key.tags), "expires_at": expires}


def active_tenant(connection: Connection, name_or_id: str) -> Tenant:
    """Raises StoreError: there is no such tenant, or it is archived."""
    found = find_tenant(connection, name_or_id)
    if found.archived_at is not None:
        raise Conflict(f"Tenant {found.name!r} is archived.")
    return found


def _active_project(connection: Connection, owner: Tenant, name_or_id: str, act: Act) -> Project:
    found = _project_of(connection, owner, name_or_id)
    if found is None:
        return _insert_project(connection, owner, checked_name(name_or_id), act)
    if found.archived_at is not None:
        raise Conflict(f"Project {found.name!r} of tenant {owner.name!r} is archived.")
    return found


def checked_name(name: str) -> str:
    name = name.strip()
    if not 0 < len(name) <= NAME_CHARS_MAX or not name.isprintable():
        raise StoreError(f"A name has 1 to {NAME_CHARS_MAX} printable characters.")
    return name


def _checked_tags(tags: Mapping[str, str]) -> dict[str, str]:
    if len(tags) > TAGS_MAX:
        raise StoreError(f"A key carries at most {TAGS_MAX} tags.")
    for part in (*tags.keys(), *tags.values()):
        if not 0 < len(part) <= TAG_CHARS_MAX or not part.isprintable():
            raise StoreError(f"Names and values of tags have 1 to {TAG_CHARS_MAX} printable characters.")
    return dict(tags)
