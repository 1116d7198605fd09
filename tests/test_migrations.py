"""The migrations make exactly the tables that `schema` declares, on both databases."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import DBAPIError

from proxy.core.usage import Meter
from proxy.store.columns import metadata
from proxy.store.database import (
    check_version,
    migrate,
    migrations_path,
    open_database,
    reading,
    revisions,
    writing,
)
from proxy.store.prices import seed_cards
from proxy.store.schema import chain_head, change_counter, ledger_line, rollup_zone
from proxy.store.verify import verify
from tests.ledgers import Books

BEFORE = "0010"  # the last migration of the version before


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


def test_the_names_of_the_files_say_the_revisions_in_their_order() -> None:
    """Whoever only checks the version reads no more than the names."""
    config = Config()
    config.set_main_option("script_location", str(migrations_path()))
    scripts = ScriptDirectory.from_config(config)
    assert [one.revision for one in scripts.walk_revisions()] == list(reversed(revisions()))
    assert scripts.get_heads() == [revisions()[-1]]


def test_checking_the_version_does_not_load_alembic(sqlite_url: str) -> None:
    code = (
        "import sys; from proxy.store.database import ready_database as ready; ready(sys.argv[1]).dispose()"
    )
    code += "; print('alembic' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code, sqlite_url], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


def test_migrating_twice_changes_nothing(database: Engine) -> None:
    migrate(database)
    check_version(database)
    assert differences(database) == []


def test_the_single_rows_are_there(database: Engine) -> None:
    with reading(database) as connection:
        assert connection.execute(select(chain_head.c.id, chain_head.c.entries)).all() == [(1, 0)]
        assert connection.execute(select(change_counter.c.id)).all() == [(1,)]
        assert connection.execute(select(rollup_zone)).all() == [(1, "UTC")]


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_ledger_of_the_version_before_is_kept_as_it_was(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/old.db" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    engine = open_database(url)
    config = Config()
    config.set_main_option("script_location", str(migrations_path()))
    with writing(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, BEFORE)
        seed_cards(connection, datetime.now(UTC))
    books = Books(engine)
    books.open("s1")
    books.bill("s1", "r1", {Meter.TEXT_IN: 5, Meter.AUDIO_OUT: 7})
    books.bill("s1", "r2")
    before = lines_of(engine)
    migrate(engine)
    verdict = verify(engine, UTC)
    assert (verdict.fault, verdict.entries, lines_of(engine), len(before)) == (None, 2, before, 2)
    for change in ("DELETE FROM ledger_line", "UPDATE ledger_line SET cost_nanousd = 0"):
        with pytest.raises(DBAPIError, match="append-only"), writing(engine) as connection:
            connection.execute(text(change))
    engine.dispose()


def lines_of(engine: Engine) -> list[Any]:
    with reading(engine) as connection:
        return list(
            connection.execute(select(ledger_line).order_by(ledger_line.c.entry_id, ledger_line.c.meter))
        )
