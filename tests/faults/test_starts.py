"""A `talkmeter serve` that cannot start says why in one line for people, and changes nothing.

`tests/test_app.py` has the settings that are wrong in themselves; here the world is.
"""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
import trustme
from sqlalchemy import text

from proxy.store.database import open_database
from tests.e2e.place import Home
from tests.faults.instance import instance_of, refused, started
from tests.tampering import owning

pytestmark = pytest.mark.slow

UPSTREAM = "http://127.0.0.1:1/v1"
PASSWORD = "canary-of-a-password"


def run_sql(database_url: str, statement: str) -> None:
    engine = open_database(database_url)
    with owning(engine) as connection:
        connection.execute(text(statement))
    engine.dispose()


async def refusal(home: Home, **changes: Any) -> str:
    """Return what `serve` says when it starts with these settings."""
    return await refused(instance_of(home, upstream_url=UPSTREAM, **changes).settings, home.folder)


async def test_a_database_url_that_cannot_be_read(home: Home) -> None:
    settings = instance_of(home, upstream_url=UPSTREAM).settings
    url = f"postgres//talk:{PASSWORD}@db/talk"
    said = await refused(settings, home.folder, TALKMETER_DATABASE_URL=url)
    assert "TALKMETER_DATABASE_URL" in said and "postgresql://USER:PASSWORD@HOST/DATABASE" in said
    assert PASSWORD not in said


async def test_a_database_that_is_not_there(home: Home) -> None:
    with socket.socket() as nobody:  # bound, and not listening
        nobody.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{nobody.getsockname()[1]}"
        said = await refusal(home, database_url=f"postgresql://talk:{PASSWORD}@{place}/talk")
    assert f"The database postgresql+psycopg://talk:***@{place}/talk cannot be used" in said
    assert "refused" in said and PASSWORD not in said


async def test_a_postgres_database_that_was_not_migrated(home: Home, postgres_url: str) -> None:
    assert "run `talkmeter migrate`" in await refusal(home, database_url=postgres_url)


@pytest.mark.parametrize("kind", ["home", "postgres_home"])
async def test_a_database_of_a_newer_version(kind: str, request: pytest.FixtureRequest) -> None:
    home: Home = request.getfixturevalue(kind)
    run_sql(home.database_url, "UPDATE alembic_version SET version_num = '9999'")
    run_sql(home.database_url, "UPDATE schema_floor SET revision = '9999'")
    assert "written by a newer Talkmeter (revision 9999)" in await refusal(home)


async def test_a_file_that_is_no_database(home: Home) -> None:
    path = home.folder / "notes.db"
    path.write_text("Milk, bread, a ledger.\n" * 1_000)
    assert "is not a Talkmeter database" in await refusal(home, database_url=f"sqlite:///{path}")
    assert path.read_text().startswith("Milk")


async def test_a_journal_that_is_damaged(home: Home) -> None:
    path = home.folder / "damaged.db"
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 8_192)
    said = await refusal(home, journal_path=path)
    assert f"The journal {path} is damaged" in said and "move" in said


async def test_a_running_instance_keeps_what_it_has(home: Home) -> None:
    """Two on one journal, two on one SQLite database, two on one port: the second one is refused."""
    elsewhere = f"sqlite:///{home.folder / 'elsewhere.db'}"
    own_journal, own_database = {"journal_path": home.folder / "other.db"}, {"database_url": elsewhere}
    async with started(instance_of(home, upstream_url=UPSTREAM)) as first:
        port = first.settings.listen
        with_journal, with_database, with_port = await asyncio.gather(
            refusal(home, **own_database),
            refusal(home, **own_journal),
            refusal(home, database_url=f"{elsewhere}2", journal_path=f"{home.folder}/2.db", listen=port),
        )
        await first.stop()
    assert f"in use by another process (pid {first.pid})" in with_journal and "JOURNAL_PATH" in with_journal
    assert f"used by another Talkmeter instance (pid {first.pid})" in with_database
    assert "PostgreSQL" in with_database
    assert f"TALKMETER_LISTEN is {port}: this port is in use" in with_port


async def test_certificates_that_cannot_be_used(home: Home, tmp_path: Path) -> None:
    authority = trustme.CA()
    one, two = authority.issue_cert("localhost"), authority.issue_cert("localhost")
    cert, key, nonsense = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "nonsense.pem"
    one.cert_chain_pems[0].write_to_path(cert)
    two.private_key_pem.write_to_path(key)
    nonsense.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    assert "do not belong together" in await refusal(home, tls_cert=cert, tls_key=key)
    assert f"TALKMETER_TLS_CERT ({nonsense})" in await refusal(home, tls_cert=nonsense, tls_key=key)
