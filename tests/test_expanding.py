"""Migrations expand first and contract a release later: so a fleet is rolled while it serves.

Every migration after `RULED_AFTER` only adds, on both databases: tables, columns that may be null or have a
default, indexes, triggers. One that takes something away says `CONTRACTS = "X.Y"`, the release that stopped
using it, and raises `schema_floor` to its own revision: older code then refuses to start on that database.
"""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, select, text

from proxy.store import StoreError, database
from proxy.store.database import (
    check_version,
    migrate,
    migrations_path,
    open_database,
    ready_database,
    revisions,
    writing,
)
from proxy.store.schema import schema_floor
from tests.expanding import Shapes, shapes, taken_away

RULED_AFTER = "0017"  # the last migration before there was this rule
CHANGELOG = Path(__file__).parents[1] / "CHANGELOG.md"
SCRIPTS = ScriptDirectory(str(migrations_path()))


@pytest.fixture(params=["sqlite", "postgres"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database without anything in it, of either kind."""
    is_sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/x.db" if is_sqlite else request.getfixturevalue("postgres_url")
    engine = open_database(url)
    yield engine
    engine.dispose()


def upgrade(connection: Connection, revision: str) -> Shapes:
    """Migrate to a revision; return the tables that there are then."""
    config = Config()
    config.set_main_option("script_location", str(migrations_path()))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
    return shapes(connection)


def floor_in(connection: Connection) -> str:
    return str(connection.execute(select(schema_floor.c.revision)).scalar_one())


def contracts(revision: str) -> str | None:
    """Return the release that stopped using what this migration takes away; None: it takes nothing."""
    found: str | None = getattr(SCRIPTS.get_revision(revision).module, "CONTRACTS", None)
    return found


def test_migrations_only_add_or_say_that_they_contract(empty: Engine) -> None:
    with writing(empty) as connection:
        before, floor = upgrade(connection, RULED_AFTER), ""
        for revision in revisions()[revisions().index(RULED_AFTER) + 1 :]:
            after, release = upgrade(connection, revision), contracts(revision)
            lost = taken_away(before, after)
            if release is None:
                assert lost == [], f"{revision} takes away what the version before uses: {lost}"
                assert floor_in(connection) == floor or revision == "0018"
            else:
                assert lost, f"{revision} says that it contracts, and takes nothing away"
                assert floor_in(connection) == revision, f"{revision} has to raise schema_floor to itself"
            before, floor = after, floor_in(connection)


def test_what_is_taken_away_was_not_used_by_a_release() -> None:
    """One that is out: who comes from an older one has to go over it."""
    releases = re.findall(r"^## \[(\d[^]]*)\]", CHANGELOG.read_text(), re.MULTILINE)
    assert [one for one in map(contracts, revisions()) if one is not None and one not in releases] == []


def test_statements_of_the_version_before_can_still_be_made(empty: Engine) -> None:
    """Asked of the database itself, for every table and column that there was: it plans them."""
    with writing(empty) as connection:
        before = upgrade(connection, RULED_AFTER)
        upgrade(connection, "head")
        for name, shape in before.items():
            columns = ", ".join(f'"{column}"' for column in shape.columns)
            connection.execute(text(f"EXPLAIN SELECT {columns} FROM {name}"))
            connection.execute(text(f"EXPLAIN INSERT INTO {name} ({columns}) SELECT {columns} FROM {name}"))


CHANGES = [
    ("CREATE TABLE more (id TEXT PRIMARY KEY)", []),
    ("ALTER TABLE thing ADD COLUMN b TEXT", []),
    ("ALTER TABLE thing ADD COLUMN b BIGINT NOT NULL DEFAULT 0", []),
    ("CREATE INDEX ix ON thing (a)", []),
    ("DROP INDEX ix_b", []),
    ("DROP TABLE other", ["other is gone"]),
    ("ALTER TABLE thing DROP COLUMN a", ["thing: a is gone"]),
    ("ALTER TABLE thing RENAME COLUMN a TO b", ["thing: a is gone", "thing: b is new, and has to be given"]),
    ("CREATE UNIQUE INDEX ux ON thing (a)", ["thing: a has to be unique"]),
    ("DROP INDEX ux_n", ["thing: n is no longer unique"]),
]
CHANGES_OF_POSTGRES = [
    ("ALTER TABLE thing ALTER COLUMN a TYPE INTEGER", ["thing: a is INTEGER, and was BIGINT"]),
    ("ALTER TABLE thing ALTER COLUMN n SET NOT NULL", ["thing: n may no longer be null"]),
    ("ALTER TABLE thing ALTER COLUMN a DROP NOT NULL", []),
    ("ALTER TABLE thing ALTER COLUMN d DROP DEFAULT", ["thing: d has no default any more"]),
    ("ALTER TABLE thing ADD CONSTRAINT few CHECK (a < 9)", ["thing: check a < 9: a new rule"]),
    ("ALTER TABLE thing ADD FOREIGN KEY (n) REFERENCES other (id)", ["thing: n refers to other: a new rule"]),
]


def test_what_counts_as_taken_away(empty: Engine) -> None:
    """The rule itself, tried on one change after another."""
    is_postgres = empty.dialect.name == "postgresql"
    for change, lost in CHANGES + (CHANGES_OF_POSTGRES if is_postgres else []):
        with empty.connect() as connection, connection.begin() as transaction:
            connection.execute(text("CREATE TABLE other (id TEXT PRIMARY KEY)"))
            columns = "id TEXT PRIMARY KEY, a BIGINT NOT NULL, n TEXT, d BIGINT NOT NULL DEFAULT 1"
            connection.execute(text(f"CREATE TABLE thing ({columns})"))
            connection.execute(text("CREATE INDEX ix_b ON thing (d)"))
            connection.execute(text("CREATE UNIQUE INDEX ux_n ON thing (n)"))
            before = shapes(connection)
            connection.execute(text(change))
            assert taken_away(before, shapes(connection)) == lost, change
            transaction.rollback()


def test_the_version_before_starts_on_what_only_adds(empty: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it does while a fleet is rolled; once something it uses was taken away it does not."""
    migrate(empty)
    with writing(empty) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0099'"))
    check_version(empty)
    ready_database(empty.url.render_as_string(hide_password=False)).dispose()
    with pytest.raises(StoreError, match=r"newer Talkmeter \(revision 0099\)"):
        migrate(empty)
    with writing(empty) as connection:
        connection.execute(schema_floor.update().values(revision="0099"))
    with pytest.raises(StoreError, match=r"newer Talkmeter \(revision 0099\)"):
        check_version(empty)
    monkeypatch.setattr(database, "revisions", lambda: ("0001", "0099", "0100"))
    with pytest.raises(database.NotMigrated):
        check_version(empty)


def test_a_migration_that_waits_for_a_table_does_not_keep_others_from_it(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL lets everybody wait behind it. A backup takes an hour, and budgets read the same table."""
    monkeypatch.setattr(database, "LOCK_PAUSE_S", 0.5)
    engine = open_database(postgres_url)
    with writing(engine) as connection:
        upgrade(connection, RULED_AFTER)
    with ThreadPoolExecutor(1) as pool:
        with engine.connect() as backup:
            backup.execute(text("SELECT id FROM instance"))
            migrating = pool.submit(migrate, engine)
            with engine.connect() as looking:
                waits = text(
                    "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'instance'::regclass"
                )
                while not looking.execute(waits).scalar_one():
                    assert not migrating.done()
                    time.sleep(0.01)
            with engine.connect() as serving:
                serving.execute(text("SET statement_timeout = '10s'"))
                serving.execute(text("SELECT id FROM instance"))
            assert not migrating.done()
        migrating.result(60)
    check_version(engine)
    engine.dispose()


def test_a_migration_gives_up_on_a_table_that_stays_in_use(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says what to do; nothing of it stays."""
    monkeypatch.setattr(database, "MIGRATION_WAIT_S", 0)
    engine = open_database(postgres_url)
    with writing(engine) as connection:
        before = upgrade(connection, RULED_AFTER)
    with engine.connect() as backup:
        backup.execute(text("SELECT id FROM instance"))
        with pytest.raises(StoreError, match="is in use: .* migrate again"):
            migrate(engine)
    with engine.connect() as connection:
        assert shapes(connection) == before
    engine.dispose()
