"""What is done once a month or once a year with a large ledger: close a month, archive it, verify all."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, text

from proxy.store.verify import verify
from tests.archiving import archive_month, lines_of
from tests.closing import close_month


@dataclass(frozen=True)
class Done:
    """One act: on what, of how many lines, how long it took."""

    database: str
    act: str
    lines: int
    seconds: float


def keep(name: str, engine: Engine, period: str, folder: Path) -> list[Done]:
    """Verify the ledger, close its first month, archive that, and verify what is left."""
    lines, of_month = _lines(engine), lines_of(engine, period)
    folder.mkdir()
    acts: dict[str, tuple[int, Callable[[], object]]] = {
        "verify": (lines, lambda: _verify(engine)),
        "close a month": (
            of_month,
            lambda: close_month(engine, period, {"journals": "a bench", "unrated": "a bench"}),
        ),
        "archive it": (of_month, lambda: archive_month(engine, period, folder)),
        "verify the rest": (lines - of_month, lambda: _verify(engine)),
    }
    done = []
    for act, (of, do) in acts.items():
        began = time.monotonic()
        do()
        done.append(Done(name, act, of, time.monotonic() - began))
    return done


def show(done: Sequence[Done], console: Console) -> None:
    """Print the table."""
    table = Table(title="Books: seconds")
    for column in ("database", "act", "lines", "seconds"):
        table.add_column(column)
    for one in done:
        table.add_row(one.database, one.act, f"{one.lines:,}", f"{one.seconds:.1f}")
    console.print(table)


def _lines(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM ledger_line")).scalar_one())


def _verify(engine: Engine) -> None:
    fault = verify(engine, UTC).fault
    assert fault is None, fault
