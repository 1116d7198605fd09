"""A process that makes what is due, and kills itself before one of the statements that announce it.

`python -m tests.store.schedule_worker DATABASE_URL NUMBER`: 0 is the first statement that writes. It ends
with 0 if there were fewer, all being announced then.
"""

import os
import signal
import sys
from datetime import timedelta
from typing import Any

from sqlalchemy import event

from proxy.store.database import open_database, reading
from proxy.store.occurrences import make_due
from proxy.store.schedules import due_schedules
from tests.scheduling import NOW


def main(url: str, number: int) -> None:
    engine = open_database(url)
    now = NOW + timedelta(days=21)
    written = -1

    @event.listens_for(engine, "before_cursor_execute")
    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        nonlocal written
        if written >= 0 or statement.startswith("UPDATE schedule"):
            written += 1
            if written == number:
                os.kill(os.getpid(), signal.SIGKILL)

    @event.listens_for(engine, "commit")
    def committing(_: Any) -> None:
        if written >= 0:
            count(None, None, "COMMIT")

    with reading(engine) as connection:
        due = due_schedules(connection, now)
    for one in due:
        make_due(engine, one, now)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
