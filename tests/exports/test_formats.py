"""The formats by name."""

import io
from itertools import repeat

import pyarrow
import pytest

from proxy.exports.formats import TEXTS, Format, write
from proxy.exports.table import Table
from tests.exports.made import COLUMNS, ROW, Nowhere, tracing


@pytest.mark.parametrize("format", Format)
def test_every_format_is_written_and_its_rows_counted(format: Format) -> None:
    out = io.BytesIO()
    assert write(Table(COLUMNS, repeat(ROW, 1_234)), format, out) == 1_234
    assert out.getvalue()
    assert format.content_type


def test_what_is_text_can_be_read_as_it_comes() -> None:
    for format in TEXTS:
        out = io.BytesIO()
        write(Table(COLUMNS, [ROW]), format, out)
        assert "0.007205600" in out.getvalue().decode()


@pytest.mark.parametrize("format", Format)
def test_memory_does_not_grow_with_the_rows(format: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is anything left in Arrow's memory, which is not Python's."""
    monkeypatch.setattr("proxy.exports.parquet.GROUP_BATCHES", 1)
    write(Table(COLUMNS, [ROW]), format, Nowhere())  # what is imported and kept
    held = pyarrow.total_allocated_bytes()
    few, many = (_peak(format, rows) for rows in (1_000, 8_000))
    assert many < 1.2 * few + 100_000
    assert pyarrow.total_allocated_bytes() == held


def _peak(format: Format, rows: int) -> int:
    with tracing() as peak:
        write(Table(COLUMNS, repeat(ROW, rows)), format, Nowhere())
        return peak()
