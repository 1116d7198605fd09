"""The formats by name."""

import io
from itertools import repeat

import pytest

from proxy.exports.formats import TEXTS, Format, write
from proxy.exports.table import Table
from tests.exports.made import COLUMNS, ROW


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
