"""Verification of closes and statements: each way to change one is found, and named."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, text

from proxy.core.records import Kind
from proxy.core.usage import Meter
from proxy.store.adjustments import Adjustment, book
from proxy.store.audit import Act
from proxy.store.database import writing
from proxy.store.verify import verify
from tests.closing import close_month
from tests.ledgers import NOW, Books
from tests.tampering import tampering

OCTOBER = datetime(2026, 10, 5, tzinfo=UTC)
BECAUSE = Act("cli:finance@desk", NOW, "goodwill")


@pytest.fixture
def books(database: Engine) -> Books:
    """October closed, with late usage after it; November closed too; December open."""
    books = Books(database)
    for session, tenant in (("s1", "acme"), ("s2", "globex")):
        books.open(session, tenant, at=OCTOBER)
        books.bill(session, f"{session}-r1", {Meter.TEXT_IN: 10}, at=OCTOBER)
        books.close(session)
    books.bill("s1", "s1-r2", at=OCTOBER)
    close_month(database, "2026-10", {"unrated": "a test"})
    books.bill("s1", "s1-late", {Meter.TEXT_IN: 10}, at=OCTOBER)
    with writing(database) as connection:
        book(connection, Adjustment("k", Kind.CREDIT, "acme", 0, -5, occurred_at=NOW), BECAUSE, UTC)
    close_month(database, "2026-11")
    books.bill("s2", "s2-r2", {Meter.TEXT_IN: 10}, at=datetime(2026, 12, 1, tzinfo=UTC))
    return books


def test_a_good_ledger(books: Books) -> None:
    assert verify(books.engine, UTC).fault is None


def test_a_good_ledger_in_pages(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.store.verify_rows.PAGE_ENTRIES", 2)
    assert verify(books.engine, UTC).fault is None


def sql(*parts: str) -> str:
    return " ".join(parts)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "UPDATE ledger_entry SET period = '2026-10' WHERE id = 4",
            "entry 4: its period is 2026-10, and 2026-11 was the oldest open one for what is of 2026-10",
        ),
        (
            "UPDATE ledger_entry SET period = '2026-11' WHERE id = 1",
            "entry 1: its period 2026-11 is not the month of 2026-10-05 00:00 UTC in UTC",
        ),
        ("UPDATE ledger_entry SET period = '2026-12' WHERE id = 4", "entry 4: its period is 2026-12"),
        (
            "UPDATE ledger_period SET zone = 'Asia/Tokyo'",
            "period 2026-10: it was closed in Asia/Tokyo, not in",
        ),
        ("UPDATE ledger_period SET digest = 'ab'", "2026-10 was closed over 3:ab, which the ledger does not"),
        (
            "UPDATE ledger_period SET entries = 9 WHERE period = '2026-11'",
            "2026-11 was closed over 9:",
        ),
        (
            "UPDATE ledger_period SET entries = 2 WHERE period = '2026-10'",
            "statement 2026-10-0001: entries is 2, and the ledger says 1",
        ),
        (
            "UPDATE ledger_period SET entries = 5 WHERE period = '2026-10'",
            "entry 4: its period 2026-11 is not the month of",
        ),
        (
            "UPDATE chain_head SET closed_through = '2026-10'",
            "should be closed through 2026-10, and is through",
        ),
        (
            "UPDATE chain_head SET closed_through = NULL",
            "should be closed through None, and is through 2026-11",
        ),
        (
            "UPDATE statement SET entries = 3 WHERE number = '2026-10-0001'",
            "statement 2026-10-0001: entries is 3, and the ledger says 2",
        ),
        (
            "UPDATE statement SET unrated_entries = 0 WHERE number = '2026-10-0001'",
            "statement 2026-10-0001: unrated_entries is 0, and the ledger says 1",
        ),
        (
            "UPDATE statement SET billed_nanousd = 1",
            "statement 2026-10-0001: billed_nanousd is 1, and the ledger",
        ),
        (
            "UPDATE statement SET rounding_nanousd = 1",
            "statement 2026-10-0001: rounding_nanousd is 1, and the",
        ),
        (
            "UPDATE statement SET tenant_id = 't_9' WHERE number = '2026-10-0002'",
            "statement 2026-10-0002: its tenant has nothing in 2026-10",
        ),
        (
            "UPDATE statement_line SET quantity = 11 WHERE statement = '2026-10-0002'",
            "statement 2026-10-0002: its lines are not what the ledger says",
        ),
        (
            "UPDATE statement_line SET billed_nanousd = 0 WHERE statement = '2026-10-0001'",
            "statement 2026-10-0001: its lines are not what the ledger says",
        ),
        (
            "UPDATE statement_line SET corrects_period = NULL WHERE statement = '2026-11-0001'",
            "statement 2026-11-0001: its lines are not what the ledger says",
        ),
        (
            "UPDATE statement_line SET reason = 'another' WHERE reason IS NOT NULL",
            "statement 2026-11-0001: its lines are not what the ledger says",
        ),
        (
            "DELETE FROM statement_line WHERE statement = '2026-10-0002'",
            "statement 2026-10-0002: its lines are not what the ledger says",
        ),
        (
            "DELETE FROM statement WHERE number = '2026-10-0001'",
            "statement 2026-10-0002: 2026-10-0001 should come here",
        ),
        (
            "DELETE FROM statement WHERE number = '2026-10-0002'",
            "has entries in it, and no statement",
        ),
        (
            sql(
                "INSERT INTO statement SELECT '2026-11-0002', period, 't_9', tenant, issuer, entries,",
                "unrated_entries, billed_nanousd, rounding_nanousd FROM statement",
                "WHERE number = '2026-11-0001'",
            ),
            "statement 2026-11-0002: its tenant has nothing in 2026-11",
        ),
        (
            sql(
                "INSERT INTO statement SELECT '2026-12-0001', '2026-12', tenant_id, tenant, issuer, entries,",
                "unrated_entries, billed_nanousd, rounding_nanousd FROM statement",
                "WHERE number = '2026-11-0001'",
            ),
            "there are 4 statements, and 3 were due",
        ),
        (
            "UPDATE ledger_period SET period = '2026-09' WHERE period = '2026-10'",
            "entry 4: its period 2026-11 is not the month of 2026-10-05",
        ),
        (
            "DELETE FROM ledger_period WHERE period = '2026-10'",
            "entry 4: its period 2026-11 is not the month of",
        ),
    ],
)
def test_tampering_is_named(books: Books, change: str, said: str) -> None:
    with tampering(books.engine) as connection:
        connection.execute(text(change))
    assert said in str(verify(books.engine, UTC).fault)


def test_a_month_that_was_closed_out_of_order(books: Books) -> None:
    """A row of a close that no close wrote."""
    with tampering(books.engine) as connection:
        values = "'2027-01', zone, closed_at, closed_by, entries, digest, overridden"
        connection.execute(
            text(f"INSERT INTO ledger_period SELECT {values} FROM ledger_period WHERE period = '2026-11'")
        )
        connection.execute(text("UPDATE chain_head SET closed_through = '2027-01'"))
    assert "entry 6: its period is 2026-12, and 2027-02 was the oldest open one" in str(
        verify(books.engine, UTC).fault
    )
