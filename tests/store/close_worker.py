"""A process that closes a month, and kills itself before one of the statements that it sends to the database.

`python -m tests.store.close_worker DATABASE_URL PERIOD NUMBER`: the first statement is 0. It ends with 0 if
there were fewer, the month being closed then.
"""

import os
import signal
import sys
from typing import Any

from sqlalchemy import event

from proxy.store.database import open_database
from tests.closing import close_month


def main(url: str, period: str, number: int) -> None:
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

    close_month(engine, period, {"unrated": "killed often"})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
