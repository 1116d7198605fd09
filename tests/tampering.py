"""Changing what may not be changed: what somebody with the database's password can do."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, text

from proxy.store.database import writing

APPEND_ONLY = ("ledger_entry", "ledger_line", "ledger_block")


def unlock(connection: Connection) -> None:
    """Take away the triggers that refuse to change what is booked."""
    if connection.dialect.name == "postgresql":
        for table in APPEND_ONLY:
            connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        return
    for name in (
        connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars().all()
    ):
        connection.execute(text(f"DROP TRIGGER {name}"))


@contextmanager
def tampering(engine: Engine) -> Iterator[Connection]:
    """Yield a connection on which anything can be changed, foreign keys included."""
    if engine.dialect.name == "postgresql":
        with writing(engine) as connection:
            unlock(connection)
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            yield connection
        return
    with engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.execute("PRAGMA foreign_keys = OFF")  # which does nothing within a transaction
        unlock(connection)
        yield connection
        connection.commit()
        raw.execute("PRAGMA foreign_keys = ON")
