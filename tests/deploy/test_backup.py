"""Backup and restore as docs/deploying.md has it, with PostgreSQL's own programs."""

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from psycopg.rows import dict_row
from sqlalchemy import URL

from proxy.simulator import Simulator
from proxy.store.database import open_database, writing
from proxy.store.tenants import create_key, create_tenant
from tests.deploy.by_hand import SHELL, Place, by_compose, new_database
from tests.faults.checks import left_in
from tests.ledgers import ACT
from tests.postgres import NoPostgres, Server, as_text, connect, find_programs

# Each starts some ten processes, one after the other.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def programs() -> Path:
    """The folder that has `pg_dump` and `pg_restore`, of the version that the server has."""
    try:
        folder = find_programs()
    except NoPostgres as missing:
        pytest.skip(str(missing))
    if not all(os.access(folder / name, os.X_OK) for name in ("pg_dump", "pg_restore")):
        pytest.skip(f"no pg_dump and pg_restore in {folder}: backup and restore are not tested")
    return folder


def as_the_owner(database: URL) -> str:
    return as_text(database.set(username="talkmeter_owner", password="talkmeter"))


def dump(programs: Path, database: URL, file: Path) -> Path:
    """Back a database up, while it is used."""
    command: list[str | Path] = [programs / "pg_dump", "--format=custom", f"--file={file}"]
    subprocess.run([*command, as_the_owner(database)], check=True)
    return file


@contextmanager
def restored(programs: Path, server: Server, file: Path) -> Iterator[URL]:
    """Restore a backup into a new database."""
    with new_database(server) as database:
        command: list[str | Path] = [programs / "pg_restore", "--exit-on-error"]
        subprocess.run([*command, f"--dbname={as_the_owner(database)}", file], check=True)
        yield database


def copy_journal(journal: Path, folder: Path) -> Path:
    """Copy a journal that is being written; return the folder that has the copy."""
    folder.mkdir()
    with closing(sqlite3.connect(journal)) as source, closing(sqlite3.connect(folder / journal.name)) as copy:
        source.backup(copy)
    return folder


def new_key(database: URL) -> str:
    """Make a tenant and a key; return its secret. Commands for that are tested elsewhere."""
    engine = open_database(as_the_owner(database))
    with writing(engine) as connection:
        create_tenant(connection, "acme", ACT)
        pepper = SHELL["TALKMETER_KEY_PEPPER"].encode()
        _, secret = create_key(connection, pepper, tenant_name="acme", act=ACT)
    engine.dispose()
    return secret


async def ledger(place: Place, entries: int) -> list[dict[str, Any]]:
    """Return all of the ledger as soon as it has so many entries."""
    await place.booked(entries)
    with connect(place.database) as connection, connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute("SELECT * FROM ledger_entry ORDER BY id").fetchall()


async def test_a_restored_database_is_the_one_that_was_backed_up_and_serves(
    programs: Path, deployed_server: Server, deployed_database: URL, upstream: Simulator, tmp_path: Path
) -> None:
    place = Place(by_compose(), deployed_database, tmp_path / "volume", upstream.url)
    await place.migrate()
    async with place.serving():
        secret = new_key(deployed_database)
        await place.talk(secret)
        booked = await ledger(place, 1)
        kept = await place.verify()
        file = dump(programs, deployed_database, tmp_path / "backup")
    with restored(programs, deployed_server, file) as database:
        again = Place(by_compose(), database, tmp_path / "restored", upstream.url)
        await again.migrate()
        verdict = await again.verify(kept["digest"])
        assert (verdict["ok"], verdict["entries"], verdict["digest"]) == (True, 1, kept["digest"])
        async with again.serving():
            await again.talk(secret)
            first, second = await ledger(again, 2)
        assert [first] == booked and second["id"] > first["id"]
        assert (await again.verify(kept["digest"]))["ok"]


@contextmanager
def without_database(server: Server) -> Iterator[None]:
    """Keep the role that serves out of the database, and throw out what it has there."""
    with connect(server.url) as connection:
        connection.execute("ALTER ROLE talkmeter NOLOGIN")
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'talkmeter'"
        )
        try:
            yield
        finally:
            connection.execute("ALTER ROLE talkmeter LOGIN")


async def test_journals_first_the_database_after_loses_and_doubles_nothing(
    programs: Path, deployed_server: Server, deployed_database: URL, upstream: Simulator, tmp_path: Path
) -> None:
    place = Place(by_compose(), deployed_database, tmp_path / "volume", upstream.url)
    await place.migrate()
    async with place.serving():
        secret = new_key(deployed_database)
        await place.talk(secret)
        await place.booked(1)
        with without_database(deployed_server):
            await place.talk(secret)  # in the journal, and nowhere else
            early = dump(programs, deployed_database, tmp_path / "early")
            first = copy_journal(place.journal, tmp_path / "journal first")
        booked = await ledger(place, 2)
        kept = await place.verify()
        late = dump(programs, deployed_database, tmp_path / "late")
        await place.kill()
    with restored(programs, deployed_server, late) as database:
        again = Place(by_compose(), database, first, upstream.url)
        async with again.serving():
            pass
        assert await ledger(again, 2) == booked
        assert left_in(again.journal) == []
        verdict = await again.verify(kept["digest"])
        assert (verdict["ok"], verdict["entries"]) == (True, 2)
    with restored(programs, deployed_server, early) as database:  # what is lost, the digest tells
        without = Place(by_compose(), database, tmp_path / "journal lost", upstream.url)
        verdict = await without.verify(kept["digest"])
        assert (verdict["ok"], verdict["entries"]) == (False, 1)
