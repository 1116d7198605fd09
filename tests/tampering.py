"""Changing what may not be changed: what somebody with the database's password can do."""

from sqlalchemy import Connection, text

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
