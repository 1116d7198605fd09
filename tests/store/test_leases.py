"""Leases: what one instance holds no other gets, and nothing is lost when it is given back."""

import random
import threading
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, insert

from proxy.core.budgets import Budget, Payer, Pot, Scope, pot_of
from proxy.core.money import AMOUNT_NANOUSD_MAX
from proxy.core.windows import Window
from proxy.store.database import migrate, open_database, reading, writing
from proxy.store.leases import (
    Answer,
    Order,
    drop_leases,
    empty_leases,
    exchange,
    list_leases,
    live_instances,
    wanted_pots,
)
from proxy.store.schema import budget_window, instance, lease, outbox
from proxy.store.spend import ledger_sums
from tests.store import made
from tests.store.budgeting import NOW, add_budget, book, change_amount, priced, rows

PAYER = Payer("s_1", "t_1", None, "k_1")


def pot(budget: Budget) -> Pot:
    return pot_of(budget, PAYER, made.AT)


def ask(database: Engine, who: str, budget: Budget, *, live: int = 1, **order: Any) -> Answer:
    with writing(database) as connection:
        orders = [Order(pot(budget), budget, **order)]
        return exchange(connection, who, orders, now=NOW, live_instances=live)[pot(budget)]


@pytest.fixture
def budget(database: Engine) -> Budget:
    book(database, made.opened())
    return add_budget(database, amount_nanousd=1_000)


@pytest.mark.parametrize(
    ("live", "need", "most", "granted"),
    [
        (1, 10, 0, 10),
        (1, 10, 900, 250),
        (2, 10, 900, 125),
        (1, 10, 200, 200),
        (1, 600, 900, 600),
        (0, 1, 9, 9),
    ],
)
def test_a_slice(database: Engine, budget: Budget, live: int, need: int, most: int, granted: int) -> None:
    answer = ask(database, "i_1", budget, live=live, need_nanousd=need, most_nanousd=most)
    assert answer == Answer(granted, 0, 0, 1_000, 1_000 - granted, False, False)


def test_a_first_lease_finds_what_was_spent_before(database: Engine) -> None:
    book(database, made.opened(), priced("r1", 900))
    budget = add_budget(database, amount_nanousd=1_000)
    assert ask(database, "i_1", budget, need_nanousd=101).granted_nanousd == 0
    assert ask(database, "i_1", budget, need_nanousd=100) == Answer(100, 0, 900, 1_000, 0, False, False)
    assert [row.payload["percent"] for row in rows(database, outbox)] == [50, 80]


def test_a_budget_that_refuses_since_its_amount_came_down_says_so(database: Engine, budget: Budget) -> None:
    book(database, priced("r1", 700))
    budget = change_amount(database, budget.id, 600)
    ask(database, "i_1", budget)
    assert [row.payload["percent"] for row in rows(database, outbox)] == [50]
    ask(database, "i_1", budget, need_nanousd=1)
    assert [row.payload["percent"] for row in rows(database, outbox)] == [50, 80, 100]


def test_the_largest_amount_there_is(database: Engine, budget: Budget) -> None:
    budget = change_amount(database, budget.id, AMOUNT_NANOUSD_MAX)
    assert ask(database, "i_1", budget, need_nanousd=AMOUNT_NANOUSD_MAX).left_nanousd == 0
    book(database, priced("r1", AMOUNT_NANOUSD_MAX))
    answer = ask(database, "i_1", budget, need_nanousd=1)
    assert (answer.taken_nanousd, answer.left_nanousd) == (AMOUNT_NANOUSD_MAX, 0)
    assert [row.payload["percent"] for row in rows(database, outbox)] == [50, 80, 100]


def test_all_or_nothing_unless_part_will_do(database: Engine, budget: Budget) -> None:
    assert ask(database, "i_1", budget, need_nanousd=1_001).granted_nanousd == 0
    assert rows(database, lease) == []
    answer = ask(database, "i_1", budget, need_nanousd=1_001, partial=True)
    assert (answer.granted_nanousd, answer.left_nanousd) == (1_000, 0)
    assert ask(database, "i_1", budget, need_nanousd=1, partial=True).granted_nanousd == 1_000


def test_what_others_hold_is_wanted_until_they_give(database: Engine, budget: Budget) -> None:
    ask(database, "i_1", budget, need_nanousd=700)
    refused = ask(database, "i_2", budget, need_nanousd=500)
    assert (refused.granted_nanousd, refused.left_nanousd, refused.contended) == (0, 300, True)
    with reading(database) as connection:
        assert wanted_pots(connection, "i_1") == [pot(budget)]
        assert wanted_pots(connection, "i_2") == []
    asked = ask(database, "i_1", budget, need_nanousd=10)
    assert asked.wanted and ask(database, "i_1", budget, give_nanousd=300).wanted
    given = ask(database, "i_1", budget)
    assert (given.wanted, given.granted_nanousd, given.left_nanousd) == (False, 410, 590)
    assert ask(database, "i_2", budget, need_nanousd=500).granted_nanousd == 500


def test_nothing_that_is_taken_can_be_given_back(database: Engine, budget: Budget) -> None:
    ask(database, "i_1", budget, need_nanousd=300)
    book(database, priced("r1", 200))
    answer = ask(database, "i_1", budget, give_nanousd=5_000)
    assert answer == Answer(200, 200, 200, 1_000, 800, False, False)
    assert len(rows(database, lease)) == 1, "the row is kept"


def test_a_lowered_budget_takes_back_what_it_can(database: Engine, budget: Budget) -> None:
    ask(database, "i_1", budget, need_nanousd=600)
    ask(database, "i_2", budget, need_nanousd=300)
    book(database, priced("r1", 100))
    lower = change_amount(database, budget.id, 500)
    first = ask(database, "i_1", lower, need_nanousd=10)
    assert (first.granted_nanousd, first.taken_nanousd, first.left_nanousd) == (200, 100, 0)
    lowest = change_amount(database, budget.id, 50)
    assert ask(database, "i_1", lowest).left_nanousd == -350
    last = ask(database, "i_2", lowest, need_nanousd=1)
    assert (last.granted_nanousd, last.left_nanousd, last.contended) == (0, -50, False)


def test_who_has_not_heard_of_a_raise_keeps_what_is_held(database: Engine, budget: Budget) -> None:
    """Another instance has, and leased all that is new: together that is more than the first one knows of."""
    ask(database, "i_1", budget, need_nanousd=900)
    raised = change_amount(database, budget.id, 2_000)
    assert ask(database, "i_2", raised, need_nanousd=1_000).granted_nanousd == 1_000
    late = ask(database, "i_1", budget, need_nanousd=50)
    assert (late.granted_nanousd, late.limit_nanousd, late.left_nanousd) == (950, 2_000, 50)


def test_an_order_makes_sense(database: Engine, budget: Budget) -> None:
    unlimited = Budget(budget.id, budget.scope, budget.window, None, budget.tenant_id)
    with pytest.raises(ValueError, match="unlimited"):
        ask(database, "i_1", unlimited, need_nanousd=1)
    twice = [Order(pot(budget), budget), Order(pot(budget), budget)]
    with writing(database) as connection, pytest.raises(ValueError, match="one pot"):
        exchange(connection, "i_1", twice, now=NOW, live_instances=1)


def test_the_end_of_an_instance(database: Engine, budget: Budget) -> None:
    ask(database, "i_1", budget, need_nanousd=700)
    ask(database, "i_2", budget, need_nanousd=100)
    book(database, priced("r1", 200))
    row = {"started_at": NOW, "journal_path": "", "version": "1"}
    with writing(database) as connection:
        assert live_instances(connection, NOW) == 1, "at least"
        for name, age in (("i_1", 15), ("i_2", 14), ("i_3", 0)):
            seen = {"id": name, "seen_at": NOW - timedelta(seconds=age)}
            connection.execute(insert(instance).values(row | seen))
        assert live_instances(connection, NOW) == 2
        held = [(one.instance_id, one.reserved_nanousd) for one in list_leases(connection)]
        assert held == [("i_1", 500), ("i_2", 100)]
        assert empty_leases(connection, "i_1") == 500
        assert empty_leases(connection, "i_1") == 0
        assert drop_leases(connection, "i_2") == 100
        assert drop_leases(connection, "i_2") == 0
    assert ask(database, "i_2", budget).left_nanousd == 800


# --- Whatever happens

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["need", "part", "give", "post", "over"]),
        st.integers(0, 2),
        st.integers(0, 600),
        st.integers(0, 600),
    ),
    max_size=12,
)
_names = iter(range(10**9))


class Run:
    """Some instances, one budget, and what should be true of them after every step."""

    def __init__(self, database: Engine, name: str) -> None:
        self.database = database
        self.name = name
        self.tenant = f"t_{name}"
        book(database, made.opened(name, tenant_id=self.tenant))
        self.budget = add_budget(database, f"b_{name}", tenant_id=self.tenant, amount_nanousd=1_000)
        self.pot = pot(self.budget)
        self.overshot = self.posted = 0

    def step(self, what: str, who: str, amount: int, most: int) -> None:
        if what in ("need", "part"):
            part = what == "part"
            ask(self.database, who, self.budget, live=3, need_nanousd=amount, most_nanousd=most, partial=part)
        elif what == "give":
            ask(self.database, who, self.budget, give_nanousd=amount)
        else:
            self.post(who, amount, self.reserved().get(who, 0), over=what == "over")
        self.check()

    def post(self, who: str, amount: int, reserved: int, *, over: bool) -> None:
        cost = amount if over else min(amount, reserved)
        self.overshot += max(0, cost - reserved)
        self.posted += 1
        book(self.database, priced(f"r{self.posted}", cost, self.name), instance_id=who)

    def reserved(self) -> Mapping[str, int]:
        mine = [row for row in rows(self.database, lease) if row.budget_id == self.budget.id]
        assert all(0 <= row.taken_nanousd <= row.granted_nanousd for row in mine)
        return {row.instance_id: row.granted_nanousd - row.taken_nanousd for row in mine}

    def spent(self) -> int:
        found = [row for row in rows(self.database, budget_window) if row.budget_id == self.budget.id]
        with reading(self.database) as connection:
            summed = ledger_sums(connection, {self.pot: self.budget})[self.pot]
        assert [row.spent_nanousd for row in found] in ([], [summed])
        return summed

    def check(self) -> None:
        assert self.spent() + sum(self.reserved().values()) <= 1_000 + self.overshot

    def end(self) -> None:
        for who in ("i_0", "i_1", "i_2"):
            ask(self.database, who, self.budget, give_nanousd=10**9)
        left = ask(self.database, "i_0", self.budget).left_nanousd
        assert left == 1_000 - self.spent(), "what nobody holds is there to be had"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A database for all examples: each has a budget of its own."""
    engine = open_database(f"sqlite:///{tmp_path_factory.mktemp('leases') / 'talkmeter.db'}")
    migrate(engine)
    yield engine
    engine.dispose()


@settings(max_examples=25)
@given(steps=STEPS)
def test_no_money_is_granted_twice_or_lost(shared: Engine, steps: list[tuple[str, int, int, int]]) -> None:
    run = Run(shared, f"s{next(_names)}")
    for what, who, amount, most in steps:
        run.step(what, f"i_{who}", amount, most)
    run.end()


# --- All at once

THREADS = 6
ROUNDS = 25


def test_postings_and_exchanges_at_once(migrated_postgres_url: str) -> None:
    """On connections of their own, in any order of pots: nobody waits for each other, and it adds up."""
    engine = open_database(migrated_postgres_url)
    budgets = [
        add_budget(engine, "b_Zz", Scope.ORGANISATION, Window.LIFETIME, 3_000),
        add_budget(engine, "b_a", amount_nanousd=3_000),
        add_budget(engine, "b_é", amount_nanousd=3_000),
        add_budget(engine, "B_session", window=Window.SESSION, amount_nanousd=60),
        add_budget(engine, "b_hour", window=Window.HOUR, amount_nanousd=3_000),
    ]
    faults: list[BaseException] = []

    def work(number: int) -> None:
        own = open_database(migrated_postgres_url)
        try:
            _spend_some(own, number, budgets)
        except BaseException as fault:  # noqa: BLE001  told to the test's own thread
            faults.append(fault)
        finally:
            own.dispose()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert faults == []
    _adds_up(engine, {budget.id: budget for budget in budgets})
    engine.dispose()


def _spend_some(engine: Engine, number: int, budgets: list[Budget]) -> None:
    dice, who = random.Random(number), f"i_{number}"
    payers = [Payer(f"s_{number}_{n}", "t_1", None, "k_1") for n in range(ROUNDS)]
    for n, payer in enumerate(payers):
        at = made.AT + timedelta(minutes=dice.randrange(-90, 90))
        orders = [Order(pot_of(one, payer, at), one, dice.randrange(50), 100, 300) for one in budgets]
        dice.shuffle(orders)
        with writing(engine) as connection:
            answers = exchange(connection, who, orders, now=NOW, live_instances=THREADS)
        assert all(answer.limit_nanousd >= answer.spent_nanousd for answer in answers.values())
        held = min(answer.granted_nanousd - answer.taken_nanousd for answer in answers.values())
        bills = [
            priced(f"r{m}", dice.randint(0, held // 2), payer.session_id, occurred_at=at) for m in (0, 1)
        ]
        book(engine, made.opened(payer.session_id), *bills, instance_id=who)
        if n % 10 == 9:
            with writing(engine) as connection:
                drop_leases(connection, who)


def _adds_up(engine: Engine, budgets: Mapping[str, Budget]) -> None:
    spent = {Pot(*row[:3]): row.spent_nanousd for row in rows(engine, budget_window)}
    with reading(engine) as connection:
        assert ledger_sums(connection, {one: budgets[one.budget_id] for one in spent}) == spent
    reserved = dict.fromkeys(spent, 0)
    for row in rows(engine, lease):
        reserved[Pot(*row[:3])] += row.granted_nanousd - row.taken_nanousd
    limits = {one: budgets[one.budget_id].amount_nanousd or 0 for one in spent}
    assert all(spent[one] + reserved[one] <= limits[one] for one in spent)
