"""Parquet, by pyarrow (the extra `parquet`).

Decimals have a fixed scale, instants microseconds in UTC.
"""

import io
from collections.abc import Mapping
from typing import Any

from proxy.exports.table import Column, Kind, Table
from proxy.exports.texts import BATCH_ROWS, Sink, batches, json_text
from proxy.store import StoreError

GROUP_BATCHES = 40  # a row group has twenty thousand rows: what is held until it is written
DIGITS = 38  # of a decimal


def write_parquet(table: Table, out: Sink) -> None:
    """Write a file in row groups.

    Raises:
        StoreError: pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise StoreError(
            "Parquet needs pyarrow, which is not installed: pip install 'talkmeter[parquet]'."
        ) from None
    schema = pyarrow.schema([(column.name, _type(pyarrow, column)) for column in table.columns])
    with pyarrow.parquet.ParquetWriter(pyarrow.PythonFile(_Stream(out), "w"), schema) as writer:
        made = (_batch(pyarrow, table, schema, rows) for rows in batches(table.rows, BATCH_ROWS))
        for group in batches(made, GROUP_BATCHES):
            writer.write_table(pyarrow.Table.from_batches(group, schema))


class _Stream(io.RawIOBase):
    """A sink as Arrow wants it: it can be closed, which the sink is not."""

    def __init__(self, out: Sink) -> None:
        self._out = out

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._out.write(bytes(data))
        return len(data)


def _type(pyarrow: Any, column: Column) -> Any:
    types: Mapping[Kind, Any] = {
        Kind.TEXT: pyarrow.string(),
        Kind.INTEGER: pyarrow.int64(),
        Kind.DECIMAL: pyarrow.decimal128(DIGITS, column.decimals),
        Kind.INSTANT: pyarrow.timestamp("us", tz="UTC"),
        Kind.FLAG: pyarrow.bool_(),
        Kind.JSON: pyarrow.string(),
    }
    return types[column.kind]


def _batch(pyarrow: Any, table: Table, schema: Any, rows: Any) -> Any:
    """Return rows as columns; a value that a type cannot hold exactly is an error of pyarrow's."""
    columns = zip(*rows, strict=True)
    arrays = [
        pyarrow.array([_json(value) for value in values] if column.kind is Kind.JSON else values, field.type)
        for column, values, field in zip(table.columns, columns, schema, strict=True)
    ]
    return pyarrow.RecordBatch.from_arrays(arrays, schema=schema)


def _json(value: object) -> str | None:
    return None if value is None else json_text(value)
