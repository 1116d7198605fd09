"""A worker that closes a month, and dies before one of the statements that it sends to the database.

`python -m tests.store.close_worker DATABASE_URL PERIOD`: the first statement is 0. Where there are fewer than
it is told the month is closed.
"""

import sys

from proxy.store.database import open_database
from tests.closing import close_month
from tests.dying import die_before, die_on_demand


def main(url: str, period: str, number: int) -> None:
    engine = open_database(url)
    die_before(number, engine)
    close_month(engine, period, {"unrated": "killed often"})


if __name__ == "__main__":
    die_on_demand(lambda number: main(sys.argv[1], sys.argv[2], number))
