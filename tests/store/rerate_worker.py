"""A worker that rates again, and dies before one of the statements that it sends to the database.

`python -m tests.store.rerate_worker DATABASE_URL`: the first statement is 0. Where there are fewer than it is
told all is corrected. A page has two entries, so that there are several transactions.
"""

import sys
from datetime import UTC

from proxy.store import rerate
from proxy.store.audit import Act
from proxy.store.database import open_database
from proxy.store.filters import EVERYTHING
from tests.dying import die_before, die_on_demand
from tests.ledgers import NOW


def main(url: str, number: int) -> None:
    rerate.PAGE_ENTRIES = 2
    engine = open_database(url)
    die_before(number, engine)
    for _ in rerate.Rerating(EVERYTHING, {}, UTC, Act("cli:finance@desk", NOW, "killed often")).run(engine):
        pass


if __name__ == "__main__":
    die_on_demand(lambda number: main(sys.argv[1], number))
