"""A process that closes a month, and kills itself before one of the statements that it sends to the database.

`python -m tests.store.close_worker DATABASE_URL PERIOD NUMBER`: the first statement is 0. It ends with 0 if
there were fewer, the month being closed then.
"""

import sys

from proxy.store.database import open_database
from tests.closing import close_month
from tests.dying import die_before


def main(url: str, period: str, number: int) -> None:
    engine = open_database(url)
    die_before(number, engine)
    close_month(engine, period, {"unrated": "killed often"})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
