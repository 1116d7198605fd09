"""CSV for spreadsheets, in which no cell can turn into a formula."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence

_WIDE = ("\uff1d", "\uff0b", "\uff0d", "\uff20")  # the same signs as East Asian keyboards write them
_STARTS_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", *_WIDE)
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
    return harmless(value) if isinstance(value, str) else value


def harmless(text: str) -> str:
    """Return `text` as a cell: what peers chose must not run in the reader's spreadsheet."""
    return "'" + text if text.startswith(_STARTS_FORMULA) and not _NUMBER.fullmatch(text) else text
