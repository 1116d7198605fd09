"""Opening databases: what is refused and how, transactions that wait, migrations that race."""

import multiprocessing
import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, select, text
from sqlalchemy.exc import DBAPIError

from proxy.store import StoreError
from proxy.store.audit import Act
from proxy.store.database import (
    check_version,
    describe,
    migrate,
    migrations_path,
    open_database,
    reachable,
    reading,
    ready_database,
    sqlite_path,
    writing,
)
from proxy.store.ledger import newest
from proxy.store.prices import shipped_cards
from proxy.store.schema import change_counter, rate_card, tenant
from proxy.store.tenants import create_tenant, list_tenants
from tests.tampering import owning

NOW = datetime(2026, 11, 23, tzinfo=UTC)
SECRET = "s3cr3t/p@ss"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("nonsense", "cannot be read"),
        ("", "cannot be read"),
        (f"postgresql://user:{SECRET}@host:port/db", "cannot be read|two '@'"),
        ("postgresql://user:s3cr3t@p@host/db", "%40"),
        ("mysql://user:s3cr3t@host/db", "starts with 'mysql'"),
        ("postgresql+asyncpg://user:s3cr3t@host/db", "starts with"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
    ],
)
def test_urls_that_cannot_be_used_say_so_without_the_password(url: str, problem: str) -> None:
    with pytest.raises(StoreError, match=problem) as caught:
        open_database(url)
    assert "s3cr3t" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    "url", ["postgres://u:pw@h/d", "postgresql://u:pw@h/d", "postgresql+psycopg://u:pw@h/d"]
)
def test_every_spelling_of_postgres_means_psycopg(url: str) -> None:
    assert open_database(url).url.drivername == "postgresql+psycopg"
    assert describe(url) == "postgresql+psycopg://u:***@h/d"


def test_an_unreachable_server_is_told_without_the_password() -> None:
    with pytest.raises(
        StoreError, match=r"postgresql\+psycopg://u:\*\*\*@127.0.0.1:1/d cannot be used"
    ) as caught:
        ready_database("postgresql://u:s3cr3t@127.0.0.1:1/d?connect_timeout=2")
    assert "s3cr3t" not in str(caught.value)


def test_a_password_in_the_query_is_not_told_either() -> None:
    with pytest.raises(StoreError) as caught:
        ready_database("postgresql://127.0.0.1:1/d?user=u&password=s3cr3t")
    assert "s3cr3t" not in str(caught.value)


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="its folder must exist"):
        ready_database(f"sqlite:///{tmp_path}/none/talkmeter.db")


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear customer, " * 100)
    with pytest.raises(StoreError, match="not a Talkmeter database"):
        ready_database(f"sqlite:///{path}")
    assert path.read_text().startswith("Dear customer")


def test_an_embedded_database_migrates_itself(tmp_path: Path) -> None:
    engine = ready_database(f"sqlite:///{tmp_path}/talkmeter.db")
    check_version(engine)
    assert sqlite_path(engine) == tmp_path / "talkmeter.db"
    engine.dispose()


def test_postgres_is_migrated_by_the_operator(postgres_url: str) -> None:
    with pytest.raises(StoreError, match="run `talkmeter migrate`"):
        ready_database(postgres_url)
    engine = open_database(postgres_url)
    migrate(engine)
    ready_database(postgres_url).dispose()
    engine.dispose()
    assert sqlite_path(postgres_url) is None


def test_a_database_of_a_newer_version_is_not_touched(database: Engine, database_url: str) -> None:
    with owning(database) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        connection.execute(text("UPDATE schema_floor SET revision = '9999'"))
    for action in (migrate, check_version):
        with pytest.raises(StoreError, match=r"newer Talkmeter \(revision 9999\)"):
            action(database)
    with pytest.raises(StoreError, match="newer Talkmeter"):
        ready_database(database_url)


def test_a_failing_migration_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE session (theirs TEXT)")
    connection.close()
    with pytest.raises(StoreError, match="already exists"):
        ready_database(f"sqlite:///{path}")
    with sqlite3.connect(path) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    connection.close()
    assert names == ["session"]


def _migrate(url: str) -> None:
    engine = open_database(url)
    migrate(engine)
    engine.dispose()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_processes_may_migrate_at_once(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = f"sqlite:///{tmp_path}/new.db" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_migrate, args=(url,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    engine = open_database(url)
    check_version(engine)
    with reading(engine) as connection:
        assert len(connection.execute(select(rate_card)).all()) == len(shipped_cards())
    engine.dispose()


def test_who_migrates_waits_for_longer_than_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.store.database.BUSY_TIMEOUT_S", 0.05)
    path = tmp_path / "new.db"
    engine = open_database(f"sqlite:///{path}")
    engine.connect().close()
    with sqlite3.connect(path, isolation_level=None, check_same_thread=False) as other:
        other.execute("BEGIN IMMEDIATE")
        releasing = threading.Timer(0.5, other.rollback)
        releasing.start()
        migrate(engine)
        releasing.join()
    other.close()
    check_version(engine)
    engine.dispose()


def test_a_new_version_brings_its_new_cards_along(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/talkmeter.db"
    engine = ready_database(url)
    with writing(engine) as connection:
        connection.execute(
            text("DELETE FROM rate_price WHERE rate_card_id = (SELECT max(id) FROM rate_card)")
        )
        connection.execute(text("DELETE FROM rate_card WHERE id = (SELECT max(id) FROM rate_card)"))
    engine.dispose()
    engine = ready_database(url)
    with reading(engine) as connection:
        assert len(connection.execute(select(rate_card)).all()) == len(shipped_cards())
    engine.dispose()


def test_reading_does_not_wait_for_a_writer(sqlite_url: str) -> None:
    writer, reader = open_database(sqlite_url), open_database(sqlite_url)
    with writing(writer) as connection:
        connection.execute(text("UPDATE change_counter SET value = value + 1"))
        ready_database(sqlite_url).dispose()
        assert newest(reader) == []
    writer.dispose()
    reader.dispose()


def test_writers_wait_for_each_other_and_lose_nothing(database: Engine) -> None:
    def add() -> None:
        for _ in range(20):
            with writing(database) as connection:
                value = connection.execute(select(change_counter.c.value).with_for_update()).scalar_one()
                connection.execute(change_counter.update().values(value=value + 1))

    with reading(database) as connection:
        before = connection.execute(select(change_counter.c.value)).scalar_one()
    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with reading(database) as connection:
        assert connection.execute(select(change_counter.c.value)).scalar_one() == before + 60


def test_a_transaction_that_fails_is_rolled_back(database: Engine) -> None:
    with pytest.raises(ZeroDivisionError), writing(database) as connection:
        connection.execute(text("UPDATE change_counter SET value = 12345"))
        raise ZeroDivisionError
    with reading(database) as connection:
        assert connection.execute(select(change_counter.c.value)).scalar_one() != 12345


def test_errors_do_not_show_what_was_written(database: Engine) -> None:
    with pytest.raises(StoreError) as caught, reachable(database), writing(database) as connection:
        connection.execute(insert(tenant).values(id="t1", name="Secret Customer GmbH"))
    assert "Secret Customer" not in str(caught.value)


@pytest.mark.parametrize(("checkpoints", "pages"), [(True, 1000), (False, 0)])
def test_only_the_data_plane_checkpoints(sqlite_url: str, checkpoints: bool, pages: int) -> None:
    engine = open_database(sqlite_url, checkpoints=checkpoints)
    with reading(engine) as connection:
        assert connection.execute(text("PRAGMA wal_autocheckpoint")).scalar_one() == pages
        assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
        assert connection.execute(text("PRAGMA foreign_keys")).scalar_one() == 1
        assert connection.execute(text("PRAGMA busy_timeout")).scalar_one() == 5000
    engine.dispose()


def test_the_migrations_are_found() -> None:
    assert (migrations_path() / "versions" / "0001_first.py").is_file()


def test_reading_sees_one_state_whatever_is_written_meanwhile(database: Engine) -> None:
    """A report's rows and its total come from several statements, and have to agree."""
    with reading(database) as reader:
        before = list_tenants(reader)
        with writing(database) as writer:
            create_tenant(writer, "acme", Act("test", NOW))
        assert list_tenants(reader) == before == []
    with reading(database) as reader:
        assert [one.name for one in list_tenants(reader)] == ["acme"]


def test_reading_cannot_write_on_postgres(migrated_postgres_url: str) -> None:
    engine = open_database(migrated_postgres_url)
    with pytest.raises(DBAPIError, match="read-only"), reading(engine) as connection:
        create_tenant(connection, "acme", Act("test", NOW))
    with writing(engine) as connection:  # the next user of that connection may write again
        create_tenant(connection, "acme", Act("test", NOW))
    engine.dispose()


def test_a_new_embedded_database_is_for_its_user_only(tmp_path: Path) -> None:
    """It holds names and tags. What SQLite puts beside it gets the same mode. An older file keeps its own."""
    path = tmp_path / "talkmeter.db"
    engine = ready_database(f"sqlite:///{path}")
    with writing(engine) as connection:
        create_tenant(connection, "acme", Act("test", NOW))
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    engine.dispose()
    assert modes == dict.fromkeys(("talkmeter.db", "talkmeter.db-wal", "talkmeter.db-shm"), 0o600)
    path.chmod(0o640)
    ready_database(f"sqlite:///{path}").dispose()
    assert path.stat().st_mode & 0o777 == 0o640
