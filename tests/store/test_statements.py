"""Statements as programs get them; the rounding makes whole cents."""

import pytest
from sqlalchemy import Engine

from proxy.core.usage import Meter
from proxy.store import StoreError
from proxy.store.database import reading
from proxy.store.statements import find_statement, list_statements, rounding_of
from tests.closing import close_month
from tests.ledgers import Books


@pytest.fixture
def books(database: Engine) -> Books:
    books = Books(database)
    for session, tenant in (("s1", "globex"), ("s2", "acme")):
        books.open(session, tenant)
        books.bill(session, f"{session}-r1", {Meter.AUDIO_OUT: 100 if tenant == "acme" else 1_000})
        books.close(session)
    close_month(books.engine, "2026-11", issuer="Voices Ltd")
    return books


@pytest.mark.parametrize(
    ("billed", "rounding"),
    [
        (0, 0),
        (4_999_999, -4_999_999),
        (5_000_000, -5_000_000),
        (15_000_000, 5_000_000),
        (-6_000_000, -4_000_000),
    ],
)
def test_the_rounding_makes_whole_cents_half_to_even(billed: int, rounding: int) -> None:
    assert rounding_of(billed) == rounding
    assert (billed + rounding) % 10_000_000 == 0


def test_they_are_numbered_by_name_without_gaps(books: Books) -> None:
    with reading(books.engine) as connection:
        found = list_statements(connection)
        assert [(one.number, one.tenant) for one in found] == [
            ("2026-11-0001", "acme"),
            ("2026-11-0002", "globex"),
        ]
        assert list_statements(connection, tenant="globex") == found[1:]
        assert list_statements(connection, period="2026-12") == []
        assert list_statements(connection, limit=1) == found[1:]


def test_a_whole_one(books: Books) -> None:
    with reading(books.engine) as connection:
        whole = find_statement(connection, "2026-11-0002")
    told = whole.as_json()
    assert told["billed_usd"] == "0.064000000" and told["rounding_usd"] == "-0.004000000"
    assert (told["total_usd"], told["issuer"], told["zone"]) == ("0.06", "Voices Ltd", "UTC")
    assert (told["starts_at"], told["ends_at"]) == ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z")
    assert [line["billed_usd"] for line in told["lines"]] == ["0.064000000"]
    assert whole.as_csv().count("\n") == 3  # the titles, a line, the rounding


def test_one_that_is_not_there(books: Books) -> None:
    with reading(books.engine) as connection, pytest.raises(StoreError, match="no statement '2026-11-0003'"):
        find_statement(connection, "2026-11-0003")
