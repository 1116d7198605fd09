"""Comparisons are kept: what they say of days and rows, what they announce, and how they are found again."""

from datetime import UTC, date, datetime, timedelta
from math import inf
from typing import Any

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import DatabaseError

from proxy.core.bill import Charge, Count
from proxy.core.line_items import Rule
from proxy.core.money import AMOUNT_NANOUSD_MAX
from proxy.core.reconcile import Threshold
from proxy.core.usage import Meter
from proxy.store import NotFound, StoreError, reconciliations
from proxy.store.audit import Act, list_audit
from proxy.store.database import reading, writing
from proxy.store.line_items import set_rule
from proxy.store.pages import Page
from proxy.store.reconciliations import (
    DAYS_MAX,
    Reconciliation,
    Scope,
    Terms,
    TheirSide,
    check_scope,
    compare_bill,
    find_reconciliation,
    last_variance,
    list_reconciliations,
    reconciled_since,
    record,
    rows_of,
    verdicts,
)
from proxy.store.schema import outbox
from tests.ledgers import ACT, MODEL, NOW, Books
from tests.tampering import owning

ON = date(2026, 11, 23)
NEXT = ON + timedelta(days=1)
SCOPE = Scope(ON, NEXT)
READ_AT = datetime(2026, 11, 26, tzinfo=UTC)
TERMS = Terms(timedelta(hours=24), Threshold(1_000, 1))
LINE = f"{MODEL}, audio input"


def charge(nanousd: int, line_item: str = LINE, project: str | None = "proj_a", on: date = ON) -> Charge:
    return Charge(on, project, "key_1", line_item, nanousd)


def said(*charges: Charge, at: datetime = READ_AT, counted: int = 10) -> TheirSide:
    return TheirSide(charges, [Count(ON, "proj_a", MODEL, {Meter.AUDIO_IN: counted})], at)


def run(
    engine: Engine,
    theirs: TheirSide,
    scope: Scope = SCOPE,
    terms: Terms = TERMS,
    aliases: dict[str, str] | None = None,
) -> Reconciliation:
    with reading(engine) as connection:
        rows = compare_bill(connection, scope, terms, theirs, aliases or {})
    with writing(engine) as connection:
        return record(connection, scope, terms, theirs, rows, Act("ann", theirs.at))


def rows(engine: Engine, one: Reconciliation, page: Page | None = None) -> list[dict[str, Any]]:
    with reading(engine) as connection:
        return rows_of(connection, one.id, page) if page else rows_of(connection, one.id)


@pytest.fixture
def books(database: Engine) -> Books:
    """Ten tokens of audio: 320,000 nano-dollars."""
    books = Books(database)
    books.open("s1")
    books.bill("s1", "r1", {Meter.AUDIO_IN: 10})
    return books


def test_what_agrees(books: Books) -> None:
    """Usage of ours that names no project is of the only one that the bill has."""
    made = run(books.engine, said(charge(320_000)))
    (row,) = rows(books.engine, made)
    assert (row["on"], row["project"], row["model"], row["meter"]) == (
        "2026-11-23",
        "proj_a",
        MODEL,
        "audio_in",
    )
    assert (row["ours_quantity"], row["theirs_quantity"], row["keys"]) == (10, 10, {"key_1": 320_000})
    assert (row["ours_nanousd"], row["theirs_usd"], row["unexplained_nanousd"]) == (320_000, "0.000320000", 0)
    (day,) = made.days
    assert day.is_final and not day.is_over and not made.is_over


def test_it_is_found_again_as_it_was(books: Books) -> None:
    first = run(books.engine, said(charge(320_000)), Scope(ON, NEXT, ("proj_a",), ("key_1",)))
    second = run(books.engine, said(charge(1), charge(7, "a surprise")))
    with reading(books.engine) as connection:
        assert find_reconciliation(connection, first.id) == first
        assert list_reconciliations(connection) == [first, second]
        assert list_reconciliations(connection, Page(limit=1, newest_first=True)) == [second]
        noted = [one for one in list_audit(connection) if one.action == "reconciliation.run"]
        with pytest.raises(NotFound, match="no reconciliation 'rec_0'"):
            find_reconciliation(connection, "rec_0")
    assert noted[1].object == second.id and noted[1].after is not None and noted[1].after["is_over"]
    told = second.as_json()
    assert (told["from"], told["to"], told["row_count"], told["delay_s"]) == (
        "2026-11-23",
        "2026-11-24",
        2,
        86_400,
    )
    assert (told["ours_nanousd"], told["theirs_nanousd"], told["difference_nanousd"]) == (
        320_000,
        8,
        -319_992,
    )
    assert told["unexplained_usd"] == "0.000320006" and told["days"][0]["unexplained_nanousd"] == 320_006
    assert [one["line_item"] for one in rows(books.engine, second)] == ["a surprise", None]
    assert [one["number"] for one in rows(books.engine, second, Page(after=(1,), limit=5))] == [2]


def test_a_difference_is_announced_once_and_another_one_again(books: Books) -> None:
    for nanousd in (330_000, 330_000, 325_000, 321_000):
        run(books.engine, said(charge(nanousd)))
    late = said(charge(1), at=datetime(2026, 11, 24, 12, tzinfo=UTC))
    assert not run(books.engine, late).days[0].is_final
    with reading(books.engine) as connection:
        told = connection.execute(select(outbox).order_by(outbox.c.id)).all()
    assert [one.kind for one in told] == ["spend.unexplained"] * 2  # 321,000 is within the 1 %
    assert [one.payload["unexplained_usd"] for one in told] == ["0.000010000", "0.000005000"]
    assert told[0].payload["on"] == "2026-11-23" and told[0].payload["limit_nanousd"] == 3_300


def test_verdicts_are_the_last_ones_after_the_delay(books: Books) -> None:
    with reading(books.engine) as connection:
        assert reconciled_since(connection) is None
    good = said(charge(320_000))
    run(books.engine, said(charge(1)))
    run(books.engine, good, Scope(ON - timedelta(days=2), NEXT))
    run(books.engine, said(charge(1), at=datetime(2026, 11, 24, tzinfo=UTC)))
    with reading(books.engine) as connection:
        found = verdicts(connection, ON - timedelta(days=5), NEXT)
        assert reconciled_since(connection) == ON - timedelta(days=2)
    assert {on: day.is_over for on, day in found.items()} == {
        ON - timedelta(days=2): False,
        ON - timedelta(days=1): False,
        ON: False,
    }


def test_only_some_projects(books: Books) -> None:
    everything = said(charge(320_000), charge(5, project="proj_b"))
    assert len(rows(books.engine, run(books.engine, everything))) == 3  # nobody knows whose ours is
    only = TheirSide([charge(320_000)], (), READ_AT)
    (row,) = rows(books.engine, run(books.engine, only, Scope(ON, NEXT, ("proj_a",))))
    assert (row["project"], row["theirs_quantity"], row["unexplained_nanousd"]) == ("proj_a", None, 0)
    nothing = TheirSide([], (), READ_AT)
    (row,) = rows(books.engine, run(books.engine, nothing, Scope(ON, NEXT, ("proj_b", "proj_c"))))
    assert (row["project"], row["ours_nanousd"], row["unexplained_nanousd"]) == (None, 320_000, -320_000)


def test_rules_and_aliases_decide_what_is_compared(books: Books) -> None:
    books.bill("s1", "r2", {Meter.AUDIO_IN: 5}, model="deployed")
    with writing(books.engine) as connection:
        set_rule(connection, Rule("Voice in", Meter.AUDIO_IN, MODEL), ACT)
        set_rule(connection, Rule("gpt-4o*", None), ACT)
    theirs = said(charge(480_000, "voice in"), charge(99, "gpt-4o, input"), counted=15)
    (row,) = rows(books.engine, run(books.engine, theirs, aliases={"deployed": MODEL}))
    assert (row["ours_quantity"], row["unrated_nanousd"], row["unexplained_nanousd"]) == (15, 160_000, 0)


def test_what_happened_around_midnight_is_read_too(books: Books) -> None:
    books.bill("s1", "r2", {Meter.AUDIO_IN: 4}, at=datetime(2026, 11, 23, 23, 59, 58, tzinfo=UTC))
    made = run(books.engine, said(charge(320_000), charge(128_000, on=NEXT)))
    assert made.days[0].amounts["day_edge"] == -128_000 and made.days[0].amounts["unexplained"] == 0
    assert len(made.days) == 1 == made.rows


def test_what_cannot_be_compared(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    for scope, problem in (
        (Scope(ON, ON), "end before they begin"),
        (Scope(ON - timedelta(days=DAYS_MAX), NEXT), f"At most {DAYS_MAX} days .* these are 93"),
        (Scope(date(2026, 11, 24), date(2026, 11, 25)), "not here yet: compare days up to today, 2026-11-23"),
    ):
        with pytest.raises(StoreError, match=problem):
            check_scope(scope, NOW)
    check_scope(Scope(ON, NEXT), NOW)
    monkeypatch.setattr(reconciliations, "ROWS_MAX", 1)
    with pytest.raises(StoreError, match="2 rows, more than 1: compare fewer days"):
        run(books.engine, said(charge(1), charge(2, "x")))


@pytest.mark.parametrize(
    "theirs",
    [
        said(*[charge(AMOUNT_NANOUSD_MAX)] * 2),
        said(charge(AMOUNT_NANOUSD_MAX, "x"), charge(AMOUNT_NANOUSD_MAX, "y")),
        said(charge(1), counted=10**19),
    ],
)
def test_a_bill_that_no_ledger_can_hold(books: Books, theirs: TheirSide) -> None:
    with pytest.raises(StoreError, match="numbers that no ledger can hold"):
        run(books.engine, theirs)
    with reading(books.engine) as connection:
        assert list_reconciliations(connection) == []


@pytest.mark.parametrize("table", ["reconciliation", "reconciliation_day", "reconciliation_row"])
def test_what_was_said_is_never_changed(books: Books, table: str) -> None:
    run(books.engine, said(charge(1)))
    key = "id" if table == "reconciliation" else "reconciliation_id"
    statements = [f"UPDATE {table} SET {key} = {key}", f"DELETE FROM {table}"]
    if books.engine.dialect.name == "postgresql":
        statements.append(f"TRUNCATE {table} CASCADE")
    else:
        statements.append(f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}")
    for statement in statements:
        with (
            pytest.raises(DatabaseError, match=f"{table.removesuffix('_row')}.* is append-only"),
            owning(books.engine) as connection,
        ):
            connection.execute(text(statement))


def test_many_rows_are_kept_in_their_order(books: Books) -> None:
    charges = [charge(number + 1, f"line {number:04}") for number in range(1_200)]
    made = run(books.engine, said(*charges))
    found = rows(books.engine, made)
    assert made.rows == len(found) == 1_201
    assert [one["number"] for one in found] == list(range(1, 1_202))


def test_the_last_comparison_tells_what_share_is_unexplained(books: Books) -> None:
    """Of all its days; without end where they charge nothing."""

    def last() -> float | None:
        with reading(books.engine) as connection:
            return last_variance(connection)

    assert last() is None
    run(books.engine, said(charge(320_000)))
    assert last() == 0.0
    run(books.engine, said(charge(300_000), charge(100_000, "a surprise"), at=READ_AT + timedelta(hours=1)))
    assert last() == pytest.approx(120_000 / 400_000)
    run(books.engine, said(at=READ_AT + timedelta(hours=2)))
    assert last() == inf
