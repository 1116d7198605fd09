"""Adjustments and credits: booked once, with a reason, in the chain, and no budget moves."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, func, select, text

from proxy.core.budgets import Scope
from proxy.core.money import AMOUNT_NANOUSD_MAX
from proxy.core.records import Kind
from proxy.core.usage import Meter
from proxy.core.windows import Window
from proxy.store import StoreError
from proxy.store.adjustments import KEY_CHARS_MAX, Adjustment, Booking, book
from proxy.store.audit import REASON_CHARS_MAX, Act, list_audit
from proxy.store.budgets import set_budget
from proxy.store.database import reading, writing
from proxy.store.ledger import find_entry
from proxy.store.reports import CostQuery, run
from proxy.store.schema import budget_window, ledger_entry
from proxy.store.verify import verify
from tests.ledgers import ACT, NOW, Books
from tests.tampering import tampering

BERLIN = ZoneInfo("Europe/Berlin")
CREDIT = Adjustment("outage-7", Kind.CREDIT, "acme", cost_nanousd=0, billed_nanousd=-5_000_000_000)
TRUE_UP = Adjustment("invoice/10", Kind.ADJUSTMENT, "acme", cost_nanousd=-42, billed_nanousd=7)
BECAUSE = Act("cli:finance@desk", NOW, "the invoice says so")


@pytest.fixture
def books(database: Engine) -> Books:
    books = Books(database)
    books.open("s1", project="web")
    books.bill("s1", "r1", {Meter.TEXT_IN: 10})
    books.open("s2", "globex")
    books.bill("s2", "r2", {Meter.TEXT_IN: 10})
    return books


def booked(engine: Engine, wanted: Adjustment, act: Act = BECAUSE) -> Booking:
    with writing(engine) as connection:
        return book(connection, wanted, act, BERLIN)


def entries(engine: Engine) -> int:
    with reading(engine) as connection:
        return connection.execute(select(func.count()).select_from(ledger_entry)).scalar_one()


def test_what_is_booked(books: Books) -> None:
    wanted = replace(
        TRUE_UP, project="web", corrects=1, occurred_at=datetime(2026, 10, 31, 23, 30, tzinfo=UTC)
    )
    assert booked(books.engine, wanted) == Booking(3, new=True)
    with reading(books.engine) as connection:
        entry = find_entry(connection, 3)
        (noted,) = [one for one in list_audit(connection) if one.action == "ledger.adjustment"]
    assert (entry.kind, entry.tenant, entry.project, entry.subject_id) == (
        "adjustment",
        "acme",
        "web",
        "invoice/10",
    )
    assert (entry.cost_nanousd, entry.billed_nanousd, entry.corrects, entry.lines) == (-42, 7, 1, [])
    assert (entry.status_reason, entry.period) == ("the invoice says so", "2026-11")
    assert (noted.object, noted.actor, noted.reason, noted.tenant) == (
        "3",
        BECAUSE.actor,
        BECAUSE.reason,
        "acme",
    )
    assert noted.after is not None and noted.after["billed_nanousd"] == 7
    assert verify(books.engine, BERLIN).fault is None


def test_a_key_books_once(books: Books) -> None:
    first = booked(books.engine, CREDIT)
    later = replace(BECAUSE, at=NOW + timedelta(days=3))
    assert booked(books.engine, CREDIT, later) == Booking(first.entry_id, new=False)
    assert entries(books.engine) == 3


@pytest.mark.parametrize(
    "other",
    [
        replace(CREDIT, billed_nanousd=-1),
        replace(CREDIT, kind=Kind.ADJUSTMENT),
        replace(CREDIT, tenant="globex"),
        replace(CREDIT, project="web"),
        replace(CREDIT, provider="azure"),
        replace(CREDIT, corrects=1),
        replace(CREDIT, occurred_at=NOW - timedelta(days=1)),
    ],
)
def test_a_key_of_something_else_is_refused(books: Books, other: Adjustment) -> None:
    booked(books.engine, CREDIT)
    named = ":" if other.tenant == "globex" else ", entry 3"  # of another tenant nothing is told
    with pytest.raises(StoreError, match=f"'outage-7' was used for something else{named}"):
        booked(books.engine, other)
    assert entries(books.engine) == 3


def test_another_reason_is_something_else_too(books: Books) -> None:
    booked(books.engine, CREDIT)
    with pytest.raises(StoreError, match="something else"):
        booked(books.engine, CREDIT, replace(BECAUSE, reason="goodwill"))


def test_two_at_once_book_one(books: Books) -> None:
    found: list[Booking] = []
    threads = [threading.Thread(target=lambda: found.append(booked(books.engine, CREDIT))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.new for one in found) == [False, False, False, True]
    assert {one.entry_id for one in found} == {3}
    assert verify(books.engine, BERLIN).fault is None


@pytest.mark.parametrize(
    ("wanted", "act", "said"),
    [
        (replace(CREDIT, billed_nanousd=0), BECAUSE, "an amount that is not 0"),
        (replace(TRUE_UP, cost_nanousd=AMOUNT_NANOUSD_MAX + 1), BECAUSE, "an amount"),
        (replace(CREDIT, billed_nanousd=1), BECAUSE, "A credit takes from what the tenant owes"),
        (replace(CREDIT, cost_nanousd=-1), BECAUSE, "A credit takes from what the tenant owes"),
        (replace(CREDIT, key=" "), BECAUSE, "An idempotency key has 1 to"),
        (replace(CREDIT, key="a\nb"), BECAUSE, "An idempotency key has 1 to"),
        (replace(CREDIT, key="k" * (KEY_CHARS_MAX + 1)), BECAUSE, "An idempotency key has 1 to"),
        (replace(CREDIT, provider=""), BECAUSE, "A provider has 1 to"),
        (replace(CREDIT, tenant="nobody"), BECAUSE, "no tenant 'nobody'"),
        (replace(CREDIT, project="none"), BECAUSE, "has no project 'none'"),
        (replace(CREDIT, corrects=2), BECAUSE, "The tenant has no entry 2"),
        (replace(CREDIT, corrects=99), BECAUSE, "The tenant has no entry 99"),
        (replace(CREDIT, occurred_at=NOW + timedelta(seconds=1)), BECAUSE, "has not come yet"),
        (CREDIT, replace(BECAUSE, reason=None), "needs a reason"),
        (CREDIT, replace(BECAUSE, reason=" "), "needs a reason"),
        (CREDIT, replace(BECAUSE, reason="a\x00b"), "printable"),
        (CREDIT, replace(BECAUSE, reason="r" * (REASON_CHARS_MAX + 1)), "printable"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_booked(
    books: Books, wanted: Adjustment, act: Act, said: str
) -> None:
    with pytest.raises(StoreError, match=said):
        booked(books.engine, wanted, act)
    assert entries(books.engine) == 2


def test_no_budget_moves(books: Books) -> None:
    """Neither one that counts already, nor one that starts from what the ledger says."""
    organisation = {"scope": Scope.ORGANISATION, "window": Window.LIFETIME, "amount_nanousd": 10**12}
    with writing(books.engine) as connection:
        set_budget(
            connection, ACT, scope=Scope.TENANT, window=Window.MONTH, amount_nanousd=10**12, tenant="acme"
        )
    books.bill("s1", "r3", {Meter.TEXT_IN: 10})
    booked(books.engine, CREDIT)
    booked(books.engine, TRUE_UP)
    with writing(books.engine) as connection:
        set_budget(connection, ACT, **organisation)  # type: ignore[arg-type]
    books.bill("s1", "r4", {Meter.TEXT_IN: 10})
    with reading(books.engine) as connection:
        spent = connection.execute(select(budget_window.c.spent_nanousd)).scalars().all()
    assert sorted(spent) == [3 * 40_000, 4 * 40_000]
    assert verify(books.engine, UTC).fault is None


def test_reports_count_the_amount_and_nothing_else(books: Books) -> None:
    booked(books.engine, TRUE_UP)
    total = run(books.engine, CostQuery()).total
    assert (total["sessions"], total["responses"], total["unrated_entries"]) == (2, 2, 0)
    assert total["cost_nanousd"] == 2 * 40_000 - 42
    for group in ("kind", "meter", "model", "session", "day"):
        rows = run(books.engine, CostQuery([group])).rows
        assert sum(int(row["cost_nanousd"] or 0) for row in rows) == total["cost_nanousd"]


@pytest.mark.parametrize(
    "change",
    [
        "billed_nanousd = 8",
        "status_reason = 'another'",
        "kind = 'credit'",
        "kind = 'gift'",
        "subject_id = 'invoice/11'",
        "corrects = 2",
    ],
)
def test_tampering_is_named(books: Books, change: str) -> None:
    booked(books.engine, TRUE_UP)
    with tampering(books.engine) as connection:
        connection.execute(text(f"UPDATE ledger_entry SET {change} WHERE id = 3"))
    assert str(verify(books.engine, BERLIN).fault).startswith("entry 3: ")


def test_a_line_under_an_adjustment_is_found(books: Books) -> None:
    booked(books.engine, TRUE_UP)
    with tampering(books.engine) as connection:
        connection.execute(text("UPDATE ledger_line SET entry_id = 3 WHERE entry_id = 1"))
    assert verify(books.engine, BERLIN).fault is not None
