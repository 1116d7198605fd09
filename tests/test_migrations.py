"""The migrations make exactly the tables that `schema` declares, on both databases."""

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, select

from proxy.store.columns import metadata
from proxy.store.database import check_version, migrate, open_database, reading
from proxy.store.schema import chain_head, change_counter, rollup_zone


def differences(engine: Engine) -> list[object]:
    with reading(engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        return list(compare_metadata(context, metadata))


def test_migrating_from_nothing_gives_the_declared_schema_on_sqlite(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/new.db")
    migrate(engine)
    assert differences(engine) == []
    engine.dispose()


def test_migrating_from_nothing_gives_the_declared_schema_on_postgres(postgres_url: str) -> None:
    engine = open_database(postgres_url)
    migrate(engine)
    assert differences(engine) == []
    engine.dispose()


def test_migrating_twice_changes_nothing(database: Engine) -> None:
    migrate(database)
    check_version(database)
    assert differences(database) == []


def test_the_single_rows_are_there(database: Engine) -> None:
    with reading(database) as connection:
        assert connection.execute(select(chain_head.c.id, chain_head.c.entries)).all() == [(1, 0)]
        assert connection.execute(select(change_counter.c.id)).all() == [(1,)]
        assert connection.execute(select(rollup_zone)).all() == [(1, "UTC")]
