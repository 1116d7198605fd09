"""A process that rates again, and kills itself before one of the statements that it sends to the database.

`python -m tests.store.rerate_worker DATABASE_URL NUMBER`: the first statement is 0. It ends with 0 if there
were fewer, all being corrected then. A page has two entries, so that there are several transactions.
"""

import sys
from datetime import UTC

from proxy.store import rerate
from proxy.store.audit import Act
from proxy.store.database import open_database
from proxy.store.filters import EVERYTHING
from tests.dying import die_before
from tests.ledgers import NOW


def main(url: str, number: int) -> None:
    rerate.PAGE_ENTRIES = 2
    engine = open_database(url)
    die_before(number, engine)
    for _ in rerate.Rerating(EVERYTHING, {}, UTC, Act("cli:finance@desk", NOW, "killed often")).run(engine):
        pass


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
