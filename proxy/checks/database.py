"""The database: whether it can be used, by which role, at which time, and what has to be in it."""

import os
import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, func, select

from proxy.checks.findings import Finding, compared_clock, failed, not_asked, ok, warning
from proxy.checks.journal import writable_folder
from proxy.checks.prices import LATELY, models, rate_cards
from proxy.clock import utc_now
from proxy.settings import Settings
from proxy.store import StoreError
from proxy.store.chain import chain
from proxy.store.database import (
    NotMigrated,
    check_version,
    describe,
    open_database,
    reachable,
    reading,
    sqlite_path,
)
from proxy.store.keys import PEPPER_FILE, load_pepper
from proxy.store.periods import check_zone
from proxy.store.prices import load_cards
from proxy.store.roles import is_protected, missing_rights
from proxy.store.tenants import keys_exist
from proxy.store.used_models import allowed_models, used_models

RIGHTS_MAX = 5  # shown
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def ask_database(settings: Settings) -> Iterator[Finding]:
    """Yield what is found of "database" and of all that is in it."""
    path = sqlite_path(settings.database_url)
    if path is not None and not path.exists():
        yield from _new(settings, path)
        return
    if path is not None:
        _check_file(path)
    engine = open_database(settings.database_url)
    try:
        check_version(engine)
        yield from _ready(settings, engine)
    except NotMigrated:
        if path is None:
            raise
        yield from _older(path)
    finally:
        engine.dispose()


def _ready(settings: Settings, engine: Engine) -> Iterator[Finding]:
    with reachable(engine), reading(engine) as connection:
        yield ok("database", f"{describe(settings.database_url)} answers, with this version's tables")
        yield _role(connection)
        yield _clock(connection)
        yield _pepper(settings, exist=keys_exist(connection))
        yield _periods(connection, settings)
        yield from _prices(connection, settings)


def _new(settings: Settings, path: Path) -> Iterator[Finding]:
    writable_folder(path, "TALKMETER_DATABASE_URL")
    yield ok("database", f"{describe(settings.database_url)} is new: `talkmeter serve` makes it")
    yield not_asked("database role", "an embedded database has no roles")
    yield not_asked("database clock", "an embedded database has this machine's clock")
    yield _pepper(settings, exist=False)
    yield ok("periods", f"months are those of {settings.period_timezone}; the first close fixes that")
    yield not_asked("rate cards", "they come with the database")
    yield not_asked("models", "there is no database yet")


def _older(path: Path) -> Iterator[Finding]:
    text = f"{path} has an older version's tables, or none: `talkmeter serve` migrates it when it starts"
    yield warning("database", text, "make a copy of the file first: older versions cannot read it afterwards")
    for name in ("database role", "database clock", "key pepper", "periods", "rate cards", "models"):
        yield not_asked(name, "the database has to be migrated first")


def _check_file(path: Path) -> None:
    writable_folder(path, "TALKMETER_DATABASE_URL")
    if not os.access(path, os.R_OK | os.W_OK):
        raise StoreError(f"TALKMETER_DATABASE_URL: this user may not read and write {str(path)!r}")


def _role(connection: Connection) -> Finding:
    """Return whether this role may do what it has to, and no more to what is booked."""
    name = "database role"
    if connection.dialect.name != "postgresql":
        return not_asked(name, "an embedded database has no roles: who can write its file can change it")
    role = connection.execute(select(func.current_user())).scalar_one()
    if not is_protected(connection):
        text = f"{role} owns the ledger's tables, and could change what is booked"
        return failed(name, text, "run `talkmeter migrate --app-role ROLE` as this one, and serve as ROLE")
    if missing := missing_rights(connection):
        more = f" and {len(missing) - RIGHTS_MAX} more" if len(missing) > RIGHTS_MAX else ""
        text = f"{role} lacks {', '.join(missing[:RIGHTS_MAX])}{more}"
        return failed(name, text, f"run `talkmeter migrate --app-role {role}` as the tables' owner")
    return ok(name, f"{role} may read and add to what is booked, not change it, and write the rest")


def _clock(connection: Connection) -> Finding:
    """Return how far the server's clock is from ours: leases and periods stand on both."""
    if connection.dialect.name != "postgresql":
        return not_asked("database clock", "an embedded database has this machine's clock")
    before = utc_now()
    theirs: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    ours = before + (utc_now() - before) / 2
    return compared_clock("database clock", "the database's", (ours - theirs).total_seconds())


def _pepper(settings: Settings, *, exist: bool) -> Finding:
    """Return whether there is a pepper. None is made: a file is only read."""
    name, path = "key pepper", sqlite_path(settings.database_url)
    if settings.key_pepper is not None or path is None:
        return _loaded(settings.key_pepper.get_secret_value() if settings.key_pepper else None, None)
    file = path.absolute().with_name(PEPPER_FILE)
    if not file.exists() and not exist:
        return ok(name, f"`talkmeter serve` makes {file}: back it up with the database")
    if file.exists() and stat.S_IMODE(file.stat().st_mode) & _OTHERS:
        return warning(name, f"{file} can be read by other users of this machine", f"chmod 600 {file}")
    return _loaded(None, path)


def _loaded(configured: str | None, database_file: Path | None) -> Finding:
    try:
        load_pepper(configured, database_file, keys_exist=True)
    except StoreError as error:
        return failed(
            "key pepper", str(error), "keys are known again once it is as it was when they were made"
        )
    where = "TALKMETER_KEY_PEPPER" if configured else f"a file beside {database_file}, for this user only"
    return ok("key pepper", f"in {where}")


def _periods(connection: Connection, settings: Settings) -> Finding:
    zone = settings.period_timezone
    try:
        check_zone(connection, zone)
    except StoreError as error:
        return failed("periods", str(error), f"set TALKMETER_PERIOD_TIMEZONE={chain(connection).zone}")
    closed = chain(connection).closed_through
    state = f"closed through {closed}" if closed is not None else "the first close fixes that"
    return ok("periods", f"months are those of {zone}; {state}")


def _prices(connection: Connection, settings: Settings) -> Iterator[Finding]:
    now = utc_now()
    cards = load_cards(connection)
    yield rate_cards(cards, now)
    used, allowed = used_models(connection, now - LATELY), allowed_models(connection)
    yield models(cards, settings.model_aliases, used, allowed, now)
