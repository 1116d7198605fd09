"""The change counter: how writers tell every instance that the catalogue is another one now."""

from sqlalchemy import Connection, select, update

from proxy.store.schema import change_counter


def bump(connection: Connection) -> None:
    """Count a change, in the transaction that makes it: who sees the number sees the change."""
    connection.execute(update(change_counter).values(value=change_counter.c.value + 1))


def current(connection: Connection) -> int:
    """Return how many changes there were."""
    return int(connection.execute(_CURRENT).scalar_one())


_CURRENT = select(change_counter.c.value)


def lock(connection: Connection) -> None:
    """Keep other writers that lock out until this transaction is over, where a check precedes a write."""
    connection.execute(select(change_counter.c.value).with_for_update())
