"""A process that rates again, and kills itself before one of the statements that it sends to the database.

`python -m tests.store.rerate_worker DATABASE_URL NUMBER`: the first statement is 0. It ends with 0 if there
were fewer, all being corrected then. A page has two entries, so that there are several transactions.
"""

import os
import signal
import sys
from datetime import UTC
from typing import Any

from sqlalchemy import event

from proxy.store import rerate
from proxy.store.audit import Act
from proxy.store.database import open_database
from proxy.store.filters import EVERYTHING
from tests.ledgers import NOW


def main(url: str, number: int) -> None:
    rerate.PAGE_ENTRIES = 2
    engine = open_database(url)
    sent = 0

    @event.listens_for(engine, "before_cursor_execute")
    def count(*_: Any) -> None:
        nonlocal sent
        if sent == number:
            os.kill(os.getpid(), signal.SIGKILL)
        sent += 1

    @event.listens_for(engine, "commit")
    def committing(_: Any) -> None:
        count()

    for _ in rerate.Rerating(EVERYTHING, {}, UTC, Act("cli:finance@desk", NOW, "killed often")).run(engine):
        pass


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
