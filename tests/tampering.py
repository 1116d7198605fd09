"""Changing what may not be changed: what somebody with the owner's password, or with the file, can do."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, delete, select, text

from proxy.store import rollups
from proxy.store.database import open_database, writing
from proxy.store.schema import (
    ledger_entry,
    ledger_line,
    rollup_day,
    rollup_group,
    rollup_month,
    rollup_quarter,
)
from tests.postgres import as_owner

APPEND_ONLY = (
    "ledger_entry",
    "ledger_line",
    "ledger_block",
    "ledger_period",
    "statement",
    "statement_line",
    "ledger_archive",
    "ledger_archive_block",
    "ledger_archive_cell",
    "approval_request",
    "approval_decision",
)


_ALWAYS = """
SELECT tgrelid::regclass::text, quote_ident(tgname) FROM pg_trigger WHERE tgenabled = 'A' AND NOT tgisinternal
"""


@contextmanager
def owning(engine: Engine) -> Iterator[Connection]:
    """Yield a transaction of the role that owns the tables."""
    if engine.dialect.name == "sqlite":
        with writing(engine) as connection:
            yield connection
        return
    owner = open_database(as_owner(engine.url))
    try:
        with writing(owner) as connection:
            yield connection
    finally:
        owner.dispose()


@contextmanager
def tampering(engine: Engine) -> Iterator[Connection]:
    """Yield a connection on which anything can be changed: no trigger refuses it, and no foreign key."""
    if engine.dialect.name == "postgresql":
        with owning(engine) as connection:
            always = connection.execute(text(_ALWAYS)).all()
            for table, trigger in always:
                connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}"))
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            yield connection
            for table, trigger in always:
                connection.execute(text(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}"))
        return
    with engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.execute("PRAGMA foreign_keys = OFF")  # which does nothing within a transaction
        triggers = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'"))
        for name in triggers.scalars().all():
            connection.execute(text(f"DROP TRIGGER {name}"))
        yield connection
        connection.commit()
        raw.execute("PRAGMA foreign_keys = ON")


def sum_anew(connection: Connection) -> None:
    """Make the rollups what the ledger, as it is now, sums to."""
    for table in (rollup_quarter, rollup_day, rollup_month, rollup_group):
        connection.execute(delete(table))
    entries = connection.execute(select(ledger_entry)).mappings().all()
    lines = connection.execute(select(ledger_line)).mappings().all()
    rollups.add(connection, [dict(row) for row in entries], [dict(row) for row in lines])
