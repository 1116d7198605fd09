"""Closing: in order, once, whole or not at all; and nothing that comes later changes what was stated."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import copyfile
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, func, select, text, update

from proxy.core.money import AMOUNT_NANOUSD_MAX
from proxy.core.periods import month_after
from proxy.core.rating import Price
from proxy.core.records import Kind
from proxy.core.usage import Meter
from proxy.store import StoreError
from proxy.store.adjustments import Adjustment, book
from proxy.store.audit import Act, list_audit
from proxy.store.card_files import NewCard
from proxy.store.chain import chain
from proxy.store.database import migrate, open_database, reading, writing
from proxy.store.filters import EVERYTHING, Filters
from proxy.store.ledger import entries
from proxy.store.prices import import_cards
from proxy.store.reports import CostQuery, run
from proxy.store.rerate import Rerating
from proxy.store.schema import audit, chain_head, ledger_entry, ledger_period, project, statement, tenant
from proxy.store.statements import find_statement, list_statements
from proxy.store.verify import verify
from tests.closing import CLOSING, LATER, close_month, stated
from tests.dying import killing
from tests.ledgers import ACT, MODEL, NOW, Books
from tests.tampering import tampering

BERLIN = ZoneInfo("Europe/Berlin")
OCTOBER = datetime(2026, 10, 5, tzinfo=UTC)
BECAUSE = Act("cli:finance@desk", LATER, "found later")
NEW = "gpt-realtime-9"
UNRATED = {"unrated": "no price yet"}


@pytest.fixture
def books(database: Engine) -> Books:
    """October and November, of two tenants; one entry of October has no price."""
    books = Books(database)
    for session, tenant_name in (("s1", "globex"), ("s2", "acme")):
        books.open(session, tenant_name, "web", at=OCTOBER)
        books.bill(session, f"{session}-r1", {Meter.TEXT_IN: 10, Meter.AUDIO_OUT: 3}, at=OCTOBER)
        books.bill(session, f"{session}-r2", {Meter.TEXT_IN: 10})
        books.close(session)
    books.bill("s2", "s2-r3", {Meter.TEXT_IN: 7}, model=NEW, at=OCTOBER)
    return books


def credit(engine: Engine, key: str = "k", corrects: int | None = None, at: datetime | None = NOW) -> None:
    wanted = Adjustment(key, Kind.CREDIT, "acme", 0, -5_000, occurred_at=at, corrects=corrects)
    with writing(engine) as connection:
        book(connection, wanted, BECAUSE, UTC)


def price(engine: Engine, nanousd: int, model: str = NEW, day: int = 1) -> None:
    card = NewCard(
        "openai", model, datetime(2026, 8, day, tzinfo=UTC), "a test", {Meter.TEXT_IN: Price(nanousd)}
    )
    with writing(engine) as connection:
        import_cards(connection, [card], ACT)


def rerate(engine: Engine, filters: Filters = EVERYTHING) -> int:
    return len(list(Rerating(filters, {}, UTC, BECAUSE).run(engine)))


def shown(engine: Engine) -> list[tuple[int, str, str | None, int | None]]:
    return [(one.id, one.period, one.corrects_period, one.corrects) for one in entries(engine)]


def fault(engine: Engine) -> str | None:
    return verify(engine, UTC).fault


# --- One close


def test_what_a_close_leaves_behind(books: Books) -> None:
    with reading(books.engine) as connection:
        seal = chain(connection).seal
    closed = close_month(books.engine, "2026-10", UNRATED, issuer="Voice Ltd")
    assert (closed.close.seal, closed.statements, closed.close.zone) == (seal, 2, "UTC")
    with reading(books.engine) as connection:
        head = connection.execute(select(chain_head)).one()
        (noted,) = [one for one in list_audit(connection) if one.action == "period.close"]
        found = list_statements(connection)
    assert (head.closed_through, head.period_zone) == ("2026-10", "UTC")
    assert (noted.object, noted.actor) == ("2026-10", CLOSING.actor)
    assert noted.after is not None
    assert (noted.after["seal"], noted.after["statements"], noted.after["zone"]) == (seal, 2, "UTC")
    assert [one["reason"] for one in noted.after["overridden"]] == ["no price yet"]
    assert [(one.number, one.tenant, one.issuer, one.seal) for one in found] == [
        ("2026-10-0001", "acme", "Voice Ltd", seal),
        ("2026-10-0002", "globex", "Voice Ltd", seal),
    ]
    assert fault(books.engine) is None


def test_names_are_as_they_were(books: Books) -> None:
    close_month(books.engine, "2026-10", UNRATED)
    with writing(books.engine) as connection:
        connection.execute(update(tenant).values(name=tenant.c.name + " reborn"))
        connection.execute(update(project).values(name="other"))
    with reading(books.engine) as connection:
        whole = find_statement(connection, "2026-10-0001")
    assert whole.head.tenant == "acme"
    assert {line.project for line in whole.lines} == {"web"}


def test_payers_that_the_catalogue_has_lost_are_named_by_id(books: Books) -> None:
    """As after a restore of yesterday's database, under a journal of today."""
    owner = books.key("acme", "web")
    with tampering(books.engine) as connection:
        for table in ("api_key", "project", "tenant"):
            connection.execute(text(f"DELETE FROM {table}"))
    close_month(books.engine, "2026-10", UNRATED)
    with reading(books.engine) as connection:
        named = {one.tenant_id: one.tenant for one in list_statements(connection)}
    assert named[owner.tenant_id] == owner.tenant_id
    assert fault(books.engine) is None


@pytest.mark.parametrize(
    ("period", "overrides", "said"),
    [
        ("2026-09", {}, "The ledger has nothing in or before 2026-09"),
        ("2026-11", {}, "2026-10 has entries and is open: close it first"),
        ("2027-03", {}, r"2027-03 is not over before 2027-04-01T00:00:00Z, when the month ends in UTC"),
        ("2026-10", {}, r"2026-10 cannot be closed yet:\nunrated: 1 entries have no price.*entry 5: gpt-"),
        ("2026-10", {"everything": "why not"}, "Nothing called 'everything' can be overridden"),
        ("2026-10", {"unrated": " "}, "Say why unrated is overridden"),
        ("2026-10", {"unrated": "a\nb"}, "Say why unrated is overridden"),
        ("2026-10", {"unrated": "r" * 501}, "Say why unrated is overridden"),
    ],
)
def test_what_cannot_be_closed(books: Books, period: str, overrides: dict[str, str], said: str) -> None:
    with pytest.raises(StoreError, match=said):
        close_month(books.engine, period, overrides)
    assert stated(books.engine)[2] == []


def test_a_month_is_over_where_the_books_are_kept(books: Books) -> None:
    act = Act("ann", datetime(2026, 10, 31, 23, 30, tzinfo=UTC))
    with pytest.raises(StoreError, match="is not over before 2026-11-01"):
        close_month(books.engine, "2026-10", UNRATED, act=act)
    assert close_month(books.engine, "2026-10", UNRATED, act=act, zone=BERLIN).close.zone == "Europe/Berlin"


def test_a_closed_month_is_closed(books: Books) -> None:
    close_month(books.engine, "2026-10", UNRATED)
    for period in ("2026-10", "2026-03"):
        with pytest.raises(
            StoreError, match=f"{period} is closed: what concerns it later is booked to 2026-11"
        ):
            close_month(books.engine, period, UNRATED)


def test_months_without_entries_are_closed_with_a_later_one_or_alone(books: Books) -> None:
    for period in ("2026-10", "2026-11", "2027-01"):
        close_month(books.engine, period, UNRATED)
    books.bill("s1", "late", {Meter.TEXT_IN: 1}, at=datetime(2026, 12, 24, tzinfo=UTC))
    assert shown(books.engine)[-1] == (6, "2027-02", "2026-12", None)
    assert fault(books.engine) is None
    close_month(books.engine, "2027-02")
    assert fault(books.engine) is None


def test_a_sum_that_no_statement_can_hold(books: Books) -> None:
    for key in ("a", "b"):
        wanted = Adjustment(key, Kind.ADJUSTMENT, "acme", 0, AMOUNT_NANOUSD_MAX, occurred_at=OCTOBER)
        with writing(books.engine) as connection:
            book(connection, wanted, BECAUSE, UTC)
    with pytest.raises(StoreError, match="What acme owes is more than a statement can hold"):
        close_month(books.engine, "2026-10", UNRATED)


def test_a_ledger_that_does_not_add_up_is_not_closed(books: Books) -> None:
    with tampering(books.engine) as connection:
        connection.execute(text("UPDATE ledger_line SET billed_nanousd = 1 WHERE entry_id = 1"))
    with pytest.raises(StoreError, match="entries of globex do not add up to their lines"):
        close_month(books.engine, "2026-10", UNRATED)


# --- What comes after it


def test_late_usage_is_a_correction(books: Books) -> None:
    close_month(books.engine, "2026-10", UNRATED)
    before = stated(books.engine, "2026-10")
    books.bill("s1", "late", {Meter.TEXT_IN: 10}, at=OCTOBER)
    books.bill("s1", "early", {Meter.TEXT_IN: 10})
    assert shown(books.engine)[-2:] == [(6, "2026-11", "2026-10", None), (7, "2026-11", None, None)]
    assert stated(books.engine, "2026-10") == before
    assert fault(books.engine) is None


def test_rating_again_is_a_correction(books: Books) -> None:
    close_month(books.engine, "2026-10", UNRATED)
    before = stated(books.engine, "2026-10")
    price(books.engine, 9)
    assert rerate(books.engine) == 1
    assert shown(books.engine)[-2:] == [(6, "2026-11", "2026-10", 5), (7, "2026-11", "2026-10", 5)]
    close_month(books.engine, "2026-11")
    price(books.engine, 11, day=2)
    assert rerate(books.engine) == 1
    assert shown(books.engine)[-1] == (9, "2026-12", "2026-11", 7)
    assert stated(books.engine, "2026-10") == before
    assert fault(books.engine) is None


def test_adjustments_are_corrections_of_what_they_concern(books: Books) -> None:
    """Where it occurred, or what it puts right; of what is open, neither."""
    credit(books.engine, "before", corrects=3, at=NOW)
    close_month(books.engine, "2026-10", UNRATED)
    credit(books.engine, "occurred", at=OCTOBER)
    credit(books.engine, "corrects", corrects=3)
    credit(books.engine, "open", corrects=4)
    assert shown(books.engine)[5:] == [
        (6, "2026-11", None, 3),
        (7, "2026-11", "2026-10", None),
        (8, "2026-11", "2026-10", 3),
        (9, "2026-11", None, 4),
    ]
    close_month(books.engine, "2026-11")
    assert shown(books.engine)[5] == (6, "2026-11", None, 3), "October was open when it was booked"
    assert fault(books.engine) is None


def test_reports_by_period_are_what_was_stated(books: Books) -> None:
    close_month(books.engine, "2026-10", UNRATED)
    books.bill("s1", "late", {Meter.TEXT_IN: 10}, at=OCTOBER)
    occurred = Filters(start=OCTOBER, end=OCTOBER + timedelta(days=1))
    assert run(books.engine, CostQuery(filters=occurred)).total["responses"] == 4
    assert run(books.engine, CostQuery(filters=Filters(period="2026-10"))).total["responses"] == 3
    assert run(books.engine, CostQuery(filters=Filters(period="2026-11"))).total["responses"] == 3


def test_a_close_and_postings_take_turns(books: Books) -> None:
    """Whatever the order, each entry is in a month that was open when it was booked."""
    threads = [
        threading.Thread(target=lambda n=n: books.bill("s1", f"t{n}", {Meter.TEXT_IN: n + 1}, at=OCTOBER))
        for n in range(8)
    ]
    threads.insert(4, threading.Thread(target=lambda: close_month(books.engine, "2026-10", UNRATED)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(shown(books.engine)) == 5 + 8
    assert fault(books.engine) is None


# --- kill -9


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_before_any_statement_nothing_is_half_done(books: Books, database_url: str) -> None:
    """On SQLite before each statement of the transaction and before its commit, on PostgreSQL before some."""
    close_month(books.engine, "2026-10", UNRATED)
    credit(books.engine)
    books.bill("s2", "late", at=OCTOBER)
    with reading(books.engine) as connection:
        before = {one: connection.execute(select(one)).all() for one in WRITTEN}
    number, step = 0, 1 if books.engine.dialect.name == "sqlite" else 4
    with killing("tests.store.close_worker", database_url, "2026-11") as kill_at:
        while kill_at(number):
            with reading(books.engine) as connection:
                assert {one: connection.execute(select(one)).all() for one in WRITTEN} == before, number
            number += step
    assert number > 10
    with reading(books.engine) as connection:
        assert chain(connection).closed_through == "2026-11"
        assert [one.number for one in list_statements(connection, period="2026-11")] == [
            "2026-11-0001",
            "2026-11-0002",
        ]
        closes = connection.execute(select(func.count()).where(audit.c.action == "period.close")).scalar_one()
    assert closes == 2
    assert fault(books.engine) is None


WRITTEN = (ledger_period, statement, chain_head, audit)


# --- No sequence of anything changes what was stated


@dataclass
class World:
    """A ledger, and what was stated at each close."""

    engine: Engine
    books: Books
    kept: dict[str, list[Any]] = field(default_factory=dict)
    done: int = 0

    def do(self, step: tuple[Any, ...]) -> None:
        self.done += 1
        match step:
            case ("bill", month, who, quantity, model):
                counts = {Meter.TEXT_IN: quantity} if quantity else None
                at = datetime(2026, month, 1 + quantity % 27, tzinfo=UTC)
                self.books.bill(who, f"r{self.done}", counts, at=at, model=model)
            case ("credit", month, corrects):
                with reading(self.engine) as connection:
                    of = ledger_entry.c.tenant_id == self.books.key("acme").tenant_id
                    own = connection.execute(select(ledger_entry.c.id).where(of)).scalars().all()
                corrected = own[corrects % len(own)] if own and corrects else None
                credit(self.engine, f"k{self.done}", corrected, datetime(2026, month, 3, tzinfo=UTC))
            case ("price", nanousd):
                price(self.engine, nanousd, day=min(28, self.done))
                rerate(self.engine)
            case ("close",):
                self._close()

    def _close(self) -> None:
        with reading(self.engine) as connection:
            has_any = connection.execute(select(func.count()).select_from(ledger_entry)).scalar_one()
            oldest = connection.execute(select(func.min(ledger_entry.c.period))).scalar()
            closed_through = chain(connection).closed_through
        if not has_any:
            return
        period = str(oldest) if closed_through is None else month_after(closed_through)
        close_month(self.engine, period, {"unrated": "a test", "journals": "a test"}, act=FAR)
        self.kept[period] = stated(self.engine, period)

    def check(self) -> None:
        for period, before in self.kept.items():
            assert stated(self.engine, period) == before


FAR = Act("ann", datetime(2029, 1, 1, tzinfo=UTC))
STEPS = st.one_of(
    st.tuples(
        st.just("bill"),
        st.integers(8, 11),
        st.sampled_from(["s1", "s2"]),
        st.integers(0, 1_000),
        st.sampled_from([MODEL, NEW]),
    ),
    st.tuples(st.just("credit"), st.integers(8, 11), st.integers(0, 9)),
    st.tuples(st.just("price"), st.integers(0, 10**6)),
    st.just(("close",)),
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("close") / "template.db"
    engine = open_database(f"sqlite:///{path}", checkpoints=True)
    migrate(engine)
    engine.dispose()
    yield path


@settings(max_examples=40)
@given(steps=st.lists(STEPS, min_size=1, max_size=14))
def test_no_sequence_changes_what_was_stated(template: Path, steps: list[tuple[Any, ...]]) -> None:
    path = template.with_name("example.db")
    for old in path.parent.glob("example.db*"):
        old.unlink()
    copyfile(template, path)
    engine = open_database(f"sqlite:///{path}", checkpoints=True)
    try:
        play(engine, steps)
        assert fault(engine) is None
    finally:
        engine.dispose()


def play(engine: Engine, steps: Sequence[tuple[Any, ...]], then: Callable[[], None] = lambda: None) -> None:
    """Do one step after the other; after each what was stated must be so still, and `then` is called."""
    world = World(engine, Books(engine))
    world.books.open("s1", "acme", at=OCTOBER)
    world.books.open("s2", "globex", at=OCTOBER)
    for step in steps:
        world.do(step)
        world.check()
        then()


def test_a_long_sequence_on_either_database(database: Engine) -> None:
    script: list[tuple[Any, ...]] = [
        ("bill", 8, "s1", 10, MODEL),
        ("bill", 8, "s2", 11, NEW),
        ("bill", 8, "s1", 0, NEW),
        ("close",),
        ("bill", 8, "s2", 12, NEW),
        ("credit", 8, 1),
        ("price", 7),
        ("close",),
        ("price", 9),
        ("credit", 9, 5),
        ("bill", 9, "s1", 30, MODEL),
        ("close",),
        ("bill", 11, "s1", 40, NEW),
        ("bill", 8, "s1", 0, NEW),
        ("price", 0),
        ("close",),
        ("credit", 10, 3),
        ("close",),
    ]

    def verified() -> None:
        assert fault(database) is None

    play(database, script, verified)
