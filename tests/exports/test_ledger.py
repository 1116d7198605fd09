"""The ledger as a table: everything once, sums that are the ledger's in every format, in bounded memory."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from itertools import islice
from typing import Any

import openpyxl
import pyarrow.parquet
import pytest
from sqlalchemy import Engine, func, select

from proxy.core.usage import Meter
from proxy.exports.formats import Format, write
from proxy.exports.ledger import COLUMNS, ledger_table
from proxy.exports.table import Table
from proxy.store.database import open_database, reading
from proxy.store.filters import EVERYTHING, Filters
from proxy.store.ledger import entries
from proxy.store.schema import ledger_line
from tests.exports.made import Nowhere, tracing
from tests.generated import generate
from tests.ledgers import MODEL, Books

Rows = list[Mapping[str, Any]]
AMOUNTS = ("list", "cost", "billed")


def rows_of(engine: Engine, filters: Filters = EVERYTHING, **how: Any) -> Rows:
    table = ledger_table(engine, filters, **how)
    names = [column.name for column in table.columns]
    return [dict(zip(names, row, strict=True)) for row in table.rows]


def test_a_row_for_each_line_with_its_entry_beside_it(database: Engine) -> None:
    books = Books(database)
    books.open("s1", "acme", "web", tags={"team": "a"}, end_user="zoë")
    books.bill("s1", "r1", {Meter.TEXT_IN: 10, Meter.AUDIO_OUT: 3}, flags=("upstream_lost",))
    text, audio = sorted(rows_of(database), key=lambda row: str(row["meter"]), reverse=True)
    assert {name for name in text if text[name] != audio[name]} == {
        *("meter", "quantity", "price_usd", "list_usd", "cost_usd", "billed_usd")
    }
    told = {
        name: text[name] for name in ("tenant", "project", "model", "subject_id", "flags", "tags", "rated")
    }
    assert told == {
        "tenant": "acme",
        "project": "web",
        "model": MODEL,
        "subject_id": "r1",
        "flags": ["upstream_lost"],
        "tags": {"team": "a"},
        "rated": True,
    }
    assert (text["meter"], text["quantity"], text["unit"]) == ("text_in", 10, "token")
    assert (str(text["price_usd"]), text["price_per"]) == ("0.000004000", 1)
    assert (str(text["cost_usd"]), str(audio["billed_usd"])) == ("0.000040000", "0.000192000")
    assert "zoë" not in str(text) and text["end_user_id"]


def test_entries_without_lines_have_a_row_and_parts_of_an_unrated_one_no_amount(database: Engine) -> None:
    books = Books(database)
    books.open("s1")
    books.bill("s1", "none", {})
    books.bill("s1", "missing")
    books.bill("s1", "unknown", {Meter.TEXT_IN: 10, Meter.UNTOLD_IN: 5})
    rows = rows_of(database)
    shown = [(row["subject_id"], row["meter"], row["rated"], row["cost_usd"]) for row in rows]
    assert shown == [
        ("none", None, True, 0),
        ("missing", None, False, None),
        ("unknown", "text_in", False, None),
        ("unknown", "untold_in", False, None),
    ]
    assert rows[2]["price_usd"] is not None


def test_a_tenant_learns_what_it_owes_and_nothing_else(database: Engine) -> None:
    generate(database, 300)
    ours, theirs = rows_of(database), rows_of(database, is_billed=True)
    assert [row["billed_usd"] for row in theirs] == [row["billed_usd"] for row in ours]
    for row in theirs:
        assert row["cost_usd"] == row["list_usd"] == row["billed_usd"]
        hidden = ("account", "price_usd", "price_per", "rate_card_id", "public_card_id", "markup_bp")
        assert {row[name] for name in hidden} == {None}
    only = rows_of(database, Filters(within=frozenset({str(ours[0]["tenant_id"])})), is_billed=True)
    assert only and {row["tenant"] for row in only} == {ours[0]["tenant"]}


def test_how_far_it_is(database: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.store.ledger.WINDOW_IDS", 50)
    generate(database, 500)
    told: list[tuple[int, int]] = []
    rows_of(database, told=lambda done, total: told.append((done, total)))
    total = told[-1][1]
    assert [done for done, _ in told] == [*range(50, total, 50), total]


def from_csv(made: bytes) -> Iterator[Mapping[str, Any]]:
    yield from csv.DictReader(io.StringIO(made.decode(), newline=""))


def from_jsonl(made: bytes) -> Iterator[Mapping[str, Any]]:
    yield from (json.loads(line) for line in made.splitlines())


def from_xlsx(made: bytes) -> Iterator[Mapping[str, Any]]:
    header, *rows = openpyxl.load_workbook(io.BytesIO(made), read_only=True).active.values
    for row in rows:
        read = dict(zip(header, row, strict=True))
        yield {**read, **{f"{name}_usd": read[f"{name}_usd (exact)"] for name in AMOUNTS}}


def from_parquet(made: bytes) -> Iterator[Mapping[str, Any]]:
    yield from pyarrow.parquet.read_table(io.BytesIO(made)).to_pylist()


READERS: Mapping[Format, Callable[[bytes], Iterator[Mapping[str, Any]]]] = {
    Format.CSV: from_csv,
    Format.JSONL: from_jsonl,
    Format.XLSX: from_xlsx,
    Format.PARQUET: from_parquet,
}


def test_the_sums_of_every_format_are_the_ledgers(database: Engine) -> None:
    generate(database, 1_500)
    booked = list(entries(database))
    with reading(database) as connection:
        quantity = int(connection.execute(select(func.sum(ledger_line.c.quantity))).scalar_one())
        lines = int(connection.execute(select(func.count()).select_from(ledger_line)).scalar_one())
    wanted = {name: sum(getattr(one, f"{name}_nanousd") or 0 for one in booked) for name in AMOUNTS}
    for format in Format:
        out = io.BytesIO()
        count = write(ledger_table(database, EVERYTHING), format, out)
        rows = list(READERS[format](out.getvalue()))
        assert count == len(rows) == lines + sum(not one.lines for one in booked)
        assert sum(int(row["quantity"] or 0) for row in rows) == quantity
        sums = {name: sum(Decimal(row[f"{name}_usd"] or 0) for row in rows) for name in AMOUNTS}
        assert {name: int(amount * 10**9) for name, amount in sums.items()} == wanted, format
        assert [int(row["entry_id"]) for row in rows] == sorted(int(row["entry_id"]) for row in rows)
        assert set(rows[0]) >= {column.name for column in COLUMNS}


def test_memory_does_not_grow_with_the_ledger(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times the lines, the same peak."""
    monkeypatch.setattr("proxy.store.ledger.WINDOW_IDS", 50)
    engine = open_database(sqlite_url, checkpoints=True)
    generate(engine, 4_000)
    few, many = (_peak(engine, lines) for lines in (1_000, 4_000))
    assert many < 1.3 * few + 200_000
    engine.dispose()


def _peak(engine: Engine, lines: int) -> int:
    """Return the most memory that was taken while so many lines of the ledger were written."""
    table = ledger_table(engine, EVERYTHING)
    with tracing() as peak:
        write(Table(table.columns, islice(table.rows, lines)), Format.CSV, Nowhere())
        return peak()
