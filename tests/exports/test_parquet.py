"""Parquet, read by pyarrow: typed, exact, in row groups."""

import io
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings

from proxy.exports import parquet
from proxy.exports.parquet import write_parquet
from proxy.exports.table import Column, Kind, Row, Table
from proxy.exports.texts import json_text
from proxy.store import StoreError
from tests.exports.made import COLUMNS, ROW, ROWS


def written(rows: Iterable[Row], columns: Sequence[Column] = COLUMNS) -> Any:
    out = io.BytesIO()
    write_parquet(Table(columns, rows), out)
    return pyarrow.parquet.ParquetFile(io.BytesIO(out.getvalue()))


def test_columns_have_types_of_their_own() -> None:
    columns = [*COLUMNS, Column("rate", Kind.DECIMAL, decimals=12)]
    schema = written([], columns).schema_arrow
    assert {field.name: str(field.type) for field in schema} == {
        "words": "string",
        "count": "int64",
        "usd": "decimal128(38, 9)",
        "at": "timestamp[us, tz=UTC]",
        "estimated": "bool",
        "tags": "string",
        "rate": "decimal128(38, 12)",
    }


def test_rows_come_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "BATCH_ROWS", 10)
    monkeypatch.setattr(parquet, "GROUP_BATCHES", 2)
    file = written(((n,) for n in range(45)), [Column("n", Kind.INTEGER)])
    assert (file.num_row_groups, file.metadata.num_rows) == (3, 45)
    assert file.read().column("n").to_pylist() == list(range(45))


def test_an_amount_is_never_rounded() -> None:
    with pytest.raises(pyarrow.ArrowInvalid):
        written([(Decimal("0.0000000001"),)], [Column("usd", Kind.DECIMAL)])


def test_a_sink_need_not_be_a_file() -> None:
    class Pieces(list[bytes]):
        write = list[bytes].append

    pieces = Pieces()
    write_parquet(Table(COLUMNS, [ROW]), pieces)
    assert pyarrow.parquet.read_table(io.BytesIO(b"".join(pieces))).num_rows == 1


def test_without_pyarrow_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(StoreError, match=r"pip install 'talkmeter\[parquet\]'"):
        written([ROW])


@given(ROWS)
@settings(max_examples=30)
def test_all_values_come_back(rows: list[Row]) -> None:
    for row, read in zip(rows, written(rows).read().to_pylist(), strict=True):
        *plain, at, estimated, tags = row
        assert list(read.values()) == [*plain, _utc(at), estimated, None if tags is None else json_text(tags)]


def _utc(at: Any) -> datetime | None:
    assert at is None or isinstance(at, datetime)
    return at
