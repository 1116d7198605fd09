"""A process that exports without end, to be killed: `endless_worker.py FORMAT FILE`."""

import sys
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

from proxy.exports.files import complete_file
from proxy.exports.formats import Format, write
from proxy.exports.table import Row, Table
from tests.exports.made import COLUMNS, ROW


def rows() -> Iterator[Row]:
    for number, row in enumerate(repeat(ROW)):
        if number == 25_000:
            print("under way", flush=True)
        yield row


if __name__ == "__main__":
    with complete_file(Path(sys.argv[2]), overwrite=True) as file:
        write(Table(COLUMNS, rows()), Format(sys.argv[1]), file)
