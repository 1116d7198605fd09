"""Opening the database: one URL, SQLite or PostgreSQL, with the same promises on both.

SQLite is the embedded default. It runs in WAL mode; every write transaction is `BEGIN IMMEDIATE` and
waits at most five seconds for another; only the data plane checkpoints, since two connections that
checkpoint at once can corrupt a WAL in SQLite before 3.51.3. PostgreSQL (psycopg 3) is for more than
one instance.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    column,
    create_engine,
    event,
    inspect,
    make_url,
    select,
    table,
    text,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from proxy.clock import utc_now
from proxy.store import StoreError
from proxy.store.prices import seed_cards, unseeded_cards
from proxy.store.roles import grant

if TYPE_CHECKING:  # Alembic is loaded by who migrates: it takes longer than opening a database
    from alembic.config import Config

BUSY_TIMEOUT_S = 5
MIGRATION_WAIT_S = 120  # for another process that migrates (a large ledger takes its time); for tables in use
LOCK_WAIT_S = 1  # of a migration for one table: whoever comes after it waits behind it
LOCK_PAUSE_S = 3.0  # in which those can go on
CONNECT_TIMEOUT_S = 5
SENT_UNANSWERED_MS = 10_000  # after this long without an acknowledgement the server is gone
POOL_CONNECTIONS = 5

_WRITES = "talkmeter_writes"
_MIGRATION_LOCK = 0x7A1C_3E7E  # an advisory lock of PostgreSQL: any number, the same for all
_LOCK_NOT_AVAILABLE = "55P03"  # what PostgreSQL says when a wait for a lock took too long
_version = table("alembic_version", column("version_num"))
_floor = table("schema_floor", column("revision"))
_URL_SHAPE = "it should be sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"


class NotMigrated(StoreError):
    """The database has an older version's schema, or none yet."""


def open_database(url: str | URL, *, checkpoints: bool = False) -> Engine:
    """Return an engine for `url`, without connecting yet.

    `checkpoints` is True in the data plane only. A plain `postgresql://` or `postgres://` means
    psycopg 3. The caller disposes of the engine.

    Raises:
        StoreError: the URL cannot be read, or names a database that Talkmeter does not speak.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite":
        return _open_sqlite(parsed, checkpoints=checkpoints)
    return _open_postgres(parsed)


def describe(url: str | URL) -> str:
    """Return the URL as it may be shown."""
    return _shown(_parse(url))


def _shown(url: URL) -> str:
    """Return the URL without its password and its options, since a password can stand there too."""
    return url.set(query={}).render_as_string(hide_password=True)


def _parse(url: str | URL) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Never quote it, nor chain what was raised: either may hold the password.
        raise StoreError(f"DATABASE_URL cannot be read: {_URL_SHAPE}.") from None
    driver = parsed.drivername
    if driver in ("postgres", "postgresql"):
        return _checked_postgres(parsed.set(drivername="postgresql+psycopg"))
    if driver == "postgresql+psycopg":
        return _checked_postgres(parsed)
    if driver in ("sqlite", "sqlite+pysqlite"):
        return _checked_sqlite(parsed)
    raise StoreError(f"DATABASE_URL starts with {driver!r}: {_URL_SHAPE}.")


def _checked_postgres(url: URL) -> URL:
    if url.host and "@" in url.host:
        raise StoreError("DATABASE_URL has two '@': write an '@' inside the password as %40.")
    return url


def _checked_sqlite(url: URL) -> URL:
    if not url.database or url.database == ":memory:":
        raise StoreError(
            "DATABASE_URL names no file. A database in memory would lose the ledger: use sqlite:///FILE."
        )
    return url


def sqlite_path(engine_or_url: Engine | URL | str) -> Path | None:
    """Return the file of an embedded database, or None for PostgreSQL."""
    url = engine_or_url.url if isinstance(engine_or_url, Engine) else _parse(engine_or_url)
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None


def _open_sqlite(url: URL, *, checkpoints: bool) -> Engine:
    engine = create_engine(
        url, connect_args={"timeout": BUSY_TIMEOUT_S}, pool_size=POOL_CONNECTIONS, hide_parameters=True
    )

    @event.listens_for(engine, "do_connect")
    def connecting(_dialect: object, _record: object, arguments: Sequence[Any], _options: object) -> None:
        _make_private(Path(str(arguments[0])))

    @event.listens_for(engine, "connect")
    def connected(connection: sqlite3.Connection, _record: object) -> None:
        # The driver would begin transactions by itself, and too late: `begin` below does it.
        connection.isolation_level = None
        _use_wal(connection)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        if not checkpoints:
            connection.execute("PRAGMA wal_autocheckpoint = 0")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first and writes later could fail where it cannot wait.
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _make_private(path: Path) -> None:
    """Make a database's file, if there is none, for this user only: SQLite would let others read it."""
    with contextlib.suppress(OSError):  # it is there; or it cannot be, which SQLite says in its words
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL. SQLite does not wait for other connections here, so this does."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _open_postgres(url: URL) -> Engine:
    defaults: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": "talkmeter",
        "keepalives_idle": 30,
        "tcp_user_timeout": SENT_UNANSWERED_MS,
    }
    given = {key: value for key, value in defaults.items() if key not in url.query}
    try:
        return create_engine(
            url,
            connect_args=given,
            pool_size=POOL_CONNECTIONS,
            pool_pre_ping=True,
            hide_parameters=True,  # names and hashes must not reach a log
        )
    except (ModuleNotFoundError, NoSuchModuleError):
        raise StoreError(
            "PostgreSQL needs its driver, which is not installed: pip install 'talkmeter[postgres]'."
        ) from None


@contextlib.contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that sees one state of the database and writes nothing.

    SQLite's is so by itself; PostgreSQL's would see, statement by statement, what others commit meanwhile.
    """
    with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with connection.begin():
            yield connection


@contextlib.contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that may write: on SQLite it holds the write lock from its start."""
    with engine.connect().execution_options(**{_WRITES: True}) as connection, connection.begin():
        yield connection


@contextlib.contextmanager
def reachable(engine: Engine) -> Iterator[None]:
    """Turn what a broken database raises into a `StoreError` without its password."""
    try:
        yield
    except DBAPIError as error:
        raise StoreError(_explain(engine, error)) from None


def _explain(engine: Engine, error: DBAPIError) -> str:
    where = _shown(engine.url)
    # PostgreSQL's detail quotes the row that it refused: only the first line is for all eyes.
    primary = getattr(getattr(error.orig, "diag", None), "message_primary", None)
    said = " ".join(str(primary or error.orig).split())
    for secret in (engine.url.password, engine.url.query.get("password")):
        if secret:
            said = said.replace(str(secret), "***")
    if "file is not a database" in said:
        return f"{where} is not a Talkmeter database, nor any SQLite database: point DATABASE_URL elsewhere."
    if "unable to open database file" in said:
        return f"{where} cannot be opened: its folder must exist and be writable for this user."
    return f"The database {where} cannot be used: {said}"


# --- Versions


def migrations_path() -> Path:
    """Return the folder of migrations: inside an installed package, beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "migrations", package.parent / "migrations"):
        if (folder / "env.py").is_file():
            return folder
    raise StoreError("The migrations are missing from this installation of Talkmeter: install it again.")


def _config(connection: Connection | None = None) -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations_path()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def migrate(engine: Engine, app_role: str | None = None) -> None:
    """Bring the database to this version's schema and shipped rate cards; harmless when it is there.

    `app_role` is the PostgreSQL role that everything else is to connect as: it gets what it needs.

    Two processes may do it at once: the second waits, and then finds nothing to do. On PostgreSQL a table
    that somebody reads for long is tried again and again: instances serve meanwhile.

    Raises:
        StoreError: unreachable, written by a newer version, in use, or `app_role` is none to serve as.
    """
    deadline = time.monotonic() + MIGRATION_WAIT_S
    with reachable(engine):
        while not _migrated(engine, app_role):
            if time.monotonic() > deadline:
                raise StoreError(
                    f"A table of {_shown(engine.url)} is in use: by a backup, or by a transaction that lasts."
                    " Nothing was changed. When that has ended, migrate again."
                )
            time.sleep(LOCK_PAUSE_S)


def _migrated(engine: Engine, app_role: str | None) -> bool:
    """Migrate; return False, with nothing done, if a table is in use."""
    try:
        with _alone(engine) as connection:
            if _current(connection) != _head():
                _refuse_newer(connection)
                from alembic import command

                command.upgrade(_config(connection), "head")
            seed_cards(connection, utc_now())
            if app_role is not None:
                grant(connection, app_role)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        return False
    return True


@contextlib.contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """A transaction that writes, begun once no other process migrates."""
    with engine.connect() as connection:
        if sqlite_path(engine) is not None:
            connection.detach()  # not for the pool: it waits for longer than others may
            wait = f"PRAGMA busy_timeout = {MIGRATION_WAIT_S * 1_000}"
            connection.connection.cursor().execute(wait)
        with connection.execution_options(**{_WRITES: True}).begin():
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
                connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_WAIT_S}s'"))
            yield connection


def check_version(engine: Engine) -> None:
    """Check that the database has the schema that this version works with, or a newer one that only adds.

    Raises:
        NotMigrated: it has an older one.
        StoreError: unreachable, or written by a newer version that has taken something away.
    """
    with reachable(engine), reading(engine) as connection:
        if _has_all(connection):
            return
        _refuse_newer(connection)
    where = _shown(engine.url)
    raise NotMigrated(f"The database {where} is not at this version's schema: run `talkmeter migrate`.")


def ready_database(url: str | URL, *, checkpoints: bool = False) -> Engine:
    """Open the database and make sure of its version: an embedded one is migrated, others are checked.

    Raises:
        StoreError: it cannot be used; the text says what to do.
    """
    engine = open_database(url, checkpoints=checkpoints)
    try:
        if sqlite_path(engine) is None:
            check_version(engine)
        elif not _is_current(engine):
            migrate(engine)
    except StoreError:
        engine.dispose()
        raise
    return engine


def _is_current(engine: Engine) -> bool:
    """Look before locking: a command that only reads must not wait for those that write."""
    with reachable(engine), reading(engine) as connection:
        return _has_all(connection) and not unseeded_cards(connection)


def _has_all(connection: Connection) -> bool:
    """Tell whether the database has all that this version uses: its schema, or a newer one that only adds."""
    current = _current(connection)
    if current is None or current in revisions():
        return current == _head()
    floor = connection.execute(select(_floor.c.revision)).scalar_one_or_none()
    return floor in revisions()


def _current(connection: Connection) -> str | None:
    """Return the revision that the database is at; Alembic notes it there, and None before the first."""
    if not inspect(connection).has_table(_version.name):
        return None
    current: str | None = connection.execute(select(_version.c.version_num)).scalar_one_or_none()
    return current


def revisions() -> Sequence[str]:
    """Return the revisions of the schema that this version knows, the oldest first.

    The names of the files tell: loading all of them, and Alembic, would slow down every start.
    """
    return sorted(path.name.partition("_")[0] for path in (migrations_path() / "versions").glob("[0-9]*.py"))


def _head() -> str:
    return revisions()[-1]


def _refuse_newer(connection: Connection) -> None:
    current = _current(connection)
    if current is not None and current not in revisions():
        raise StoreError(
            f"This database was written by a newer Talkmeter (revision {current}): install that version"
            " or a later one, or point DATABASE_URL at another database."
        )
