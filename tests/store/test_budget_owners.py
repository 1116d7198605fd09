"""Whose budget it is: names become ids, and what does not go together is refused."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, Engine, select

from proxy.core.budgets import Scope
from proxy.store import StoreError, tenants
from proxy.store.audit import Act
from proxy.store.budget_owners import Owner, find_owner
from proxy.store.database import writing
from proxy.store.schema import end_user

ACT = Act("test", datetime(2026, 11, 23, 12, tzinfo=UTC))
PEPPER = b"a pepper for tests only"


@pytest.fixture
def connection(database: Engine) -> Iterator[Connection]:
    with writing(database) as connection:
        for name in ("acme", "globex", "gone"):
            tenants.create_tenant(connection, name, ACT)
        tenants.create_project(connection, "acme", "web", ACT)
        tenants.create_project(connection, "acme", "old", ACT)
        tenants.archive_project(connection, "acme", "old", ACT)
        tenants.archive_tenant(connection, "gone", ACT)
        yield connection


def make_key(connection: Connection) -> str:
    return tenants.create_key(connection, PEPPER, tenant_name="acme", act=ACT)[0].id


def test_names_become_the_ids_that_the_scope_needs(connection: Connection) -> None:
    acme = tenants.find_tenant(connection, "acme")
    web = tenants.find_project(connection, acme, "web").id
    key = make_key(connection)
    assert find_owner(connection, Scope.ORGANISATION) == Owner(Scope.ORGANISATION)
    assert find_owner(connection, Scope.TENANT, "acme") == Owner(Scope.TENANT, acme.id)
    assert find_owner(connection, Scope.EACH_USER, acme.id) == Owner(Scope.EACH_USER, acme.id)
    assert find_owner(connection, Scope.PROJECT, "acme", "web") == Owner(
        Scope.PROJECT, acme.id, project_id=web
    )
    of_key = Owner(Scope.KEY, acme.id, api_key_id=key)
    assert find_owner(connection, Scope.KEY, "acme", key) == find_owner(connection, Scope.KEY, None, key)
    assert find_owner(connection, Scope.KEY, None, key) == of_key


def test_an_end_users_row_is_made_when_missing(connection: Connection) -> None:
    first = find_owner(connection, Scope.END_USER, "acme", "bob")
    assert first == find_owner(connection, Scope.END_USER, "acme", "bob")
    row = connection.execute(select(end_user)).one()
    assert (row.id, row.tenant_id, row.name) == (first.end_user_id, first.tenant_id, "bob")


@pytest.mark.parametrize(
    ("scope", "tenant", "name", "problem"),
    [
        (Scope.ORGANISATION, "acme", None, "name none"),
        (Scope.ORGANISATION, None, "web", "needs no name"),
        (Scope.TENANT, None, None, "needs a tenant"),
        (Scope.TENANT, "nobody", None, "no tenant 'nobody'"),
        (Scope.TENANT, "gone", None, "archived"),
        (Scope.TENANT, "acme", "web", "needs no name"),
        (Scope.PROJECT, "acme", None, "needs a project"),
        (Scope.PROJECT, "acme", "app", "no project 'app'"),
        (Scope.PROJECT, "globex", "web", "no project 'web'"),
        (Scope.PROJECT, "acme", "old", "archived"),
        (Scope.KEY, None, "key_none", "no key 'key_none'"),
        (Scope.END_USER, None, "bob", "needs a tenant"),
        (Scope.END_USER, "acme", "", "printable"),
        (Scope.END_USER, "acme", "x" * 201, "printable"),
        (Scope.END_USER, "acme", "a\nb", "printable"),
        (Scope.EACH_USER, None, None, "needs a tenant"),
    ],
)
def test_what_does_not_go_together_is_refused(
    connection: Connection, scope: Scope, tenant: str | None, name: str | None, problem: str
) -> None:
    with pytest.raises(StoreError, match=problem):
        find_owner(connection, scope, tenant, name)


def test_a_key_of_another_tenant_or_revoked_is_refused(connection: Connection) -> None:
    key = make_key(connection)
    with pytest.raises(StoreError, match="another tenant"):
        find_owner(connection, Scope.KEY, "globex", key)
    tenants.revoke_key(connection, key, ACT)
    with pytest.raises(StoreError, match="revoked"):
        find_owner(connection, Scope.KEY, "acme", key)
