"""The keeper of leases, on a real database: granted, refused, unknown, shared by two instances."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert, select
from sqlalchemy.exc import OperationalError

from proxy.core.allowance import Allowance, Need
from proxy.core.budgets import Budget, BudgetBook, OnExhausted, OnStoreDown, Pot, Scope
from proxy.core.commands import Ask
from proxy.core.events import BudgetsChanged, CostLook, Event, ResponseAsked
from proxy.core.rating import Amounts
from proxy.core.records import SessionOpened
from proxy.core.refusal import Refusal
from proxy.core.windows import Window
from proxy.store import accounts, lease_keeper, lease_users
from proxy.store.accounts import IDLE_S
from proxy.store.database import reading, writing
from proxy.store.lease_asking import RETRY_S
from proxy.store.lease_keeper import ADMIT_S, ASK_S, BEAT_S, GIVEN_BACK_S, LeaseKeeper
from proxy.store.leases import Order, empty_leases, exchange
from proxy.store.schema import instance, lease
from tests.store import made
from tests.store.budgeting import add_budget, book, priced

pytestmark = pytest.mark.usefixtures("patient")

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
TENANT = Budget("b_1", Scope.TENANT, Window.DAY, 1_000, tenant_id="t_1")
LARGE = replace(TENANT, amount_nanousd=10_000_000)  # so that what is left is not near its end


def facts(session_id: str = "s_1", user: str | None = None) -> SessionOpened:
    return SessionOpened(
        session_id=session_id,
        tenant_id="t_1",
        project_id=None,
        api_key_id="k_1",
        end_user=user,
        tags={},
        provider="openai",
        account=None,
        model="talk",
        opened_at=NOW,
    )


async def nothing() -> None:
    """Everything is posted."""


@asynccontextmanager
async def keeping(
    engine: Engine,
    *budgets: Budget,
    name: str = "i_1",
    told: list[str] | None = None,
    ready: Callable[[], Awaitable[None]] = nothing,
) -> AsyncIterator[LeaseKeeper]:
    """Run a keeper of an instance that the database knows."""
    with writing(engine) as connection:
        if connection.execute(select(instance.c.id).where(instance.c.id == name)).first() is None:
            connection.execute(
                insert(instance).values(id=name, started_at=NOW, seen_at=NOW, journal_path="j", version="0")
            )
    heard = told if told is not None else []
    keeper = LeaseKeeper(engine, name, lambda: NOW, told=lambda answer, seconds: heard.append(answer))
    keeper.book = lambda: BudgetBook.of(budgets, 1)
    running = asyncio.create_task(keeper.run(ready))
    try:
        yield keeper
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await keeper.stop(all_posted=True)


async def admitted(keeper: LeaseKeeper, need: int = 100, **given: str) -> Allowance:
    allowance = await keeper.admit(facts(**given), Amounts.same(need))
    assert isinstance(allowance, Allowance)
    return allowance


async def answered(keeper: LeaseKeeper, allowance: Allowance, amount: int) -> None:
    """Ask for so much to be free, and wait for the answer."""
    done = asyncio.Event()
    keeper.ask(Ask(allowance.needs(Amounts.same(amount)), ResponseAsked()), lambda granted: done.set())
    await done.wait()


@contextmanager
def in_time() -> Iterator[None]:
    """Let nobody wait for longer than in production."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lease_keeper, "ASK_S", ASK_S)
        patch.setattr(lease_keeper, "ADMIT_S", ADMIT_S)
        patch.setattr(lease_keeper, "GIVEN_BACK_S", GIVEN_BACK_S)
        yield


@contextmanager
def away(engine: Engine) -> Iterator[None]:
    """Let the database answer nobody: somebody holds its chain, its windows and its write lock."""
    with writing(engine) as connection, in_time():
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("LOCK TABLE lease, budget_window IN ACCESS EXCLUSIVE MODE")
        yield


@contextmanager
def refusing(engine: Engine) -> Iterator[None]:
    """Let every transaction end before it has begun."""

    def refuse(_connection: object) -> None:
        raise OperationalError("BEGIN", None, OSError("refused"))

    event.listen(engine, "begin", refuse, insert=True)
    try:
        yield
    finally:
        event.remove(engine, "begin", refuse)


@contextmanager
def losing_commits(engine: Engine, is_carried_out: bool) -> Iterator[None]:
    """Let the connection break with each commit, after the database has carried it out or before."""
    dialect = engine.dialect
    commit, broken = dialect.do_commit, dialect.loaded_dbapi.OperationalError("lost")

    def lose(connection: Any) -> None:
        if is_carried_out:
            commit(connection)
        else:
            connection.rollback()
        raise broken

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dialect, "do_commit", lose)
        yield


async def soon(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  a test looks from outside
            await asyncio.sleep(0.01)


def leased(engine: Engine) -> int:
    with reading(engine) as connection:
        rows = connection.execute(select(lease)).all()
    return sum(row.granted_nanousd - row.taken_nanousd for row in rows)


async def test_a_session_is_admitted_with_a_lease_and_it_goes_back_in_the_end(database: Engine) -> None:
    async with keeping(database, TENANT) as keeper:
        allowance = await admitted(keeper)
        (account,) = allowance.accounts
        assert account.free_nanousd >= 100
        assert account.limit_nanousd == 1_000
        assert leased(database) == account.leased_nanousd
        keeper.leave(allowance)
        await soon(lambda: leased(database) == 0)


async def test_what_is_missing_is_asked_for_and_only_the_database_says_no(database: Engine) -> None:
    told: list[str] = []
    async with keeping(database, TENANT, told=told) as keeper:
        allowance = await admitted(keeper)
        await answered(keeper, allowance, 900)
        assert allowance.hold("a", Amounts.same(900)) is None
        await answered(keeper, allowance, 101)
        short = allowance.hold("b", Amounts.same(101))
        assert short is not None
        assert short.refusal.name == "budget_spent"
        assert not short.may_ask(NOW)  # for a moment the no is remembered
        await answered(keeper, allowance, 100)
        assert allowance.hold("b", Amounts.same(100)) is None
        assert told == ["granted", "granted", "refused", "granted"]


async def test_a_no_holds_for_as_much_as_was_asked_for_and_not_for_less(database: Engine) -> None:
    async with keeping(database, TENANT) as keeper:
        allowance = await admitted(keeper)
        await answered(keeper, allowance, 900)
        assert allowance.hold("a", Amounts.same(900)) is None
        assert isinstance(await keeper.admit(facts("s_2"), Amounts.same(101)), Refusal)
        await admitted(keeper, 100, session_id="s_3")


async def test_who_can_do_with_less_waits_for_that_from_others(database: Engine) -> None:
    """Not for all of it, and not content with the little that the database has."""
    async with keeping(database, TENANT) as one, keeping(database, TENANT, name="i_2") as other:
        spare = await admitted(other, 500)
        asking = await admitted(one, 100)
        assert asking.hold("a", Amounts.same(100)) is None
        (account,) = asking.accounts
        done = asyncio.Event()
        one.ask(Ask((Need(account, 2_000, 600),), BudgetsChanged()), lambda granted: done.set())
        await done.wait()
        assert account.free_nanousd >= 600
        assert leased(database) <= 1_000
        other.leave(spare)
        one.leave(asking)


async def test_a_new_lease_is_whole_though_the_last_run_had_spent_from_its_own(database: Engine) -> None:
    """A session may come before that is posted."""
    posted = asyncio.Event()
    add_budget(database, amount_nanousd=1_000)
    with writing(database) as connection:
        order = Order(Pot("b_1", "", NOW.replace(hour=0)), TENANT, need_nanousd=700)
        exchange(connection, "i_1", [order], now=NOW, live_instances=1)
    book(database, made.opened("s_0", tenant_id="t_1", api_key_id="k_1"), instance_id="i_0")
    spent = priced("r1", 700, "s_0", occurred_at=NOW)

    async def ready() -> None:
        await posted.wait()
        keeper.posted(book(database, spent))
        await asyncio.sleep(0.01)

    async with keeping(database, TENANT, ready=ready) as keeper:
        admission = asyncio.create_task(admitted(keeper, 100))
        await asyncio.sleep(0.05)
        posted.set()
        allowance = await admission
        assert leased(database) <= 300
        keeper.leave(allowance)


async def test_a_spent_budget_admits_nobody(database: Engine) -> None:
    async with keeping(database, replace(TENANT, amount_nanousd=99)) as keeper:
        refusal = await keeper.admit(facts(), Amounts.same(100))
        assert isinstance(refusal, Refusal)
        assert (refusal.http_status, refusal.name) == (402, "budget_spent")


async def test_all_who_wait_share_what_there_is_the_first_one_first(database: Engine) -> None:
    async with keeping(database, TENANT) as keeper:
        allowance = await admitted(keeper, 10)
        held: list[int] = []

        def take(key: int) -> None:
            if allowance.hold(str(key), Amounts.same(300)) is None:
                held.append(key)

        for key in range(5):
            ask = Ask(allowance.needs(Amounts.same(300)), BudgetsChanged())
            keeper.ask(ask, lambda granted, key=key: take(key))  # type: ignore[misc]
        await soon(lambda: len(held) == 3)
        await asyncio.sleep(0.3)
        assert held == [0, 1, 2]


@pytest.mark.parametrize(
    ("policy", "allowed", "is_held"),
    [
        (OnStoreDown.TERMINATE, 0, False),
        (OnStoreDown.CONTINUE, 5_000, True),
        (OnStoreDown.CONTINUE, 100, False),
    ],
)
async def test_when_the_database_does_not_answer_the_budget_says_what_then(
    database: Engine, policy: OnStoreDown, allowed: int, is_held: bool
) -> None:
    budget = replace(TENANT, on_store_down=policy, store_down_nanousd=allowed)
    told: list[str] = []
    async with keeping(database, budget, told=told) as keeper:
        allowance = await admitted(keeper)
        with away(database):
            await answered(keeper, allowance, 600)
            short = allowance.hold("a", Amounts.same(600))
        assert (short is None) == is_held
        assert told[-1] == "unknown"
        if short is not None:
            assert short.refusal.name == "budget_unknown"
        await soon(lambda: not allowance.accounts[0].is_unknown and leased(database) <= 1_000)
        await soon(lambda: allowance.accounts[0].leased_nanousd == leased(database))


async def test_an_unspent_lease_outlasts_an_outage_however_long_nobody_speaks(
    database: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What was to be given back when it began was not, and is here still; nothing is given back in it."""
    told: list[str] = []
    async with keeping(database, LARGE, told=told) as keeper:
        allowance = await admitted(keeper, 1_000)
        (account,) = allowance.accounts
        monkeypatch.setattr(accounts, "IDLE_S", 0.2)
        with refusing(database):
            await soon(lambda: "budgets cannot be leased" in caplog.text)
            for _ in range(30):
                await asyncio.sleep(0.05)
                assert account.free_nanousd == 1_000
        assert allowance.hold("a", Amounts.same(1_000)) is None
        assert leased(database) == 1_000
        allowance.void("a")
        await soon(lambda: account.leased_nanousd == leased(database) == 0)


async def test_what_is_on_its_way_back_can_be_spent_while_the_database_does_not_answer(
    database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows yet that it is down: the exchange waits for it, and is called off."""
    told: list[str] = []
    async with keeping(database, LARGE, told=told) as keeper:
        allowance = await admitted(keeper, 1_000)
        (account,) = allowance.accounts
        with away(database):
            monkeypatch.setattr(accounts, "IDLE_S", 0.2)
            await soon(lambda: account.free_nanousd == 0)
            monkeypatch.setattr(accounts, "IDLE_S", IDLE_S)
            await answered(keeper, allowance, 600)
            assert (told[-1], account.free_nanousd) == ("granted", 1_000)
            assert allowance.hold("a", Amounts.same(600)) is None
        await asyncio.sleep(2 * BEAT_S)
        assert account.leased_nanousd == leased(database) >= 1_000
        allowance.void("a")
        keeper.leave(allowance)
        await soon(lambda: leased(database) == 0)


@pytest.mark.parametrize("is_carried_out", [True, False])
async def test_what_a_lost_commit_may_have_given_back_is_not_spent_until_the_row_is_read(
    database: Engine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    is_carried_out: bool,
) -> None:
    async with keeping(database, LARGE) as keeper:
        allowance = await admitted(keeper, 1_000)
        (account,) = allowance.accounts
        with losing_commits(database, is_carried_out):
            monkeypatch.setattr(accounts, "IDLE_S", 0.2)
            await soon(lambda: "budgets cannot be leased" in caplog.text)
            await asyncio.sleep(2 * BEAT_S)
            assert account.free_nanousd == 0
        if not is_carried_out:
            await soon(lambda: allowance.hold("a", Amounts.same(1_000)) is None)
            allowance.void("a")
        await soon(lambda: account.leased_nanousd == leased(database) == 0)


async def test_under_retry_the_database_is_waited_for(database: Engine) -> None:
    budget = replace(TENANT, on_store_down=OnStoreDown.RETRY)
    async with keeping(database, budget) as keeper:
        allowance = await admitted(keeper)
        with away(database):
            asking = asyncio.create_task(answered(keeper, allowance, 600))
            await asyncio.sleep(0.5)
            assert not asking.done()
        await asking
        assert allowance.hold("a", Amounts.same(600)) is None


async def test_under_retry_what_runs_waits_no_longer_than_under_the_other_policies(
    database: Engine,
) -> None:
    """The upstream goes on generating meanwhile."""
    budget = replace(TENANT, on_store_down=OnStoreDown.RETRY)
    told: list[str] = []
    async with keeping(database, budget, told=told) as keeper:
        allowance = await admitted(keeper)
        with away(database):
            answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            keeper.ask(Ask(allowance.needs(Amounts.same(600)), CostLook("r1")), answer.set_result)
            async with asyncio.timeout(2 * ASK_S):
                assert await answer is False
        assert told[-1] == "unknown"


async def test_under_retry_who_wants_to_be_let_in_waits_for_the_database_too(
    database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = replace(TENANT, on_store_down=OnStoreDown.RETRY)
    async with keeping(database, budget) as keeper:
        await admitted(keeper)
        with away(database):
            monkeypatch.setattr(lease_keeper, "ADMIT_S", 0.2)
            admission = asyncio.create_task(admitted(keeper, 600, session_id="s_2"))
            await asyncio.sleep(0.5)
            assert not admission.done()
        await admission


async def test_under_retry_others_are_waited_for_only_as_long_as_ever_once_the_database_answers(
    database: Engine,
) -> None:
    """Another instance has leased the rest, and does not say whether it holds it."""
    told: list[str] = []
    async with keeping(database, replace(TENANT, on_store_down=OnStoreDown.RETRY), told=told) as keeper:
        allowance = await admitted(keeper)
        pot = allowance.accounts[0].pot
        with writing(database) as connection:
            order = Order(pot, TENANT, need_nanousd=500)
            exchange(connection, "i_2", [order], now=NOW, live_instances=1)
        with away(database):
            asking = asyncio.create_task(answered(keeper, allowance, 900))
            await asyncio.sleep(GIVEN_BACK_S + 0.2)
            assert not asking.done()
            began_s = time.monotonic()
        with in_time():
            await asking
        assert told[-1] == "refused"
        assert time.monotonic() - began_s < RETRY_S - GIVEN_BACK_S - 0.5


async def test_without_the_database_nobody_new_is_admitted_to_a_budget(database: Engine) -> None:
    async with keeping(database, TENANT) as keeper:
        await admitted(keeper)
        with away(database):
            refusal = await keeper.admit(facts("s_2"), Amounts.same(500))
        assert isinstance(refusal, Refusal)
        assert (refusal.http_status, refusal.name) == (503, "budget_unknown")


async def test_what_lies_unheld_at_another_instance_comes_back_when_it_is_needed(database: Engine) -> None:
    async with keeping(database, TENANT) as first, keeping(database, TENANT, name="i_2") as second:
        rich = await admitted(first)
        poor = await admitted(second, 100, session_id="s_2")
        await answered(first, rich, 700)
        rich.hold("a", Amounts.same(200))
        await answered(second, poor, 600)
        assert poor.hold("b", Amounts.same(600)) is None
        with in_time():
            await answered(second, poor, 300)
        assert poor.hold("c", Amounts.same(300)) is not None
        assert rich.hold("d", Amounts.same(300)) is not None


async def test_a_start_drops_what_the_last_run_left_behind(database: Engine) -> None:
    row = {"budget_id": "b_1", "subject": "", "starts_at": NOW.replace(hour=0), "wanted": False}
    with writing(database) as connection:
        for name in ("i_1", "i_dead"):
            connection.execute(
                insert(lease).values(instance_id=name, granted_nanousd=300, taken_nanousd=50, **row)
            )
    async with keeping(database, TENANT) as keeper:
        allowance = await admitted(keeper, 750)
        await answered(keeper, allowance, 750)
        assert allowance.hold("a", Amounts.same(750)) is None
        with in_time():
            await answered(keeper, allowance, 1)
        assert allowance.hold("b", Amounts.same(1)) is not None  # 250 are still counted for the one that died


async def test_an_instance_that_was_written_off_and_lives_finds_what_it_has_lost(database: Engine) -> None:
    add_budget(database, amount_nanousd=1_000)
    book(database, made.opened("s_1", tenant_id="t_1", api_key_id="k_1"))
    async with keeping(database, TENANT) as keeper:
        allowance = await admitted(keeper)
        (account,) = allowance.accounts
        await answered(keeper, allowance, 700)
        bill = priced("r1", 300, "s_1", occurred_at=NOW)
        assert allowance.hold("r1", Amounts.same(700)) is None
        allowance.settle("r1", Amounts.same(300), bill.entry_key)
        assert allowance.hold("r2", Amounts.same(400)) is None
        keeper.posted(book(database, bill))
        await soon(lambda: account.spent_nanousd == 300)
        with writing(database) as connection:
            assert empty_leases(connection, "i_1") == 400, "since it was taken for dead, and is not"
        keeper.book = lambda: BudgetBook.of([replace(TENANT, amount_nanousd=900)], 2)
        await soon(lambda: account.limit_nanousd == 900)
        assert allowance.left("r2").billed_nanousd == 0
        allowance.void("r2")
        assert account.leased_nanousd == leased(database) == 0
        await answered(keeper, allowance, 600)
        assert allowance.hold("r3", Amounts.same(600)) is None
        assert account.leased_nanousd == leased(database) == 600
        keeper.leave(allowance)
        await soon(lambda: leased(database) == 0)


async def test_an_instance_that_was_forgotten_and_goes_on_hears_of_it_with_its_next_bill(
    database: Engine,
) -> None:
    """It was only cut off. Bills take nothing from its lease any more: it would spend it again and again."""
    large = replace(TENANT, amount_nanousd=1_000_000)
    add_budget(database, amount_nanousd=1_000_000)
    book(database, made.opened("s_1", tenant_id="t_1", api_key_id="k_1"))
    async with keeping(database, large) as keeper:
        allowance = await admitted(keeper)
        (account,) = allowance.accounts
        await answered(keeper, allowance, 700)
        with writing(database) as connection:
            assert empty_leases(connection, "i_1") == account.leased_nanousd
        for n in range(3):
            bill = priced(f"r{n}", 300, "s_1", occurred_at=NOW)
            assert allowance.hold(f"r{n}", Amounts.same(300)) is None
            allowance.settle(f"r{n}", Amounts.same(300), bill.entry_key)
            keeper.posted(book(database, bill))
            await soon(lambda: account.unposted_nanousd == 0)
        await asyncio.sleep(1)  # well before what is idle goes back
        assert account.leased_nanousd == leased(database)


async def test_a_book_that_is_another_one_is_looked_at_at_once(database: Engine) -> None:
    async with keeping(database, TENANT) as keeper:
        allowance = await admitted(keeper)
        await asyncio.to_thread(keeper.look)
        assert allowance.accounts[0].limit_nanousd == 1_000
        keeper.book = lambda: BudgetBook.of([replace(TENANT, amount_nanousd=900)], 2)
        await asyncio.to_thread(keeper.look)
        await soon(lambda: allowance.accounts[0].limit_nanousd == 900)
    keeper.look()  # the end of the loop may come before the catalogue's


async def test_a_lowered_budget_reaches_what_is_held(database: Engine) -> None:
    async with keeping(database, TENANT) as keeper:
        allowance = await admitted(keeper)
        await answered(keeper, allowance, 800)
        allowance.hold("a", Amounts.same(800))
        lowered = replace(TENANT, amount_nanousd=300)
        keeper.book = lambda: BudgetBook.of([lowered], 2)
        assert keeper.refresh(allowance, NOW)
        await soon(lambda: allowance.left("a").billed_nanousd == 300)
        assert keeper.refresh(allowance, NOW)  # so what runs is looked at
        assert not keeper.refresh(allowance, NOW)


@pytest.mark.parametrize("policy", [OnStoreDown.TERMINATE, OnStoreDown.RETRY])
@pytest.mark.parametrize(
    ("again", "is_granted"), [(ResponseAsked(), True), (CostLook("r1"), False)], ids=["request", "response"]
)
async def test_what_others_give_back_is_waited_for_where_nothing_runs_meanwhile(
    database: Engine, again: Event, is_granted: bool, policy: OnStoreDown
) -> None:
    """Another instance holds nothing of its lease, and is slow to say so."""
    pot = Pot("b_1", "", NOW.replace(hour=0))
    async with keeping(database, replace(TENANT, on_store_down=policy)) as keeper:
        allowance = await admitted(keeper)
        with writing(database) as connection:
            connection.execute(
                insert(instance).values(id="i_2", started_at=NOW, seen_at=NOW, journal_path="k", version="0")
            )
            for order in (
                Order(pot, TENANT, need_nanousd=1, most_nanousd=0),
                Order(pot, TENANT, need_nanousd=649),
            ):
                exchange(connection, "i_2", [order], now=NOW, live_instances=2)
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        with in_time():
            keeper.ask(Ask(allowance.needs(Amounts.same(900)), again), answer.set_result)
            await asyncio.sleep(2 * ASK_S)
        assert answer.done() is not is_granted
        with writing(database) as connection:
            exchange(connection, "i_2", [Order(pot, TENANT, give_nanousd=650)], now=NOW, live_instances=2)
        assert await answer is is_granted


async def test_an_end_user_is_known_from_the_first_session_or_when_a_budget_asks(database: Engine) -> None:
    each = replace(TENANT, id="b_2", scope=Scope.EACH_USER, amount_nanousd=500)
    async with keeping(database, TENANT) as keeper:
        early = await admitted(keeper, user="bob")
        assert [one.budget.id for one in early.accounts] == ["b_1"]
        keeper.book = lambda: BudgetBook.of([TENANT, each], 2)
        late = await admitted(keeper, user="bob", session_id="s_2")

        def is_enclosed() -> bool:
            keeper.refresh(early, NOW)
            return len(early.accounts) == 2

        await soon(is_enclosed)
        assert early.accounts[1] is late.accounts[1]
        other = await admitted(keeper, user="ann", session_id="s_3")
        assert other.accounts[1] is not late.accounts[1]
        assert len((await admitted(keeper, session_id="s_4")).accounts) == 1


async def test_who_is_talking_already_is_looked_up_as_soon_as_a_budget_wants_to_know(
    database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them, some at a time, before anybody looks at a session: it is enclosed the first time."""
    monkeypatch.setattr(lease_users, "USERS_AT_ONCE_MAX", 2)
    each = replace(TENANT, id="b_2", scope=Scope.EACH_USER, amount_nanousd=500)
    async with keeping(database, TENANT) as keeper:
        gone = await admitted(keeper, user="cid", session_id="s_0")
        keeper.leave(gone)
        live = [await admitted(keeper, user=f"bob {n % 4}", session_id=f"s_{n}") for n in range(1, 6)]
        keeper.book = lambda: BudgetBook.of([TENANT, each], 2)
        began_s = time.monotonic()
        keeper.look()
        await soon(lambda: all(one.payer and one.payer.end_user_id for one in live))
        assert time.monotonic() - began_s < BEAT_S, "nobody waits for a beat"
        for one in live:
            assert keeper.refresh(one, NOW)
            assert [account.budget.id for account in one.accounts] == ["b_1", "b_2"]
            assert not keeper.refresh(one, NOW)
        assert live[0].accounts[1] is live[4].accounts[1]
        assert gone.payer is not None
        assert gone.payer.end_user_id is None


@pytest.mark.parametrize(
    ("terms", "is_let_in"),
    [
        ({"on_store_down": OnStoreDown.CONTINUE, "store_down_nanousd": 500}, True),
        ({"on_exhausted": OnExhausted.NOTIFY}, True),
        ({"on_store_down": OnStoreDown.RETRY}, False),
        ({}, False),
    ],
    ids=["continue", "notify", "retry", "terminate"],
)
async def test_an_end_user_who_is_not_known_in_an_outage_is_let_in_where_no_budget_of_theirs_minds(
    database: Engine, terms: dict[str, Any], is_let_in: bool
) -> None:
    """Their own account is found when the database is back."""
    going_on = replace(LARGE, on_store_down=OnStoreDown.CONTINUE, store_down_nanousd=500)
    each = replace(going_on, id="b_2", scope=Scope.EACH_USER)
    theirs = replace(LARGE, id="b_3", scope=Scope.END_USER, end_user_id="u_1", **terms)
    async with keeping(database, going_on, each, theirs) as keeper:
        before = await admitted(keeper, user="ann")
        with refusing(database):
            late = await keeper.admit(facts("s_2", "bob"), Amounts.same(100))
            assert isinstance(await keeper.admit(facts("s_3", "ann"), Amounts.same(100)), Allowance)
            if isinstance(late, Refusal):
                assert (late.http_status, is_let_in) == (503, False)
                return
            assert is_let_in
            assert [one.budget.id for one in late.accounts] == ["b_1"]
            assert late.hold("a", Amounts.same(100)) is None
        await soon(lambda: late.payer is not None and late.payer.end_user_id is not None)
        assert keeper.refresh(late, NOW)
        assert [one.budget.id for one in late.accounts] == ["b_1", "b_2"]
        assert late.accounts[1].held_nanousd == 100
        assert late.accounts[1] is not before.accounts[1]


async def test_budgets_that_only_tell_have_no_lease(database: Engine) -> None:
    async with keeping(database, replace(TENANT, on_exhausted=OnExhausted.NOTIFY)) as keeper:
        allowance = await admitted(keeper, 10_000)
        assert (allowance.accounts, allowance.is_priced_only) == ([], True)
        assert allowance.needs(Amounts.same(5)) == ()
        assert leased(database) == 0


async def test_who_is_let_in_is_decided_when_the_answer_comes(database: Engine) -> None:
    """So near its end that what nobody holds goes back at once, before the admitted one wakes up."""
    async with keeping(database, TENANT) as keeper:
        assert isinstance(await keeper.admit(facts(), Amounts.same(900)), Allowance)


async def test_a_budget_without_an_end_any_more_gives_its_lease_back_and_may_have_one_again(
    database: Engine,
) -> None:
    async with keeping(database, TENANT) as keeper:
        allowance = await admitted(keeper)
        keeper.book = lambda: BudgetBook.of([replace(TENANT, amount_nanousd=None)], 2)
        assert keeper.refresh(allowance, NOW)
        assert allowance.accounts == []
        await soon(lambda: leased(database) == 0)
        keeper.book = lambda: BudgetBook.of([TENANT], 3)
        assert len((await admitted(keeper, session_id="s_2")).accounts) == 1
