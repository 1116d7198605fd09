"""What nobody can read that was written by hand is named as anything else that is wrong."""

from datetime import UTC

import pytest
from sqlalchemy import Engine, text

from proxy.core.usage import Meter
from proxy.store.database import open_database
from proxy.store.verify import verify
from proxy.store.verify_rows import rows
from tests.archiving import year
from tests.ledgers import Books
from tests.tampering import tampering

FAR = 2**63 - 1


def changed(engine: Engine, change: str) -> tuple[int, str | None]:
    with tampering(engine) as connection:
        connection.execute(text(change))
    verdict = verify(engine, UTC)
    return verdict.entries, verdict.fault


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("tags = '{|'", "'{|' is no JSON"),
        ("flags = '['", "'[' is no JSON"),
        (f"posted_at = {FAR}", f"{FAR} is no instant"),
        (f"occurred_at = {FAR}", f"{FAR} is no instant"),
        (f"occurred_at = -{FAR}", f"-{FAR} is no instant"),
    ],
)
def test_an_entry_that_cannot_be_read_is_named(database: Engine, change: str, said: str) -> None:
    """With how many entries before it add up, as for any other fault."""
    year(database)
    entries, fault = changed(database, f"UPDATE ledger_entry SET {change} WHERE id = 4")
    assert (entries, fault) == (3, f"entry 4: what is stored of it cannot be read: {said}")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE ledger_entry SET subject_id = CAST(x'ff41' AS TEXT) WHERE id = 4",
        "UPDATE ledger_line SET meter = CAST(x'ff41' AS TEXT) WHERE entry_id = 4",
    ],
)
def test_text_that_is_none(sqlite_url: str, change: str) -> None:
    """PostgreSQL keeps no such text."""
    engine = open_database(sqlite_url)
    books = Books(engine)
    books.open("s1")
    for number in range(1, 6):
        books.bill("s1", f"r{number}", {Meter.TEXT_IN: number})
    entries, fault = changed(engine, change)
    assert entries == 3
    assert str(fault).startswith("entry 4: what is stored of it cannot be read: Could not decode")


@pytest.mark.parametrize(
    ("table", "column", "key"),
    [
        ("ledger_entry", "corrects", "id 4"),
        ("ledger_entry", "markup_bp", "id 4"),
        ("ledger_entry", "occurred_at", "id 4"),
        ("ledger_entry", "estimated", "id 4"),
        ("ledger_line", "quantity", "entry_id 4"),
        ("ledger_block", "last_entry", "id 4"),
        ("chain_head", "entries", "id 1"),
    ],
)
def test_text_where_a_number_belongs(sqlite_url: str, table: str, column: str, key: str) -> None:
    """SQLite keeps that too."""
    engine = open_database(sqlite_url)
    books = Books(engine)
    books.open("s1")
    for number in range(1, 6):
        books.bill("s1", f"r{number}", {Meter.DURATION_MS: number}, model="whisper-1")
    _, fault = changed(engine, f"UPDATE {table} SET {column} = 'x' WHERE {key.replace(' ', ' = ')}")
    assert fault == f"{table}, {key}: {column} is text, and should be a number"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (f"UPDATE ledger_block SET posted_at = {FAR} WHERE id = 2", f"{FAR} is no instant"),
        (f"UPDATE ledger_period SET closed_at = {FAR}", f"{FAR} is no instant"),
        ("UPDATE ledger_period SET overridden = '|'", "'|' is no JSON"),
    ],
)
def test_what_else_cannot_be_read(database: Engine, change: str, said: str) -> None:
    year(database)
    _, fault = changed(database, change)
    assert fault == f"what is stored cannot be read: {said}"


def test_entries_come_with_their_lines_and_what_they_correct(database: Engine) -> None:
    year(database)
    read = list(rows(database, 9))
    assert [row.id for row, _, _ in read] == list(range(1, 10))
    corrected = {row.id: old.row["id"] for row, _, old in read if old is not None}
    assert corrected and all(old < new for new, old in corrected.items())
    assert [line.meter for line in read[0][1]] == ["audio_out", "text_in"]
