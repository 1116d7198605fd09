"""The role that the product connects as: it can do its work, and nothing to what is booked."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from proxy.store import StoreError
from proxy.store.database import migrate, open_database, reading, writing
from proxy.store.roles import APPEND_ONLY, is_protected
from proxy.store.verify import verify
from tests.ledgers import Books
from tests.postgres import APP_ROLE, SUPERUSER, Server, as_owner, connect
from tests.store.test_verify import UTC
from tests.tampering import owning

ODD_ROLE = 'my "own"; role'


@pytest.fixture
def app(migrated_postgres_url: str) -> Iterator[Engine]:
    engine = open_database(migrated_postgres_url)
    yield engine
    engine.dispose()


@pytest.fixture
def owner(app: Engine) -> Iterator[Engine]:
    engine = open_database(as_owner(app.url))
    yield engine
    engine.dispose()


@pytest.mark.parametrize("table", [table.name for table in APPEND_ONLY])
def test_what_is_booked_cannot_be_changed(app: Engine, table: str) -> None:
    """Not even where nothing else protects it, which is what its owner could bring about."""
    books = Books(app)
    books.open("s1")
    books.bill("s1", "r1")
    with owning(app) as connection:
        connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
    with reading(app) as connection:
        name = connection.execute(text(f"SELECT * FROM {table} LIMIT 1")).keys()
    first = next(iter(name))
    for statement in (
        f"UPDATE {table} SET {first} = {first}",
        f"DELETE FROM {table}",
        f"TRUNCATE {table} CASCADE",
        f"DROP TABLE {table} CASCADE",
        f"ALTER TABLE {table} DISABLE TRIGGER ALL",
        "SET session_replication_role = replica",
        "DROP FUNCTION talkmeter_append_only() CASCADE",
    ):
        with (
            pytest.raises(ProgrammingError, match="permission denied|must be owner"),
            writing(app) as connection,
        ):
            connection.execute(text(statement))
    assert verify(app, UTC).entries == 1


def test_who_is_protected(app: Engine, owner: Engine, sqlite_url: str) -> None:
    embedded = open_database(sqlite_url)
    for engine, protected in ((app, True), (owner, False), (embedded, True)):
        with reading(engine) as connection:
            assert is_protected(connection) is protected
    embedded.dispose()


def test_migrating_again_takes_back_what_is_too_much(app: Engine, owner: Engine) -> None:
    with writing(owner) as connection:
        connection.execute(text(f"GRANT ALL ON ledger_entry TO {APP_ROLE}"))
    migrate(owner, APP_ROLE)
    with pytest.raises(ProgrammingError, match="permission denied"), writing(app) as connection:
        connection.execute(text("DELETE FROM ledger_entry"))


def test_a_role_by_any_name(postgres_server: Server, postgres_url: str) -> None:
    quoted = '"my ""own""; role"'
    with connect(postgres_server.url) as connection:
        connection.execute(f"CREATE ROLE {quoted} LOGIN PASSWORD 'talkmeter'")
    owner = open_database(postgres_url)
    migrate(owner, ODD_ROLE)
    app = open_database(owner.url.set(username=ODD_ROLE, password="talkmeter"))
    books = Books(app)
    books.open("s1")
    books.bill("s1", "r1")
    with writing(owner) as connection:
        connection.execute(text(f"DROP OWNED BY {quoted}"))
        connection.execute(text(f"DROP ROLE {quoted}"))
    app.dispose()
    owner.dispose()


@pytest.mark.parametrize(
    ("role", "said"),
    [
        ("nobody here", "no role 'nobody here': CREATE ROLE \"nobody here\" LOGIN"),
        ("", "no role ''"),
        (SUPERUSER, "owns the tables: migrate as it, and serve as another"),
    ],
)
def test_a_role_that_cannot_be_is_refused(postgres_url: str, role: str, said: str) -> None:
    engine = open_database(postgres_url)
    with pytest.raises(StoreError, match=said):
        migrate(engine, role)
    with reading(engine) as connection:
        assert connection.execute(text("SELECT to_regclass('ledger_entry')")).scalar_one() is None
    engine.dispose()


def test_an_embedded_database_has_no_roles(sqlite_url: str) -> None:
    engine = open_database(sqlite_url)
    with pytest.raises(StoreError, match="Roles are PostgreSQL's"):
        migrate(engine, "app")
    engine.dispose()
