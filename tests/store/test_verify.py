"""Verification: silent about a good ledger, and it names the first thing that is wrong."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, Table, delete, select, text, update

from proxy.core.budgets import Scope
from proxy.core.rating import CONTRACT, Price
from proxy.core.usage import Meter
from proxy.core.windows import Window
from proxy.store.chain import append, lock_chain
from proxy.store.changes import bump
from proxy.store.database import open_database, reading, writing
from proxy.store.filters import Filters
from proxy.store.ledger import find_entry
from proxy.store.markups import set_markup
from proxy.store.prices import load_prices, set_price
from proxy.store.rerate import Rerating
from proxy.store.schema import budget, budget_window, chain_head, ledger_entry, ledger_line, rate_price
from proxy.store.verify import Verdict, verify
from tests.ledgers import ACT, MODEL, NOW, Books
from tests.store.budgeting import add_budget
from tests.tampering import owning, tampering

UTC = ZoneInfo("UTC")


@pytest.fixture
def books(database: Engine) -> Books:
    books = Books(database)
    books.open("s1")
    books.bill("s1", "r1", {Meter.TEXT_IN: 10, Meter.TEXT_OUT: 5})
    books.bill("s1", "r2", {Meter.DURATION_MS: 1_234}, model="whisper-1", status_reason="x", flags=("crash",))
    books.bill("s1", "r3")
    books.bill("s1", "r4", {Meter.TEXT_IN: 10, Meter.UNTOLD_IN: 5})
    books.bill("s1", "r5", {})
    return books


def test_a_good_ledger_adds_up(books: Books) -> None:
    told: list[tuple[int, int]] = []
    assert verify(books.engine, UTC, lambda done, total: told.append((done, total))) == Verdict(5)
    assert told == [(5, 5)]


def test_an_empty_ledger_adds_up(database: Engine) -> None:
    assert verify(database, UTC) == Verdict(0)


def test_long_ledgers_are_read_in_pages(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.store.verify_rows.PAGE_ENTRIES", 2)
    assert verify(books.engine, UTC) == Verdict(5)


def test_what_the_database_cannot_keep_is_no_alarm(books: Books) -> None:
    books.bill("s1", "r6\0", {Meter.TEXT_IN: 10}, model="odd\0model")
    assert verify(books.engine, UTC) == Verdict(6)


def test_the_period_depends_on_the_zone(database: Engine) -> None:
    books = Books(database, ZoneInfo("Asia/Tokyo"))
    books.open("s1")
    books.bill("s1", "r1", {Meter.TEXT_IN: 10}, at=NOW.replace(day=30, hour=20))
    assert verify(database, ZoneInfo("Asia/Tokyo")) == Verdict(1)
    assert "period 2026-12 is not the month of 2026-11-30 20:00 UTC in UTC" in str(
        verify(database, UTC).fault
    )


def first(**values: Any) -> Any:
    return update(ledger_entry).where(ledger_entry.c.id == 1).values(**values)


def line(**values: Any) -> Any:
    wanted = (ledger_line.c.entry_id == 1) & (ledger_line.c.meter == "text_in")
    return update(ledger_line).where(wanted).values(**values)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ([first(cost_nanousd=1)], "entry 1: cost_nanousd is 1, and its lines do not sum to that"),
        ([first(billed_nanousd=1)], "entry 1: billed_nanousd is 1"),
        ([first(list_nanousd=None)], "entry 1: list_nanousd is missing although"),
        ([first(period="2026-10")], "entry 1: its period 2026-10"),
        ([first(status="failed")], "entry 1: what it bills is not what was posted"),
        ([first(model="gpt-realtime-mini")], "entry 1: what it bills is not what was posted"),
        ([first(estimated=True)], "entry 1: what it bills is not what was posted"),
        ([first(subject_id="r9")], "entry 1: its key should be openai/sess_s1/r9/"),
        ([first(role="reversal")], "entry 1: its key should be openai/sess_s1/r1/response/0/reversal"),
        ([line(quantity=11)], "entry 1: text_in: list_nanousd is 40000, and by its prices it is 44000"),
        ([line(quantity=11, list_nanousd=44_000)], "entry 1: text_in: cost_nanousd is 40000"),
        ([line(price_nanousd=4_001)], "entry 1: text_in: its price is not that of rate card card_"),
        ([line(rate_card_id="card_none")], "entry 1: text_in: its price is not that of rate card card_none"),
        ([line(price_nanousd=None)], "entry 1: text_in: an amount without a price"),
        ([line(unit="ms")], "entry 1: text_in: counted in 'ms'"),
        ([line(meter="audio_in")], "entry 1: audio_in: its price is not that of"),
        ([update(rate_price).values(price_nanousd=1)], "entry 1: text_in: its price is not that of"),
        ([delete(ledger_line).where(ledger_line.c.entry_id == 1)], "entry 1: list_nanousd is 160000"),
        (
            [
                delete(ledger_line).where(ledger_line.c.entry_id == 2),
                delete(ledger_entry).where(ledger_entry.c.id == 2),
            ],
            "entry 3: expected entry 2 here",
        ),
        ([update(chain_head).values(entries=6)], "there should be 6 entries, and there are 5"),
        (
            [
                line(quantity=20, list_nanousd=80_000, cost_nanousd=80_000, billed_nanousd=80_000),
                first(list_nanousd=200_000, cost_nanousd=200_000, billed_nanousd=200_000),
            ],
            "entry 1: what it bills is not what was posted",
        ),
    ],
)
def test_what_is_wrong_is_named(books: Books, changes: list[Any], fault: str) -> None:
    with tampering(books.engine) as connection:
        for statement in changes:
            connection.execute(statement)
    assert fault in str(verify(books.engine, UTC).fault)


def test_a_key_that_is_booked_twice_is_named(migrated_postgres_url: str) -> None:
    """Only without its unique index can a key be there twice; SQLite cannot lose that one."""
    engine = open_database(migrated_postgres_url)
    books = Books(engine)
    books.open("s1")
    books.bill("s1", "r1")
    with owning(engine) as connection:
        connection.execute(text("ALTER TABLE ledger_entry DROP CONSTRAINT uq_ledger_entry_entry_key"))
        entry = dict(connection.execute(select(ledger_entry)).mappings().one())
        lines = [dict(line) | {"entry_id": 2} for line in connection.execute(select(ledger_line)).mappings()]
        append(connection, lock_chain(connection), [entry | {"id": 2}], lines, NOW)
    fault = verify(engine, UTC).fault
    engine.dispose()
    assert fault == "the key openai/sess_s1/r1/response/0/original is booked more than once"


def test_counters_of_budgets_add_up(database: Engine) -> None:
    books = Books(database)
    books.open("s1")
    books.bill("s1", "r0", {Meter.TEXT_IN: 7})
    add_budget(database, "b_session", Scope.ORGANISATION, Window.SESSION)
    for name in ("b_1", "b_gone"):
        add_budget(database, name, Scope.ORGANISATION)
    books.bill("s1", "r1", {Meter.TEXT_IN: 5})
    books.bill("s1", "r2", {Meter.TEXT_IN: 1}, at=NOW + timedelta(days=1))
    assert verify(database, UTC).fault is None
    with writing(database) as connection:
        gone = update(budget_window).where(budget_window.c.budget_id == "b_gone")
        connection.execute(gone.values(spent_nanousd=0))
        connection.execute(update(budget).where(budget.c.id == "b_gone").values(deleted_at=NOW))
        bump(connection)
    assert verify(database, UTC).fault is None, "a deleted budget counts no more"
    with writing(database) as connection:
        wrong = update(budget_window).where(budget_window.c.budget_id == "b_session")
        connection.execute(wrong.values(spent_nanousd=14))
    assert verify(database, UTC).fault == (
        "budget b_session: spent_nanousd is 14 in the window of s1 from 1970-01-01 00:00 UTC,"
        " and the ledger sums to 52000"
    )


# --- Amounts that differ


def agree(books: Books) -> None:
    """Give acme a markup and a price of its own, and the installation a contract."""
    since = NOW - timedelta(1)
    with writing(books.engine) as connection:
        acme = books.key("acme").tenant_id
        set_markup(connection, "acme", 1_250, since, ACT)
        for meter, price, owner in ((Meter.TEXT_OUT, 30_000, acme), (Meter.TEXT_IN, 3_000, CONTRACT)):
            set_price(
                connection,
                provider="openai",
                model=MODEL,
                meter=meter,
                price=Price(price),
                effective_from=since,
                act=ACT,
                owner=owner,
            )
        books.prices = load_prices(connection)


@pytest.fixture
def agreed(books: Books) -> Books:
    agree(books)
    books.bill("s1", "r6", {Meter.TEXT_IN: 10, Meter.TEXT_OUT: 5})
    return books


def test_list_cost_and_billed_add_up_by_their_own_prices(agreed: Books) -> None:
    assert verify(agreed.engine, UTC) == Verdict(6)
    with reading(agreed.engine) as connection:
        entry = find_entry(connection, 6)
    assert (entry.list_nanousd, entry.cost_nanousd, entry.billed_nanousd) == (160_000, 150_000, 183_750)
    text_in, text_out = entry.lines
    assert (text_in.list_nanousd, text_in.cost_nanousd, text_in.billed_nanousd) == (40_000, 30_000, 33_750)
    assert (text_out.list_nanousd, text_out.cost_nanousd, text_out.billed_nanousd) == (
        120_000,
        120_000,
        150_000,
    )
    assert entry.markup_bp == 1_250 and entry.public_card_id and entry.agreed_card_id


@pytest.mark.parametrize(
    ("table", "where", "change", "fault"),
    [
        (ledger_entry, "id", {"markup_bp": 1_300}, "entry 6: text_in: billed_nanousd is 33750, and by its"),
        (ledger_entry, "id", {"agreed_card_id": None}, "entry 6: text_out: billed_nanousd is 150000"),
        (ledger_entry, "id", {"agreed_card_id": "card_x"}, "rate card card_x is not there, or is another's"),
        (ledger_entry, "id", {"public_card_id": None}, "entry 6: text_in: list_nanousd is 40000"),
        (ledger_line, "entry_id", {"billed_nanousd": 1}, "entry 6: text_in: billed_nanousd is 1, and by"),
    ],
)
def test_an_amount_that_its_prices_do_not_give_is_found(
    agreed: Books, table: Table, where: str, change: dict[str, Any], fault: str
) -> None:
    with tampering(agreed.engine) as connection:
        connection.execute(update(table).where(table.c[where] == 6).values(change))
    assert fault in str(verify(agreed.engine, UTC).fault)


def test_terms_of_no_effect_on_any_amount_are_sealed_too(books: Books) -> None:
    with tampering(books.engine) as connection:
        connection.execute(update(ledger_entry).where(ledger_entry.c.id == 1).values(markup_bp=0))
    assert "entry 1: what it bills is not what was posted" in str(verify(books.engine, UTC).fault)


def test_rating_again_gives_what_was_booked_the_terms_of_now(books: Books) -> None:
    agree(books)
    act = replace(ACT, reason="agreed since yesterday")
    first, *_ = list(Rerating(Filters(), {}, UTC, act).run(books.engine))
    assert (first.entry_id, first.before_nanousd, first.after_nanousd) == (1, 160_000, 150_000)
    assert first.billed_difference_nanousd == 183_750 - 160_000
    assert verify(books.engine, UTC).fault is None
    assert list(Rerating(Filters(), {}, UTC, act).run(books.engine)) == []
