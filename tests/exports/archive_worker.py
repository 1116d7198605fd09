"""A worker that archives a month, and dies before one of the statements that change something.

`python -m tests.exports.archive_worker DATABASE_URL PERIOD FOLDER`: the first is 0, the last one the commit;
before -1 the file is half written. Where there are fewer than it is told the month is archived.
"""

import sys
from pathlib import Path
from typing import Any

from sqlalchemy import event

from proxy.exports.archiving import archive
from proxy.store.database import open_database
from tests.archiving import ARCHIVING
from tests.closing import ZONE
from tests.dying import die, die_before, die_on_demand


def main(url: str, period: str, folder: str, number: int) -> None:
    engine = open_database(url)

    @event.listens_for(engine, "before_cursor_execute")
    def sending(*_: Any) -> None:
        if number == -1 and list(Path(folder).glob(".*.part")):
            die()

    die_before(number, engine, begins=changes, counts=changes)
    archive(engine, period, Path(folder), ARCHIVING, ZONE)


def changes(statement: str) -> bool:
    return statement.startswith(("INSERT", "UPDATE", "DELETE"))


if __name__ == "__main__":
    die_on_demand(lambda number: main(sys.argv[1], sys.argv[2], sys.argv[3], number))
