"""CSV and JSON lines: exact, and nothing runs."""

import csv
import io
import json
from collections.abc import Sequence
from decimal import Decimal

from hypothesis import given

from proxy.exports.table import Column, Kind, Row, Table
from proxy.exports.texts import BATCH_ROWS, write_csv, write_jsonl
from proxy.store.csv_text import harmless
from proxy.store.instants import format_instant
from tests.exports.made import COLUMNS, EMPTY, ROW, ROWS


def as_csv(rows: Sequence[Row], columns: Sequence[Column] = COLUMNS) -> str:
    out = io.BytesIO()
    write_csv(Table(columns, rows), out)
    return out.getvalue().decode()


def as_jsonl(rows: Sequence[Row]) -> str:
    out = io.BytesIO()
    write_jsonl(Table(COLUMNS, rows), out)
    return out.getvalue().decode()


def test_csv_has_a_header_and_no_formulas() -> None:
    assert as_csv([ROW, EMPTY]) == (
        "words,count,usd,at,estimated,tags\r\n"
        '\'=1+1,12000,0.007205600,2026-11-23T12:00:00.250000Z,true,"{""b"":""="",""team"":""a""}"\r\n'
        ",,,,,\r\n"
    )
    assert as_csv([]) == "words,count,usd,at,estimated,tags\r\n"
    assert as_csv([], [Column("=x")]) == "'=x\r\n"


def test_json_lines_have_an_object_for_each_row() -> None:
    assert [json.loads(line) for line in as_jsonl([ROW, EMPTY]).splitlines()] == [
        {
            "words": "=1+1",
            "count": 12_000,
            "usd": "0.007205600",
            "at": "2026-11-23T12:00:00.250000Z",
            "estimated": True,
            "tags": {"team": "a", "b": "="},
        },
        dict.fromkeys(column.name for column in COLUMNS),
    ]
    assert as_jsonl([]) == ""


def test_no_amount_has_an_exponent() -> None:
    columns = [Column("usd", Kind.DECIMAL)]
    amounts = [(Decimal(1).scaleb(-9),), (Decimal("1E+3"),), (Decimal("-0.5"),)]
    assert as_csv(amounts, columns) == "usd\r\n0.000000001\r\n1000\r\n-0.5\r\n"


def test_rows_are_written_in_batches() -> None:
    class Pieces(list[bytes]):
        write = list[bytes].append

    pieces = Pieces()
    write_csv(Table([Column("n", Kind.INTEGER)], ((n,) for n in range(3 * BATCH_ROWS))), pieces)
    assert len(pieces) == 3
    assert b"".join(pieces).decode().split() == ["n", *(str(n) for n in range(3 * BATCH_ROWS))]


@given(ROWS)
def test_all_values_come_back(rows: list[Row]) -> None:
    texts, counts, amounts, instants, flags, tags = range(6)
    read = list(csv.reader(io.StringIO(as_csv(rows), newline="")))[1:]
    told = [list(json.loads(line).values()) for line in as_jsonl(rows).split("\n")[:-1]]
    assert len(read) == len(told) == len(rows)
    for row, cells, members in zip(rows, read, told, strict=True):
        assert cells[texts] == ("" if row[texts] is None else harmless(str(row[texts])))
        assert cells[counts] == ("" if row[counts] is None else str(row[counts]))
        assert (Decimal(cells[amounts]) if cells[amounts] else None) == row[amounts]
        assert (json.loads(cells[tags]) if cells[tags] else None) == row[tags]
        assert [members[n] for n in (texts, counts, flags, tags)] == [
            row[n] for n in (texts, counts, flags, tags)
        ]
        assert (None if members[amounts] is None else Decimal(members[amounts])) == row[amounts]
        assert members[instants] == (None if row[instants] is None else format_instant(row[instants]))  # type: ignore[arg-type]
