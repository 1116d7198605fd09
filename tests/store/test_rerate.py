"""Rating again: a diff first, then reversals and replacements, which verify, budgets and reports agree on."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import IntegrityError

from proxy.core.budgets import Scope
from proxy.core.rating import PER_MINUTE, Price
from proxy.core.usage import Meter
from proxy.core.windows import Window
from proxy.store import StoreError, rerate
from proxy.store.audit import Act, list_audit
from proxy.store.budgets import set_budget
from proxy.store.card_files import NewCard
from proxy.store.corrections import Stored, reversal, stored
from proxy.store.database import migrate, open_database, reading, writing
from proxy.store.filters import EVERYTHING, Filters
from proxy.store.ledger import find_entry
from proxy.store.prices import import_cards
from proxy.store.reports import CostQuery, run
from proxy.store.rerate import Change, Rerating
from proxy.store.schema import budget_window, ledger_entry, outbox
from proxy.store.verify import verify
from tests.dying import killing
from tests.ledgers import ACT, MODEL, NOW, Books
from tests.tampering import tampering

BECAUSE = Act("cli:finance@desk", NOW + timedelta(days=1), "the card came late")
NEW = "gpt-realtime-9"
CARD = {Meter.TEXT_IN: Price(7_000), Meter.AUDIO_OUT: Price(64_000)}


@pytest.fixture
def books(database: Engine) -> Books:
    """One response that is rated, one of a model without a card, one whose card lacks a meter."""
    books = Books(database)
    books.open("s1", tags={"team": "a"})
    books.bill("s1", "r1", {Meter.TEXT_IN: 10})
    unpriced: dict[str, Any] = {"flags": ("model_unknown",), "charge_nanousd": 500_000}
    books.bill("s1", "r2", {Meter.TEXT_IN: 10, Meter.AUDIO_OUT: 3}, model=NEW, **unpriced)
    books.bill("s1", "r3", {Meter.DURATION_MS: 1_234}, model=MODEL)
    return books


def price(engine: Engine, prices: dict[Meter, Price], model: str = NEW, since: int = 1) -> None:
    """Import a card that holds from the day `since` of the month on."""
    card = NewCard("openai", model, datetime(2026, 11, since, tzinfo=UTC), "a test", prices)
    with writing(engine) as connection:
        import_cards(connection, [card], ACT)


def changes(engine: Engine, filters: Filters = EVERYTHING, act: Act | None = None) -> list[Change]:
    return list(Rerating(filters, {}, UTC, act).run(engine))


def entries(engine: Engine) -> list[dict[str, Any]]:
    with reading(engine) as connection:
        return [
            dict(row)
            for row in connection.execute(select(ledger_entry).order_by(ledger_entry.c.id)).mappings()
        ]


def test_nothing_differs_where_every_card_was_there(books: Books) -> None:
    assert changes(books.engine) == []
    assert changes(books.engine, act=BECAUSE) == []
    assert len(entries(books.engine)) == 3


def test_a_diff_books_nothing(books: Books) -> None:
    price(books.engine, CARD)
    (change,) = changes(books.engine)
    assert (change.entry_id, change.model, change.before_nanousd) == (2, NEW, None)
    assert change.after_nanousd == change.difference_nanousd == 10 * 7_000 + 3 * 64_000
    assert len(entries(books.engine)) == 3


def test_a_correction_is_a_reversal_and_a_replacement(books: Books) -> None:
    price(books.engine, CARD)
    assert changes(books.engine, act=BECAUSE) == changes_before(books)
    old, back, new = entries(books.engine)[1], *entries(books.engine)[3:]
    assert [(one["role"], one["revision"], one["corrects"]) for one in (old, back, new)] == [
        ("original", 0, None),
        ("reversal", 1, 2),
        ("replacement", 1, 2),
    ]
    assert old["flags"] == back["flags"] == ["model_unknown"] and new["flags"] == []
    assert (back["cost_nanousd"], new["cost_nanousd"], new["billed_nanousd"]) == (None, 262_000, 262_000)
    assert back["charge_nanousd"] == -old["charge_nanousd"] and new["charge_nanousd"] is None
    for name in ("session_id", "tags", "occurred_at", "subject_id", "kind", "status", "tenant_id", "period"):
        assert old[name] == back[name] == new[name]
    with reading(books.engine) as connection:
        lines = [find_entry(connection, number).lines for number in (2, 4, 5)]
        (noted,) = [one for one in list_audit(connection) if one.action == "prices.rerate"]
    assert [[(line.meter, line.quantity) for line in own] for own in lines] == [
        [("audio_out", 3), ("text_in", 10)],
        [("audio_out", -3), ("text_in", -10)],
        [("audio_out", 3), ("text_in", 10)],
    ]
    assert (noted.object, noted.reason) == ("4-5", "the card came late")
    assert noted.tenant_id == old["tenant_id"]
    assert noted.after == {"entries": 1, "cost_nanousd": 262_000, "billed_nanousd": 262_000}
    assert verify(books.engine, UTC).fault is None
    assert changes(books.engine) == []


def changes_before(books: Books) -> list[Change]:
    row = entries(books.engine)[1]
    return [Change(2, row["tenant_id"], NOW, NEW, "response", None, 262_000, None, 262_000)]


def test_a_replacement_can_be_corrected_too(books: Books) -> None:
    price(books.engine, CARD)
    changes(books.engine, act=BECAUSE)
    price(books.engine, {**CARD, Meter.TEXT_IN: Price(8_000)}, since=2)
    (change,) = changes(books.engine, act=BECAUSE)
    assert (change.entry_id, change.before_nanousd, change.after_nanousd) == (5, 262_000, 272_000)
    assert [(one["revision"], one["corrects"]) for one in entries(books.engine)[5:]] == [(2, 5), (2, 5)]
    total = run(books.engine, CostQuery(filters=Filters(model=NEW))).total
    assert (total["cost_nanousd"], total["responses"], total["unrated_entries"]) == (272_000, 1, 0)
    assert (total["text_in"], total["audio_out"]) == (10, 3)
    assert verify(books.engine, UTC).fault is None


def test_a_card_that_says_the_same_makes_no_difference(books: Books) -> None:
    price(books.engine, CARD)
    changes(books.engine, act=BECAUSE)
    price(books.engine, {**CARD, Meter.IMAGE_IN: Price(1)}, since=2)
    assert changes(books.engine) == []


def test_what_stays_unrated_is_charged_anew(books: Books) -> None:
    """A card that prices one meter of two: still no cost, and the flag says why."""
    price(books.engine, {Meter.TEXT_IN: Price(7_000)})
    (change,) = changes(books.engine, act=BECAUSE)
    assert change.after_nanousd is None
    new = entries(books.engine)[-1]
    assert new["flags"] == ["meter_unpriced"] and new["charge_nanousd"] > 0
    assert verify(books.engine, UTC).fault is None


def test_filters_say_what(books: Books) -> None:
    price(books.engine, CARD)
    price(
        books.engine, {Meter.TEXT_IN: Price(5_000), Meter.DURATION_MS: Price(60, PER_MINUTE)}, MODEL, since=2
    )
    assert [one.entry_id for one in changes(books.engine)] == [1, 2, 3]
    assert [one.entry_id for one in changes(books.engine, Filters(unrated=True))] == [2, 3]
    assert [one.entry_id for one in changes(books.engine, Filters(model=MODEL))] == [1, 3]
    assert changes(books.engine, Filters(end=NOW)) == []
    with pytest.raises(StoreError, match="no tenant 'none'"):
        changes(books.engine, Filters(tenant="none"))


def test_pages_end_where_they_should(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rerate, "PAGE_ENTRIES", 2)
    for number in range(4, 8):
        books.bill("s1", f"r{number}", {Meter.TEXT_IN: number}, model=NEW)
    price(books.engine, CARD)
    assert [one.entry_id for one in changes(books.engine)] == [2, 4, 5, 6, 7]
    assert [one.entry_id for one in changes(books.engine, act=BECAUSE)] == [2, 4, 5, 6, 7]
    assert verify(books.engine, UTC).fault is None
    assert changes(books.engine) == []


def test_budgets_follow_in_the_windows_of_the_original(books: Books) -> None:
    """The dearest price was charged before; what it costs is charged now, and crossings are announced."""
    with writing(books.engine) as connection:
        for scope, tenant in ((Scope.ORGANISATION, None), (Scope.TENANT, "acme")):
            set_budget(connection, ACT, scope=scope, window=Window.MONTH, amount_nanousd=10**9, tenant=tenant)
    books.bill("s1", "r4", {Meter.TEXT_IN: 1})
    before = spent(books.engine)
    price(books.engine, {Meter.TEXT_IN: Price(7_000), Meter.AUDIO_OUT: Price(400_000_000)})
    changes(books.engine, act=BECAUSE)
    row = entries(books.engine)[1]
    cost = 70_000 + 3 * 400_000_000
    assert spent(books.engine) == [one - row["charge_nanousd"] + cost for one in before]
    assert verify(books.engine, UTC).fault is None
    with reading(books.engine) as connection:
        kinds = connection.execute(select(outbox.c.kind)).scalars().all()
    assert kinds.count("budget.threshold") == 2 * 3


def spent(engine: Engine) -> list[int]:
    with reading(engine) as connection:
        return list(connection.execute(select(budget_window.c.spent_nanousd)).scalars())


def test_nothing_is_reversed_twice(books: Books) -> None:
    price(books.engine, CARD)
    changes(books.engine, act=BECAUSE)
    with pytest.raises(IntegrityError), tampering(books.engine) as connection:
        names = ", ".join(column.name for column in ledger_entry.c if column.name not in ("id", "entry_key"))
        copied = f"SELECT 6, 'k', {names} FROM ledger_entry WHERE id = 4"
        connection.execute(text(f"INSERT INTO ledger_entry (id, entry_key, {names}) {copied}"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE ledger_entry SET corrects = 1 WHERE id = 4", "entry 4: it does not take back entry 1"),
        (
            "UPDATE ledger_entry SET corrects = 9 WHERE id = 4",
            "entry 4: it corrects entry 9, which is not there",
        ),
        ("UPDATE ledger_entry SET corrects = NULL WHERE id = 5", "entry 5: it corrects entry None"),
        ("UPDATE ledger_entry SET corrects = 3 WHERE id = 5", "entry 5: it does not replace entry 3"),
    ],
)
def test_a_correction_of_something_else_is_found(books: Books, change: str, said: str) -> None:
    price(books.engine, CARD)
    changes(books.engine, act=BECAUSE)
    with tampering(books.engine) as connection:
        connection.execute(text(change))
    assert said in str(verify(books.engine, UTC).fault)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path_factory.mktemp('rerate')}/ledger.db")
    migrate(engine)
    yield engine
    engine.dispose()


COUNTS = st.dictionaries(
    st.sampled_from([Meter.TEXT_IN, Meter.AUDIO_OUT, Meter.DURATION_MS]), st.integers(1, 10**6)
)
PRICES = st.dictionaries(
    st.sampled_from([Meter.TEXT_IN, Meter.AUDIO_OUT, Meter.DURATION_MS]),
    st.builds(Price, st.integers(0, 10**6), st.sampled_from([1, PER_MINUTE])),
    min_size=1,
)


@settings(max_examples=25)
@given(usages=st.lists(COUNTS, min_size=1, max_size=5), cards=st.lists(PRICES, min_size=1, max_size=3))
def test_whatever_cards_come_the_ledger_says_what_the_last_one_does(
    empty: Engine, usages: list[dict[Meter, int]], cards: list[dict[Meter, Price]]
) -> None:
    books = Books(empty)
    with reading(empty) as connection:
        model = f"m{connection.execute(select(func.count()).select_from(ledger_entry)).scalar_one()}"
    books.open(model)
    for number, counts in enumerate(usages):
        books.bill(model, f"{model}-{number}", counts, model=model)
    for day, prices in enumerate(cards, 1):
        price(empty, prices, model, since=day)
        changes(empty, Filters(model=model), BECAUSE)
    costs = [_cost(counts, cards[-1]) for counts in usages]
    total = run(empty, CostQuery(filters=Filters(model=model))).total
    assert total["cost_nanousd"] == sum(cost for cost in costs if cost is not None)
    assert total["unrated_entries"] == costs.count(None)
    assert total["responses"] == len(usages)
    for meter in Meter:
        assert total[meter.value] == sum(counts.get(meter, 0) for counts in usages)
    assert verify(empty, UTC).fault is None


def _cost(counts: dict[Meter, int], prices: dict[Meter, Price]) -> int | None:
    """Straightforwardly: what the card says, each line rounded half to even; a missing price is no cost."""
    if any(meter not in prices for meter in counts):
        return None
    return sum(round_half_even(n * prices[meter].nanousd, prices[meter].per) for meter, n in counts.items())


def round_half_even(numerator: int, denominator: int) -> int:
    below, rest = divmod(numerator, denominator)
    return below + (2 * rest > denominator or (2 * rest == denominator and below % 2 == 1))


def test_reversing_twice_gives_what_was_there(books: Books) -> None:
    with reading(books.engine) as connection:
        everything: list[Stored] = stored(connection, [], 10)
    for one in everything:
        twice = reversal(reversal(one.record))
        assert (twice.lines, twice.cost_nanousd) == (one.record.lines, one.record.cost_nanousd)


def test_each_tenant_has_a_row_of_its_own_in_the_audit_log(books: Books) -> None:
    books.open("s2", "globex")
    for number in range(2):
        books.bill("s2", f"g{number}", {Meter.TEXT_IN: 10}, model=NEW)
    price(books.engine, CARD)
    changes(books.engine, act=BECAUSE)
    with reading(books.engine) as connection:
        noted = [one for one in list_audit(connection) if one.action == "prices.rerate"]
    sums = {one.tenant_id: (one.after["entries"], one.after["cost_nanousd"]) for one in noted if one.after}
    own, others = (entries(books.engine)[number]["tenant_id"] for number in (0, 3))
    assert sums == {own: (1, 262_000), others: (2, 140_000)}


# --- kill -9


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_before_any_statement_nothing_is_half_done(books: Books, database_url: str) -> None:
    """Each run goes on where the one before was killed: what a page has booked is whole, or not there."""
    for number in range(4):
        books.bill("s1", f"more{number}", {Meter.TEXT_IN: 10, Meter.AUDIO_OUT: 3}, model=NEW)
    price(books.engine, CARD)
    number, step, left = 0, 2 if books.engine.dialect.name == "sqlite" else 5, set()
    with killing("tests.store.rerate_worker", database_url) as kill_at:
        while kill_at(number):
            booked = entries(books.engine)
            roles = [one["role"] for one in booked[7:]]
            assert roles == ["reversal", "replacement"] * (len(roles) // 2), number
            with reading(books.engine) as connection:
                noted = [one for one in list_audit(connection) if one.action == "prices.rerate"]
            assert sum(one.after["entries"] for one in noted if one.after) == len(roles) // 2, number
            assert verify(books.engine, UTC).fault is None, number
            left.add(len(roles) // 2)
            number += step
    assert number > 10 and len(left) > 1
    assert changes(books.engine) == [] and verify(books.engine, UTC).fault is None
    assert len(entries(books.engine)) == 7 + 2 * 5
