"""Which data planes use a database: one only with SQLite, any number with PostgreSQL."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import URL, Engine, insert, update

from proxy.store import StoreError
from proxy.store.database import describe, sqlite_path, writing
from proxy.store.schema import instance


@contextlib.contextmanager
def only_instance(url: str | URL) -> Iterator[None]:
    """Hold an embedded database for this process alone, until it ends or dies; PostgreSQL is shared.

    The lock is the kernel's, on a file of its own beside the database, which stays there.

    Raises:
        StoreError: another instance holds it, or its folder cannot be used.
    """
    path = sqlite_path(url)
    if path is None:
        yield
        return
    with contextlib.closing(_Lock(path, describe(url))):
        yield


class _Lock:
    """The lock on `FILE-instance`, with the owner's pid in it for people."""

    def __init__(self, database: Path, shown: str) -> None:
        path = database.resolve().with_name(database.name + "-instance")
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StoreError(f"{shown} cannot be used: {path}: {error.strerror}.") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(self._file, 20, 0).decode(errors="replace").strip()
            os.close(self._file)
            raise StoreError(
                f"{shown} is used by another Talkmeter instance (pid {owner or 'unknown'}). SQLite is for one"
                " instance: for more, set TALKMETER_DATABASE_URL to a PostgreSQL database"
                " (postgresql://USER:PASSWORD@HOST/DATABASE) for all of them."
            ) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, str(os.getpid()).encode(), 0)

    def close(self) -> None:
        os.close(self._file)


def register(engine: Engine, instance_id: str, journal_path: Path, version: str, now: datetime) -> None:
    """Note that this instance runs from now on."""
    facts = {
        "started_at": now,
        "seen_at": now,
        "journal_path": str(journal_path),
        "version": version,
        "ended_at": None,
        "forgotten_at": None,
    }
    with writing(engine) as connection:
        known = connection.execute(update(instance).where(instance.c.id == instance_id).values(**facts))
        if not known.rowcount:
            connection.execute(insert(instance).values(id=instance_id, **facts))


@dataclass(frozen=True, slots=True)
class Unposted:
    """What an instance's journal holds that is not in the ledger: since when, and what the ledger refused."""

    since: datetime | None = None
    parked: int = 0


def seen(engine: Engine, instance_id: str, unposted: Unposted, now: datetime) -> None:
    """Note that this instance still runs, and what it has not posted."""
    facts = {"seen_at": now, "unposted_from": unposted.since, "parked": unposted.parked}
    with writing(engine) as connection:
        connection.execute(update(instance).where(instance.c.id == instance_id).values(**facts))


def ended(engine: Engine, instance_id: str, now: datetime) -> None:
    """Note that this instance has stopped, with everything in the ledger."""
    facts = {"seen_at": now, "ended_at": now, "unposted_from": None, "parked": 0}
    with writing(engine) as connection:
        connection.execute(update(instance).where(instance.c.id == instance_id).values(**facts))
