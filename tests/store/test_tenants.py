"""Tenants, projects and keys: made, found, archived, never deleted."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, select

from proxy.store import StoreError, changes, tenants
from proxy.store.audit import Act
from proxy.store.database import reading, writing
from proxy.store.keys import hash_secret
from proxy.store.schema import api_key

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
ACT = Act("test", NOW)
LATER_ACT = Act("test", LATER)
PEPPER = b"a pepper for tests only"


@pytest.fixture
def connection(database: Engine) -> Iterator[Connection]:
    with writing(database) as connection:
        tenants.create_tenant(connection, "acme", ACT)
        yield connection


def test_a_tenant_is_found_by_name_and_id(connection: Connection) -> None:
    made = tenants.create_tenant(connection, "  Bäckerei 7 ", ACT)
    assert made.name == "Bäckerei 7" and made.archived_at is None
    assert tenants.find_tenant(connection, made.id) == made == tenants.find_tenant(connection, made.name)
    assert [one.name for one in tenants.list_tenants(connection)] == ["Bäckerei 7", "acme"]


def test_an_archived_tenant_stays_and_keeps_its_name(connection: Connection) -> None:
    archived = tenants.archive_tenant(connection, "acme", ACT)
    assert tenants.archive_tenant(connection, "acme", LATER_ACT) == archived
    assert archived.archived_at == NOW
    refused: list[tuple[Callable[[], object], str]] = [
        (lambda: tenants.create_tenant(connection, "acme", ACT), "already"),
        (lambda: tenants.create_project(connection, "acme", "web", ACT), "archived"),
        (lambda: tenants.create_key(connection, PEPPER, tenant_name="acme", act=ACT), "archived"),
    ]
    for action, problem in refused:
        with pytest.raises(StoreError, match=problem):
            action()


@pytest.mark.parametrize("name", ["", "   ", "a\nb", "x" * 101, "esc\x1b[31m"])
def test_names_have_to_be_readable(connection: Connection, name: str) -> None:
    for action in (
        lambda: tenants.create_tenant(connection, name, ACT),
        lambda: tenants.create_project(connection, "acme", name, ACT),
    ):
        with pytest.raises(StoreError, match="printable"):
            action()


def test_what_is_not_there_is_told(connection: Connection) -> None:
    refused: list[Callable[[], object]] = [
        lambda: tenants.find_tenant(connection, "nobody"),
        lambda: tenants.create_project(connection, "nobody", "web", ACT),
        lambda: tenants.archive_project(connection, "acme", "web", ACT),
        lambda: tenants.create_key(connection, PEPPER, tenant_name="nobody", act=ACT),
        lambda: tenants.list_keys(connection, "nobody"),
        lambda: tenants.revoke_key(connection, "key_none", ACT),
    ]
    for action in refused:
        with pytest.raises(StoreError, match="no "):
            action()


def test_two_tenants_may_have_projects_of_one_name(connection: Connection) -> None:
    tenants.create_tenant(connection, "globex", ACT)
    one = tenants.create_project(connection, "acme", "web", ACT)
    other = tenants.create_project(connection, "globex", "web", ACT)
    with pytest.raises(StoreError, match="already"):
        tenants.create_project(connection, "acme", "web", ACT)
    assert tenants.list_projects(connection) == [one, other]
    assert tenants.list_projects(connection, "globex") == [other]
    archived = tenants.archive_project(connection, "acme", "web", ACT)
    assert archived.id == one.id and archived.archived_at == NOW
    assert tenants.list_projects(connection, "globex")[0].archived_at is None


def test_a_key_is_kept_as_a_hash_only(connection: Connection) -> None:
    key, secret = tenants.create_key(
        connection,
        PEPPER,
        tenant_name="acme",
        project_name="web",
        name="production",
        expires_at=LATER,
        tags={"team": "a"},
        act=ACT,
    )
    row = connection.execute(select(api_key)).one()
    assert row.secret_hmac == hash_secret(secret, PEPPER)
    assert secret not in str(row)
    assert tenants.list_keys(connection) == [key] == tenants.list_keys(connection, "acme")
    assert (key.project, key.expires_at, key.tags) == ("web", LATER, {"team": "a"})
    assert tenants.keys_exist(connection)


def test_a_key_makes_its_project_once(connection: Connection) -> None:
    assert not tenants.keys_exist(connection)
    first, _ = tenants.create_key(connection, PEPPER, tenant_name="acme", project_name="web", act=ACT)
    second, _ = tenants.create_key(connection, PEPPER, tenant_name="acme", project_name="web", act=ACT)
    assert first.project_id == second.project_id
    tenants.archive_project(connection, "acme", "web", ACT)
    with pytest.raises(StoreError, match="archived"):
        tenants.create_key(connection, PEPPER, tenant_name="acme", project_name="web", act=ACT)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"expires_at": NOW}, "expired already"),
        ({"tags": {str(n): "x" for n in range(9)}}, "at most 8"),
        ({"tags": {"": "x"}}, "printable"),
        ({"tags": {"x": "a\nb"}}, "printable"),
        ({"name": "a\tb"}, "printable"),
    ],
)
def test_keys_that_cannot_be(connection: Connection, arguments: dict[str, object], problem: str) -> None:
    with pytest.raises(StoreError, match=problem):
        tenants.create_key(connection, PEPPER, tenant_name="acme", act=ACT, **arguments)  # type: ignore[arg-type]


def test_revoking_twice_keeps_the_first_time(connection: Connection) -> None:
    key, _ = tenants.create_key(connection, PEPPER, tenant_name="acme", act=ACT)
    assert tenants.revoke_key(connection, key.id, ACT).revoked_at == NOW
    assert tenants.revoke_key(connection, key.id, LATER_ACT).revoked_at == NOW


def test_every_change_counts(database: Engine) -> None:
    def count() -> int:
        with reading(database) as connection:
            return changes.current(connection)

    def create_key(connection: Connection) -> None:
        tenants.create_key(connection, PEPPER, tenant_name="acme", act=ACT)

    def revoke_key(connection: Connection) -> None:
        tenants.revoke_key(connection, tenants.list_keys(connection)[0].id, ACT)

    steps: list[Callable[[Connection], object]] = [
        lambda connection: tenants.create_tenant(connection, "acme", ACT),
        lambda connection: tenants.create_project(connection, "acme", "web", ACT),
        create_key,
        revoke_key,
        lambda connection: tenants.archive_project(connection, "acme", "web", ACT),
        lambda connection: tenants.archive_tenant(connection, "acme", ACT),
    ]
    for step in steps:
        before = count()
        with writing(database) as connection:
            step(connection)
        assert count() == before + 1
