"""The formats: what each is called, what kind of content it is, and what writes it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum

from proxy.exports.parquet import write_parquet
from proxy.exports.table import Row, Table
from proxy.exports.texts import Sink, write_csv, write_jsonl
from proxy.exports.xlsx import write_xlsx


class Format(StrEnum):
    """A format, by its name, which is also how its files end."""

    CSV = "csv"
    JSONL = "jsonl"
    XLSX = "xlsx"
    PARQUET = "parquet"

    @property
    def content_type(self) -> str:
        return CONTENT_TYPES[self]


CONTENT_TYPES: Mapping[Format, str] = {
    Format.CSV: "text/csv",
    Format.JSONL: "application/x-ndjson",
    Format.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    Format.PARQUET: "application/vnd.apache.parquet",
}
TEXTS = frozenset({Format.CSV, Format.JSONL})  # what can go to a terminal or a pipe

_WRITERS: Mapping[Format, Callable[[Table, Sink], None]] = {
    Format.CSV: write_csv,
    Format.JSONL: write_jsonl,
    Format.XLSX: write_xlsx,
    Format.PARQUET: write_parquet,
}


def write(table: Table, format: Format, out: Sink) -> int:
    """Write all rows, as they come; return how many there were.

    Raises:
        StoreError: the format cannot hold them, or is not installed; or what the rows are read from.
    """
    counted = _Counted(table.rows)
    _WRITERS[format](Table(table.columns, counted), out)
    return counted.rows


class _Counted:
    """Rows on their way, counted."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = rows
        self.rows = 0

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            self.rows += 1
            yield row
