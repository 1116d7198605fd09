"""The database: both kinds, and every way in which one is not what it should be."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import delete, make_url, text, update

from proxy.checks.database import ask_database
from proxy.checks.findings import Status
from proxy.core.usage import Meter
from proxy.store.chain import chain
from proxy.store.database import open_database, reading, writing
from proxy.store.keys import PEPPER_FILE, load_pepper
from proxy.store.schema import chain_head, rate_card, rate_price
from tests.checks.looking import FAILED, NOT_ASKED, OK, WARNING, found
from tests.ledgers import PEPPER, Books
from tests.postgres import APP_ROLE, as_owner, as_text, connect

SECRET = SecretStr(PEPPER.decode())


def statuses(folder: Path, url: str, **changes: object) -> dict[str, Status]:
    findings = found(folder, ask_database, database_url=url, **changes)
    return {name: one.status for name, one in findings.items()}


def test_a_new_embedded_one(tmp_path: Path) -> None:
    """Nothing is made by looking."""
    findings = found(tmp_path, ask_database)
    assert findings["database"].status is OK and "is new" in findings["database"].found
    assert not [one for one in findings.values() if one.status in (FAILED, WARNING)]
    assert list(tmp_path.iterdir()) == []


def test_an_embedded_one(tmp_path: Path, sqlite_url: str) -> None:
    assert statuses(tmp_path, sqlite_url) == {
        "database": OK,
        "database role": NOT_ASKED,
        "database clock": NOT_ASKED,
        "key pepper": OK,
        "periods": OK,
        "rate cards": OK,
        "models": OK,
    }


def test_an_embedded_one_of_before(tmp_path: Path, sqlite_url: str) -> None:
    """`serve` migrates it; until then nothing can be read."""
    engine = open_database(sqlite_url)
    with writing(engine) as connection:
        connection.execute(text("DELETE FROM alembic_version"))
    engine.dispose()
    found_here = statuses(tmp_path, sqlite_url)
    assert found_here.pop("database") is WARNING and set(found_here.values()) == {NOT_ASKED}


def test_one_of_a_newer_version(tmp_path: Path, sqlite_url: str) -> None:
    engine = open_database(sqlite_url)
    with writing(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        connection.execute(text("UPDATE schema_floor SET revision = '9999'"))
    engine.dispose()
    finding = found(tmp_path, ask_database, database_url=sqlite_url)["database"]
    assert finding.status is FAILED and "newer Talkmeter" in finding.found


def test_folders_and_files_that_cannot_be_used(tmp_path: Path) -> None:
    findings = found(tmp_path, ask_database, database_url="sqlite:////nowhere/x.db")
    assert "TALKMETER_DATABASE_URL: there is no folder '/nowhere'" in findings["database"].found
    (tmp_path / "x.db").write_bytes(b"no database at all" * 100)
    findings = found(tmp_path, ask_database, database_url=f"sqlite:///{tmp_path / 'x.db'}")
    assert findings["database"].status is FAILED
    assert "not a Talkmeter database" in findings["database"].found


def test_the_generated_pepper(tmp_path: Path, sqlite_url: str) -> None:
    """For this user only, and never made by looking: with keys a new one would lock every app out."""
    engine = open_database(sqlite_url)
    Books(engine).key("acme")
    engine.dispose()
    finding = found(tmp_path, ask_database, database_url=sqlite_url)["key pepper"]
    assert finding.status is FAILED and f"{PEPPER_FILE} is missing" in finding.found
    load_pepper(None, tmp_path / "talkmeter.db", keys_exist=False)
    assert statuses(tmp_path, sqlite_url)["key pepper"] is OK
    (tmp_path / PEPPER_FILE).chmod(0o644)
    finding = found(tmp_path, ask_database, database_url=sqlite_url)["key pepper"]
    assert finding.status is WARNING and finding.to_do == f"chmod 600 {tmp_path / PEPPER_FILE}"


def test_months_of_another_zone(tmp_path: Path, sqlite_url: str) -> None:
    engine = open_database(sqlite_url)
    with writing(engine) as connection:
        connection.execute(update(chain_head).values(period_zone="Europe/Berlin"))
    with reading(engine) as connection:
        assert chain(connection).zone == "Europe/Berlin"
    engine.dispose()
    finding = found(tmp_path, ask_database, database_url=sqlite_url)["periods"]
    assert finding.status is FAILED and finding.to_do == "set TALKMETER_PERIOD_TIMEZONE=Europe/Berlin"


def test_no_prices(tmp_path: Path, sqlite_url: str) -> None:
    """Nothing would be rated, what was used lately least of all."""
    engine = open_database(sqlite_url)
    books = Books(engine)
    now = datetime.now(UTC)
    books.open("s1", at=now)
    books.bill("s1", "r1", {Meter.AUDIO_IN: 5}, at=now - timedelta(days=1))
    with writing(engine) as connection:
        connection.execute(delete(rate_price))
        connection.execute(delete(rate_card))
    engine.dispose()
    found_here = statuses(tmp_path, sqlite_url)
    assert found_here["rate cards"] is FAILED and found_here["models"] is FAILED


# --- PostgreSQL


def test_postgres(tmp_path: Path, migrated_postgres_url: str) -> None:
    """Its role owns nothing, its clock is ours."""
    findings = found(tmp_path, ask_database, database_url=migrated_postgres_url, key_pepper=SECRET)
    assert {one.status for one in findings.values()} == {OK}, findings
    assert findings["database role"].found.startswith(f"{APP_ROLE} may read and add to what is booked")
    assert "and the database's agree" in findings["database clock"].found
    assert PEPPER.decode() not in str(findings)


def test_postgres_wants_a_pepper(tmp_path: Path, migrated_postgres_url: str) -> None:
    finding = found(tmp_path, ask_database, database_url=migrated_postgres_url)["key pepper"]
    assert finding.status is FAILED and "openssl rand -hex 32" in finding.found


def test_a_role_that_owns_the_ledger(tmp_path: Path, migrated_postgres_url: str) -> None:
    """It could switch off what protects it."""
    url = as_text(as_owner(make_url(migrated_postgres_url)))
    finding = found(tmp_path, ask_database, database_url=url)["database role"]
    assert finding.status is FAILED and "talkmeter migrate --app-role ROLE" in finding.to_do


def test_a_role_that_may_not_do_its_work(tmp_path: Path, migrated_postgres_url: str) -> None:
    """A table that a new version brought, and nobody granted."""
    owner = as_owner(make_url(migrated_postgres_url))
    with connect(owner) as connection:
        connection.execute(f"REVOKE INSERT ON ledger_entry FROM {APP_ROLE}")
        connection.execute(f"REVOKE ALL ON webhook FROM {APP_ROLE}")
    finding = found(tmp_path, ask_database, database_url=migrated_postgres_url)["database role"]
    assert finding.status is FAILED and "INSERT on ledger_entry" in finding.found
    assert "DELETE on webhook" in finding.found
    assert finding.to_do.startswith(f"run `talkmeter migrate --app-role {APP_ROLE}`")


def test_one_that_is_not_migrated(tmp_path: Path, postgres_url: str) -> None:
    finding = found(tmp_path, ask_database, database_url=postgres_url)["database"]
    assert finding.status is FAILED and "run `talkmeter migrate`" in finding.found


def test_one_that_is_down(tmp_path: Path) -> None:
    """Everything in it is not asked, and no password is shown."""
    findings = found(tmp_path, ask_database, database_url="postgresql://app:canary@127.0.0.1:1/x")
    assert findings["database"].status is FAILED and "cannot be used" in findings["database"].found
    assert {one.status for one in list(findings.values())[1:]} == {NOT_ASKED}
    assert "canary" not in str(findings)
