"""What an instance asks of PostgreSQL once a second, while many conversations are live on many instances."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median

from sqlalchemy import Engine, text

from proxy.store import live
from proxy.store.database import open_database
from proxy.store.live import Live
from tests.ledgers import Books
from tests.postgres import Server

LIVE = 10_000
OWN = 250  # of each instance
RUNS = 5
_POSTING = 1_000


@dataclass(frozen=True)
class Beat:
    """How long the parts took with so many live sessions, so many of them the instance's own: medians."""

    live: int
    own: int
    publish_s: float  # all own sessions have changed
    orders_s: float
    elsewhere_s: float  # only where a limit counts sessions


def measure(server: Server, template: str, sessions: int = LIVE, own: int = OWN) -> Beat:
    """Fill the table of live sessions in a copy of `template`; return what one instance's part takes."""
    url = server.create(template)
    engine = open_database(url)
    names = [f"session {number}" for number in range(sessions)]
    _fill(engine, names, own)
    beat = Beat(
        sessions,
        own,
        _time(lambda: _publish(engine, "instance 0", names[:own])),
        _time(lambda: live.stop_orders(engine, "instance 0")),
        _time(lambda: live.elsewhere(engine, "instance 0", datetime.now(UTC))),
    )
    engine.dispose()
    server.drop(url)
    return beat


def _fill(engine: Engine, names: Sequence[str], own: int) -> None:
    books, now = Books(engine), datetime.now(UTC)
    for first in range(0, len(names), _POSTING):
        some = names[first : first + _POSTING]
        books.post(*(record for name in some for record in books.opening(name, at=now)))
    for number, first in enumerate(range(0, len(names), own)):
        _publish(engine, f"instance {number}", names[first : first + own])
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))  # as PostgreSQL does by itself after a minute


def _publish(engine: Engine, instance: str, names: Sequence[str]) -> None:
    cost = time.monotonic_ns()  # another one each time
    live.publish(engine, instance, [Live(name, cost, 1) for name in names], datetime.now(UTC))


def _time(do: Callable[[], object]) -> float:
    taken_s = []
    for _ in range(RUNS):
        began_s = time.monotonic()
        do()
        taken_s.append(time.monotonic() - began_s)
    return median(taken_s)
