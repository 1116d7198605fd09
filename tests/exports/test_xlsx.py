"""XLSX, read by openpyxl: numbers with their exact amounts, no formulas, what Excel cannot hold refused."""

import io
import tempfile
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import repeat
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import xlsxwriter
from hypothesis import given, settings
from openpyxl.utils.escape import unescape
from xlsxwriter.exceptions import FileCreateError

from proxy.exports import xlsx
from proxy.exports.table import Column, Kind, Row, Table
from proxy.exports.xlsx import CELL_CHARS_MAX, ROWS_MAX, write_xlsx
from proxy.store import StoreError
from proxy.store.csv_text import harmless
from tests.exports.made import COLUMNS, EMPTY, ROW, ROWS


def made(rows: Iterable[Row], columns: Sequence[Column] = COLUMNS) -> Any:
    out = io.BytesIO()
    write_xlsx(Table(columns, rows), out)
    return openpyxl.load_workbook(out).active


def cells(rows: Iterable[Row], columns: Sequence[Column] = COLUMNS) -> list[list[object]]:
    return [[cell.value for cell in row] for row in made(rows, columns).rows]


def test_a_decimal_has_its_exact_amount_beside_it() -> None:
    header, first, second, _third = cells([ROW, EMPTY, ROW])
    assert header == ["words", "count", "usd", "usd (exact)", "at", "estimated", "tags"]
    assert first == [
        "'=1+1",
        12_000,
        0.0072056,
        "0.007205600",
        "2026-11-23T12:00:00.250000Z",
        True,
        '{"b":"=","team":"a"}',
    ]
    assert second == [None] * 7
    assert made([ROW])["C2"].number_format == "0.000000000"


def test_text_is_text() -> None:
    sheet = made([("=1+1",), ("https://example.com/",), ("5",)], [Column("x")])
    assert [(row[0].data_type, row[0].value, row[0].hyperlink) for row in sheet.iter_rows(min_row=2)] == [
        ("s", "'=1+1", None),
        ("s", "https://example.com/", None),
        ("s", "5", None),
    ]


def test_integers_that_a_float_would_round_are_text() -> None:
    numbers = [10**15 - 1, 10**15, -(2**63)]
    assert cells([(n,) for n in numbers], [Column("n", Kind.INTEGER)])[1:] == [
        [10**15 - 1],
        ["1000000000000000"],
        ["-9223372036854775808"],
    ]


def test_more_rows_than_excel_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ROWS_MAX == 1_048_575
    monkeypatch.setattr(xlsx, "ROWS_MAX", 3)
    columns = [Column("n", Kind.INTEGER)]
    assert len(cells(repeat((1,), 3), columns)) == 4
    with pytest.raises(StoreError, match="more than the 3 rows .* CSV"):
        made(repeat((1,), 4), columns)


def test_a_text_that_fits_no_cell_is_refused_and_never_cut() -> None:
    assert cells([("x" * CELL_CHARS_MAX,)], [Column("x")])[1] == ["x" * CELL_CHARS_MAX]
    with pytest.raises(StoreError, match="Row 1 .* in x, .* CSV"):
        made([("x" * (CELL_CHARS_MAX + 1),)], [Column("x")])


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made([ROW])
    with pytest.raises(ZeroDivisionError):
        made(((1 // n,) for n in (1, 0)), [Column("n", Kind.INTEGER)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "problem", [OSError(28, "No space left"), FileCreateError(OSError(28, "No space left"))]
)
def test_which_folder_is_full_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    """It is not the one that the export goes to."""

    def full(_: object) -> None:
        raise problem

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(xlsxwriter.Workbook, "close", full)
    with pytest.raises(OSError, match=rf"No space left in {tmp_path}, .*TMPDIR") as told:
        made([ROW])
    assert told.value.errno == 28


@given(ROWS)
@settings(max_examples=10)
def test_all_values_come_back(rows: list[Row]) -> None:
    texts, counts, amounts = range(3)
    read = cells([*rows, ROW])[1:-1]
    for row, (text, count, _, exact, *_rest) in zip(rows, read, strict=True):
        wanted = "" if row[texts] is None else harmless(str(row[texts]))
        assert unescape(str(text or "")) == wanted
        assert (None if count is None else int(str(count))) == row[counts]
        assert (None if exact is None else Decimal(str(exact))) == row[amounts]
