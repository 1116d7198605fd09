"""Settings and fixtures for all tests: how hypothesis searches, and databases of both kinds."""

import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from hypothesis import HealthCheck, settings
from sqlalchemy import Engine

from proxy.store import lease_keeper, local_admin
from proxy.store.database import migrate, open_database
from tests.compiled import share_compiled_statements
from tests.postgres import APP_ROLE, Copies, NoPostgres, Server, as_app, as_text, running_server
from tests.trust import trust_nobody

# No deadline: a busy machine is not a bug. Examples that failed are kept in `.hypothesis`.
settings.register_profile("talkmeter", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("talkmeter")

share_compiled_statements()
trust_nobody()

PATIENCE_S = 20.0

# Tests sync thousands of small databases. In memory that takes no time, and what they kill are processes,
# whose writes the kernel keeps; a disk that fails is a test of its own.
MEMORY = Path("/dev/shm")
MEMORY_BYTES_MIN = 6 * 1024**3
if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= MEMORY_BYTES_MIN:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with slow tests first: begun last they would leave one job alone at the end.

    Among them conversations come before all else: they have limits of time, and browsers and benchmarks
    beside them take the cores that they need.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, item.path.parent.name != "e2e"))


gc.disable()  # until all is collected: nothing is garbage yet, and looking for it is a seventh of that


def pytest_collection_finish() -> None:
    """Take what was imported and collected out of every later garbage collection: it stays to the end.

    Thousands of tests and their modules are millions of objects, and the tests that look for leaks collect
    after each conversation. In between it is done less often than usual: that is a twentieth of a run.
    """
    gc.enable()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures that tests have recorded with `record_property("figure", …)`."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "figure":
                terminalreporter.write_line(f"{report.nodeid.split('::')[-1]}: {value}")


@pytest.fixture(scope="session", autouse=True)
def quick_passwords() -> Iterator[None]:
    """Let passwords be hashed in no time, but where tests say how they are: 0.3 s each are a minute a run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_admin, "HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        patch.setattr(local_admin, "DUMMY", local_admin.DUMMY.replace("m=65536,t=3,p=4", "m=8,t=1,p=1"))
        yield


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let who asks for money wait for the database however busy this machine is.

    In production that has 250 ms; beside browsers and other tests it may take longer, and then a budget
    decides without it. Tests of amounts are none of that.
    """
    for name in ("ASK_S", "ADMIT_S", "GIVEN_BACK_S"):
        monkeypatch.setattr(lease_keeper, name, PATIENCE_S)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """The PostgreSQL server that all tests of a run share."""
    # Databases live for a test only. With nothing reclaimed, rows also stay in the order they were written.
    try:
        with running_server({"autovacuum": "off"}) as server:
            yield server
    except NoPostgres as missing:
        pytest.skip(str(missing))


@pytest.fixture
def postgres_url(postgres_server: Server) -> Iterator[str]:
    """The URL of a fresh, empty PostgreSQL database."""
    url = postgres_server.create()
    yield as_text(url)
    postgres_server.drop(url)


@pytest.fixture(scope="session")
def _postgres_template(postgres_server: Server) -> Iterator[str]:
    """The name of a migrated database: copying it is ten times as fast as migrating."""
    url = postgres_server.create()
    _migrate(as_text(url), APP_ROLE)
    yield str(url.database)
    postgres_server.drop(url)


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "talkmeter.db"
    _migrate(f"sqlite:///{path}")
    return path


def _migrate(url: str, app_role: str | None = None) -> None:
    engine = open_database(url)
    migrate(engine, app_role)
    engine.dispose()


@pytest.fixture
def sqlite_url(tmp_path: Path, _sqlite_template: Path) -> str:
    """The URL of a migrated embedded database."""
    path = tmp_path / "talkmeter.db"
    shutil.copyfile(_sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="module")
def shared_sqlite_url(tmp_path_factory: pytest.TempPathFactory, _sqlite_template: Path) -> str:
    """The URL of a migrated embedded database for all tests of a module."""
    path = tmp_path_factory.mktemp("shared") / "talkmeter.db"
    shutil.copyfile(_sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def _postgres_copies(postgres_server: Server, _postgres_template: str) -> Iterator[Copies]:
    copies = Copies(postgres_server, postgres_server.url.set(database=_postgres_template))
    yield copies
    copies.drop()


@pytest.fixture
def migrated_postgres_url(_postgres_copies: Copies) -> Iterator[str]:
    """The URL of a migrated PostgreSQL database, for a role that owns nothing in it."""
    url = _postgres_copies.take()
    yield as_text(as_app(url))
    _postgres_copies.give_back(url)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def shared_database(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """A migrated database for all tests of a module, which only read what a fixture has put there."""
    if request.param == "sqlite":
        engine = open_database(request.getfixturevalue("shared_sqlite_url"), checkpoints=True)
        yield engine
        engine.dispose()
        return
    copies: Copies = request.getfixturevalue("_postgres_copies")
    url = copies.take()
    engine = open_database(as_text(as_app(url)), checkpoints=True)
    yield engine
    engine.dispose()
    copies.give_back(url)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a migrated database; the test runs once on each kind."""
    name = "sqlite_url" if request.param == "sqlite" else "migrated_postgres_url"
    return str(request.getfixturevalue(name))


@pytest.fixture
def database(database_url: str) -> Iterator[Engine]:
    """A migrated database as the data plane opens it; the test runs once on each kind."""
    engine = open_database(database_url, checkpoints=True)
    yield engine
    engine.dispose()
