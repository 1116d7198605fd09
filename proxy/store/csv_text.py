"""CSV for spreadsheets, in which no cell can turn into a formula."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence

_STARTS_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def to_csv(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """Return `rows` as CSV with a header; None is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text)  # lines end in CRLF, as RFC 4180 has it
    writer.writerow([_cell(name) for name in columns])
    for row in rows:
        writer.writerow([_cell(row[name]) for name in columns])
    return text.getvalue()


def _cell(value: object) -> object:
    """Return the cell; names that peers chose must not run in the reader's spreadsheet."""
    if isinstance(value, str) and value.startswith(_STARTS_FORMULA) and not _NUMBER.fullmatch(value):
        return "'" + value
    return value
