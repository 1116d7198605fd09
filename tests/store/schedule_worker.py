"""A process that makes what is due, and kills itself before one of the statements that announce it.

`python -m tests.store.schedule_worker DATABASE_URL NUMBER`: 0 is the first statement that writes. It ends
with 0 if there were fewer, all being announced then.
"""

import sys
from datetime import timedelta

from proxy.store.database import open_database, reading
from proxy.store.occurrences import make_due
from proxy.store.schedules import due_schedules
from tests.dying import die_before
from tests.scheduling import NOW


def main(url: str, number: int) -> None:
    engine = open_database(url)
    now = NOW + timedelta(days=21)
    die_before(number, engine, begins=lambda statement: statement.startswith("UPDATE schedule"))
    with reading(engine) as connection:
        due = due_schedules(connection, now)
    for one in due:
        make_due(engine, one, now)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
