"""Connections to PostgreSQL that outlive a test: a new one first has to learn what the tables are.

That takes the server longer than most tests have to ask. So where a database is one of the copies that tests
take in turns, what an engine closes is kept, as new, for the next engine that connects to the same. What goes
through a link that a test may cut is not.
"""

from collections.abc import Collection
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import URL, Engine, event

KEPT_MAX = 5  # of one database


class WarmConnection(psycopg.Connection[Any]):
    """A connection that is kept when it is closed."""

    keeper: "Warm | None" = None
    address: tuple[str, ...] = ()

    def close(self) -> None:
        """Let it be used again, or end it."""
        if self.keeper is None or not self.keeper.keeps(self):
            super().close()


class Warm:
    """The connections that are kept: those to some databases only."""

    def __init__(self) -> None:
        self._hosts: dict[str, Any] = {}  # of those databases
        self._idle: dict[tuple[str, ...], list[WarmConnection]] = {}

    def serve(self, url: URL) -> None:
        """Keep connections to this database."""
        self._hosts[str(url.database)] = url.host or url.query.get("host")

    def watch(self, engine: Engine) -> None:
        """Let an engine take its connections from here."""

        @event.listens_for(engine, "do_connect")
        def connect(_dialect: object, _record: object, _arguments: object, options: dict[str, Any]) -> Any:
            host = self._hosts.get(str(options.get("dbname")))
            if host is None or options.get("host") != host:
                return None
            return self._connect(options)

    def _connect(self, options: dict[str, Any]) -> WarmConnection:
        named = sorted(name for name in options if name != "context")  # the adapters: the same for all
        address = (options["dbname"], *(f"{name}={options[name]}" for name in named))
        idle = self._idle.get(address, [])
        while idle:
            kept = idle.pop()
            if not kept.closed:
                return kept
        made = WarmConnection.connect(**{"autocommit": False, **options})
        made.keeper, made.address = self, address
        return made

    def keeps(self, connection: WarmConnection) -> bool:
        """Make a connection as new and keep it; return whether that was possible."""
        idle = self._idle.setdefault(connection.address, [])
        if connection.closed or connection.address[0] not in self._hosts or len(idle) >= KEPT_MAX:
            return False
        try:
            if connection.info.transaction_status is not TransactionStatus.IDLE:
                connection.rollback()
            connection.isolation_level = connection.read_only = connection.deferrable = None
            connection.autocommit = True
            connection.execute("DISCARD ALL")
            connection._prepared = type(connection._prepared)()
            connection.autocommit = False
        except psycopg.Error:  # it is broken, or somebody has ended it
            return False
        idle.append(connection)
        return True

    def pids(self, database: str) -> Collection[int]:
        """Return the server processes of what is kept of a database."""
        return [one.info.backend_pid for one in self._of(database) if not one.closed]

    def count(self) -> int:
        """Return how many connections are kept now: each is a socket that nobody of ours has left open."""
        return sum(not one.closed for idle in self._idle.values() for one in idle)

    def forget(self, database: str) -> None:
        """End what is kept of a database, and keep no more of it."""
        self._hosts.pop(database, None)
        for one in self._of(database):
            one.close()
        self._idle = {address: idle for address, idle in self._idle.items() if address[0] != database}

    def _of(self, database: str) -> list[WarmConnection]:
        return [one for address, idle in self._idle.items() if address[0] == database for one in idle]


WARM = Warm()
