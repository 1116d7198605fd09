"""XLSX: one sheet, row by row.

A decimal is a number to calculate with, and beside it stands the exact amount as text. Excel's numbers are
floats with some fifteen digits; integers with more than that are written as text too.
"""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from proxy.exports.table import Column, Kind, Table
from proxy.exports.texts import CELLS, Sink, exact
from proxy.store import StoreError
from proxy.store.csv_text import harmless

ROWS_MAX = 1_048_575  # a sheet has one more, for the header
CELL_CHARS_MAX = 32_767
_DIGITS = 15
_INTEGER_MAX = 10**_DIGITS - 1

Put = Callable[[int, Any], None]  # a row's number and its value


def write_xlsx(table: Table, out: Sink) -> None:
    """Write a workbook, which is made in a temporary folder and sent when it is complete.

    Raises:
        StoreError: it has more than Excel's rows, or a text that fits no cell of it.
    """
    with tempfile.TemporaryDirectory(prefix="talkmeter-") as folder:
        made = Path(folder) / "export.xlsx"
        try:
            _make(table, made, folder)
        except OSError as problem:  # of this folder, not of where the workbook goes
            said = f"{problem.strerror} in {Path(folder).parent}, the folder for temporary files (TMPDIR)"
            raise OSError(problem.errno, said) from problem
        with made.open("rb") as file:
            shutil.copyfileobj(file, out)


def _make(table: Table, path: Path, folder: str) -> None:
    import xlsxwriter
    import xlsxwriter.exceptions

    options = {"constant_memory": True, "tmpdir": folder, "strings_to_formulas": False}
    book = xlsxwriter.Workbook(str(path), options)
    book.use_zip64()
    try:
        _fill(_Sheet(book), table)
    except BaseException:
        _abandon(book)
        raise
    try:
        book.close()
    except xlsxwriter.exceptions.FileCreateError as problem:
        raise problem.args[0] from None


def _abandon(book: Any) -> None:
    """Close what a workbook keeps open, without making it."""
    for worksheet in book.worksheets():
        worksheet._opt_close()


def _fill(sheet: "_Sheet", table: Table) -> None:
    puts = sheet.begin(table.columns)
    for number, row in enumerate(table.rows, start=1):
        if number > ROWS_MAX:
            raise StoreError(
                f"This has more than the {ROWS_MAX:,} rows that Excel can show: take it as CSV, or narrow it."
            )
        for put, value in zip(puts, row, strict=True):
            if value is not None:
                put(number, value)


class _Sheet:
    """The one sheet. A decimal takes two of its columns."""

    def __init__(self, book: Any) -> None:
        self._sheet = book.add_worksheet()
        self._sheet.freeze_panes(1, 0)
        self._bold = book.add_format({"bold": True})
        self._amounts = book.add_format

    def begin(self, columns: Sequence[Column]) -> list[Put]:
        """Write the header; return what writes a value of each column."""
        puts: list[Put] = []
        at = 0
        for column in columns:
            self._sheet.write_string(0, at, harmless(column.name), self._bold)
            if column.kind is Kind.DECIMAL:
                self._sheet.write_string(0, at + 1, harmless(f"{column.name} (exact)"), self._bold)
            puts.append(self._put(column, at))
            at += 2 if column.kind is Kind.DECIMAL else 1
        return puts

    def _put(self, column: Column, at: int) -> Put:
        match column.kind:
            case Kind.DECIMAL:
                return self._put_decimal(column, at)
            case Kind.INTEGER:
                return lambda row, value: self._integer(row, at, value)
            case Kind.FLAG:
                return lambda row, value: self._sheet.write_boolean(row, at, value)
        convert = CELLS[column.kind]
        return lambda row, value: self._text(row, at, str(convert(value)), column)

    def _put_decimal(self, column: Column, at: int) -> Put:
        shown = self._amounts({"num_format": "0." + "0" * column.decimals if column.decimals else "0"})

        def put(row: int, value: Decimal) -> None:
            self._sheet.write_number(row, at, float(value), shown)
            self._sheet.write_string(row, at + 1, exact(value))

        return put

    def _integer(self, row: int, at: int, value: int) -> None:
        if abs(value) <= _INTEGER_MAX:
            self._sheet.write_number(row, at, value)
        else:
            self._sheet.write_string(row, at, str(value))

    def _text(self, row: int, at: int, text: str, column: Column) -> None:
        if self._sheet.write_string(row, at, text):
            raise StoreError(
                f"Row {row:,} has more than {CELL_CHARS_MAX:,} characters in {column.name}, which no cell of"
                " XLSX holds: take it as CSV."
            )
