"""CSV and JSON lines: text, a batch of rows at a time.

Decimals keep all their digits and instants all their microseconds. In JSON they are strings, since most
readers would make a float of the one and have no type for the other.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any, Protocol, TypeVar

import msgspec

from proxy.exports.table import Column, Kind, Row, Table
from proxy.store.csv_text import harmless
from proxy.store.instants import format_instant

BATCH_ROWS = 500

T = TypeVar("T")
Converter = Callable[[Any], object]


class Sink(Protocol):
    """Where bytes go: a file, standard output, an answer under way."""

    def write(self, data: bytes, /) -> object:
        """Take all of `data`."""


def write_csv(table: Table, out: Sink) -> None:
    """Write UTF-8 with a header, as RFC 4180 has it; None is an empty cell, no cell is a formula."""
    converters = converters_of(table.columns, CELLS)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([harmless(column.name) for column in table.columns])
    for batch in batches(table.rows):
        writer.writerows(converted(converters, row) for row in batch)
        out.write(text.getvalue().encode())
        text.seek(0)
        text.truncate()
    if rest := text.getvalue():  # a header without rows
        out.write(rest.encode())


def write_jsonl(table: Table, out: Sink) -> None:
    """Write one object a line, with a member for each column; None is null."""
    names = [column.name for column in table.columns]
    converters = converters_of(table.columns, _MEMBERS)
    encode = msgspec.json.Encoder().encode
    for batch in batches(table.rows):
        lines = (encode(dict(zip(names, converted(converters, row), strict=True))) for row in batch)
        out.write(b"".join(line + b"\n" for line in lines))


def batches(rows: Iterable[T], size: int = BATCH_ROWS) -> Iterator[list[T]]:
    """Yield `rows` in lists of at most `size`."""
    left = iter(rows)
    while batch := list(islice(left, size)):
        yield batch


def converters_of(columns: Sequence[Column], of: Mapping[Kind, Converter]) -> list[Converter]:
    """Return what makes of each column's values what a format writes."""
    return [of[column.kind] for column in columns]


def converted(converters: Sequence[Converter], row: Row) -> list[object]:
    """Return the values of a row as a format writes them; None stays."""
    pairs = zip(converters, row, strict=True)
    return [None if value is None else convert(value) for convert, value in pairs]


def exact(value: Decimal) -> str:
    """Return all digits, never an exponent."""
    return f"{value:f}"


def json_text(value: object) -> str:
    """Return a JSON value in one cell, with sorted keys, so that equal values are equal text."""
    return msgspec.json.encode(value, order="sorted").decode()


def _same(value: object) -> object:
    return value


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _instant(value: datetime) -> str:
    return format_instant(value)


CELLS: Mapping[Kind, Converter] = {
    Kind.TEXT: harmless,
    Kind.INTEGER: _same,
    Kind.DECIMAL: exact,
    Kind.INSTANT: _instant,
    Kind.FLAG: _flag,
    Kind.JSON: json_text,
}
_MEMBERS: Mapping[Kind, Converter] = {
    Kind.TEXT: _same,
    Kind.INTEGER: _same,
    Kind.DECIMAL: exact,
    Kind.INSTANT: _instant,
    Kind.FLAG: _same,
    Kind.JSON: _same,
}
