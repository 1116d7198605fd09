"""The accounts of an instance: what each asks of the database, and what it does with the answer."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from proxy.core.allowance import Account, Allowance, Need
from proxy.core.budgets import Budget, BudgetBook, OnExhausted, OnStoreDown, Payer, Pot, Raise, Scope
from proxy.core.rating import Amounts
from proxy.core.windows import Window
from proxy.store.accounts import IDLE_S, Accounts, Wish
from proxy.store.leases import Answer, Order
from proxy.store.posting import Posting
from proxy.store.spend import Charge

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
TENANT = Budget("b_1", Scope.TENANT, Window.DAY, 1_000, tenant_id="t_1")
PAYER = Payer("s_1", "t_1", None, "k_1")
POT = Pot("b_1", "", datetime(2026, 11, 26, tzinfo=UTC))


class Stage:
    """One session and its accounts."""

    def __init__(self, *budgets: Budget) -> None:
        self.accounts = Accounts()
        self.now_s = 0.0
        self.granted: dict[Pot, int] = {}
        self.session = Allowance(payer=PAYER, unposted=self.accounts.unposted)
        self.enclose(*budgets)

    def enclose(self, *budgets: Budget, now: datetime = NOW) -> None:
        self.accounts.enclose(self.session, BudgetBook.of(budgets, 1), now, self.now_s)

    def orders(self, wish: Wish | None = None, now: datetime = NOW) -> list[Order]:
        return self.accounts.orders({POT: wish} if wish else {}, now, self.now_s)

    def lease(self, amount: int, left: int = 10_000, limit: int = 1_000) -> None:
        """Let the next exchange grant `amount`, of which so much is then left."""
        (order,) = self.orders(Wish(amount, False))
        self.answer(order, amount, left, limit)

    def answer(self, order: Order, given: int, left: int = 10_000, limit: int = 1_000) -> None:
        granted = self.granted[order.pot] = self.granted.get(order.pot, 0) + given - order.give_nanousd
        self.accounts.take_over(order, Answer(granted, 0, 0, limit, left, contended=False, wanted=False))

    @property
    def account(self) -> Account:
        return self.session.accounts[0]


def test_a_new_account_asks_for_what_is_wished_and_holds_what_is_granted() -> None:
    it = Stage(TENANT)
    (order,) = it.orders(Wish(300, False))
    assert (order.pot, order.need_nanousd, order.give_nanousd, order.partial) == (POT, 300, 0, False)
    it.answer(order, 300)
    assert it.account.free_nanousd == 300
    assert it.session.hold("a", Amounts.same(300)) is None


def test_only_budgets_with_an_amount_and_an_end_have_accounts() -> None:
    unlimited = replace(TENANT, id="b_2", amount_nanousd=None)
    told = replace(TENANT, id="b_3", on_exhausted=OnExhausted.NOTIFY)
    it = Stage(unlimited)
    assert (list(it.session.accounts), it.session.is_priced_only) == ([], False)
    it.enclose(unlimited, told)
    assert (list(it.session.accounts), it.session.is_priced_only) == ([], True)


def test_below_half_a_slice_more_is_asked_for_while_money_moves() -> None:
    it = Stage(TENANT)
    it.lease(400)
    it.session.hold("a", Amounts.same(201))
    it.now_s = 1.0
    (order,) = it.orders()
    assert (order.need_nanousd, order.partial) == (201, True)
    it.account.refused_until = NOW + timedelta(seconds=1)
    assert it.orders() == []


def test_a_slice_grows_with_how_soon_the_last_one_was_used_up() -> None:
    it = Stage(TENANT)
    it.lease(100)
    for at_s, most in ((0.1, 400), (0.3, 400), (30.0, 300)):  # the last is what a rate of 300 in 30 s makes
        it.now_s, it.account.held_nanousd = at_s, it.account.leased_nanousd
        (order,) = it.orders(Wish(100, False))
        assert (order.need_nanousd, order.most_nanousd) == (100, most)
        it.answer(order, 100)


def test_what_is_idle_goes_back_and_may_not_be_held_meanwhile() -> None:
    it = Stage(TENANT)
    it.lease(400)
    it.session.hold("a", Amounts.same(100))
    it.now_s = 1.0
    assert it.orders() == []
    it.now_s = 1.0 + IDLE_S
    (order,) = it.orders()
    assert (order.give_nanousd, it.account.free_nanousd) == (300, 0)
    it.answer(order, 0)
    assert (it.account.leased_nanousd, it.account.free_nanousd) == (100, 0)


def test_what_another_instance_wants_goes_back_at_once_unless_it_is_wished_for_here() -> None:
    it = Stage(TENANT)
    it.lease(400)
    it.accounts.want([POT])
    assert it.orders(Wish(400, False)) == []
    assert [order.give_nanousd for order in it.orders()] == [400]


def test_near_the_end_of_a_budget_nothing_is_kept_that_is_not_held() -> None:
    it = Stage(TENANT)
    it.lease(100, left=399)
    it.session.hold("a", Amounts.same(100))
    assert it.orders() == []
    it.session.void("a")
    assert [order.give_nanousd for order in it.orders()] == [100]


def test_an_exchange_whose_end_is_not_known_is_told_by_the_next() -> None:
    for happened in (True, False):
        it = Stage(TENANT)
        it.lease(400)
        it.now_s = IDLE_S
        (gave,) = it.orders()
        it.accounts.failed([gave])
        (order,) = it.orders()
        assert (order.give_nanousd, order.need_nanousd) == (0, 0)
        granted = 0 if happened else 400
        it.accounts.take_over(order, Answer(granted, 0, 0, 1_000, 500, contended=False, wanted=False))
        assert it.account.free_nanousd == granted


def test_what_an_exchange_wanted_to_give_back_is_here_still_if_it_was_never_carried_out() -> None:
    it = Stage(TENANT)
    it.lease(400)
    it.now_s = IDLE_S
    (gave,) = it.orders()
    assert it.account.free_nanousd == 0
    it.accounts.undo([gave])
    assert it.account.free_nanousd == 400
    (again,) = it.orders()
    it.answer(again, 0)
    assert (again.give_nanousd, it.account.leased_nanousd) == (400, 0)


def test_nothing_is_given_back_while_the_database_is_away_and_all_of_it_afterwards() -> None:
    it = Stage(TENANT)
    it.lease(400)
    it.accounts.want([POT])
    it.now_s = IDLE_S
    assert it.accounts.orders({}, NOW, it.now_s, gives=False) == []
    assert it.account.free_nanousd == 400
    it.accounts.release(it.session.accounts)
    assert it.accounts.orders({}, NOW, it.now_s, gives=False) == []
    assert [order.give_nanousd for order in it.orders()] == [400]


def test_a_lowered_budget_is_heard_of_and_takes_away_what_is_at_hand() -> None:
    it = Stage(TENANT)
    it.lease(400)
    it.session.hold("a", Amounts.same(300))
    lowered = replace(TENANT, amount_nanousd=250)
    it.accounts.follow(BudgetBook.of([lowered], 2))
    (order,) = it.orders()
    it.answer(order, -150, left=0, limit=250)
    assert (it.account.leased_nanousd, it.account.free_nanousd, it.session.left("a")) == (
        250,
        -50,
        Amounts(300, 250),
    )


def test_a_raise_is_heard_of_when_it_begins_and_when_it_ends() -> None:
    hour = timedelta(hours=1)
    it = Stage(replace(TENANT, raises=(Raise(500, NOW + hour, NOW + 2 * hour),)))
    it.lease(1)
    it.session.hold("a", Amounts.same(1))
    assert it.session.until == NOW + hour
    assert it.orders() == []
    (order,) = it.orders(now=NOW + hour)
    it.answer(order, 0, limit=1_500)
    assert it.orders(now=NOW + hour) == []
    assert len(it.orders(now=NOW + 2 * hour)) == 1


def test_what_is_posted_is_off_the_lease_and_no_longer_unposted() -> None:
    it = Stage(TENANT)
    it.lease(400)
    it.session.hold("a", Amounts.same(100))
    it.session.settle("a", Amounts.same(150), "entry 1")
    assert it.account.free_nanousd == 250
    it.accounts.take_off(Posting(charged={POT: Charge(150, 150, 150)}, handled=("entry 1", "of another")))
    account = it.account
    assert (account.leased_nanousd, account.unposted_nanousd, account.free_nanousd) == (250, 0, 250)
    assert account.spent_nanousd == 150
    assert it.accounts.unposted == {}


def test_an_answer_from_before_a_posting_says_nothing_of_what_is_spent_now() -> None:
    it = Stage(TENANT)
    it.lease(400)
    (order,) = it.orders(Wish(500, False))
    it.accounts.take_off(Posting(charged={POT: Charge(100, 100, 350)}))
    it.accounts.take_over(order, Answer(500, 0, 250, 1_000, 0, contended=False, wanted=False))
    assert it.account.spent_nanousd == 350
    it.accounts.take_over(order, Answer(500, 100, 330, 1_000, 0, contended=False, wanted=False))
    assert it.account.spent_nanousd == 330, "some of it was corrected"


def test_two_things_under_one_key_are_both_taken_off() -> None:
    it = Stage(TENANT)
    it.lease(400)
    it.session.settle("a", Amounts.same(150), "entry 1")
    it.session.settle("b", Amounts.same(100), "entry 1")
    it.accounts.take_off(Posting(charged={POT: Charge(150, 150, 150)}, handled=("entry 1",)))
    assert (it.account.unposted_nanousd, it.account.free_nanousd) == (0, 250)


def test_an_overshoot_is_the_databases_once_it_is_posted() -> None:
    it = Stage(TENANT)
    it.lease(100)
    it.session.settle("a", Amounts.same(150), "entry 1")
    assert it.account.free_nanousd == -50
    it.accounts.take_off(Posting(charged={POT: Charge(150, 100, 150)}, handled=("entry 1",)))
    assert (it.account.leased_nanousd, it.account.free_nanousd) == (0, 0)


def test_continue_borrows_up_to_its_allowance_and_gives_it_back_to_what_is_granted() -> None:
    going_on = replace(TENANT, on_store_down=OnStoreDown.CONTINUE, store_down_nanousd=500)
    it = Stage(going_on)
    it.accounts.borrow(Need(it.account, 300, 300))
    assert it.session.hold("a", Amounts.same(300)) is None
    it.accounts.borrow(Need(it.account, 300, 300))
    assert it.session.hold("b", Amounts.same(300)) is it.account
    assert it.account.refusal.name == "budget_unknown"
    (order,) = it.orders()
    it.answer(order, 0)
    assert (it.account.free_nanousd, it.account.refusal.name) == (-300, "budget_spent")


def test_terminate_borrows_nothing() -> None:
    it = Stage(TENANT)
    it.accounts.borrow(Need(it.account, 1, 1))
    assert (it.account.free_nanousd, it.account.is_unknown) == (0, True)


def test_a_sessions_own_window_asks_nobody_and_follows_its_amount() -> None:
    own = replace(TENANT, window=Window.SESSION)
    it = Stage(own)
    assert it.orders() == []
    assert it.session.hold("a", Amounts.same(800)) is None
    it.session.settle("a", Amounts.same(700), "entry 1")
    it.enclose(replace(own, amount_nanousd=750))
    assert (it.account.free_nanousd, it.account.spent_nanousd, it.account.may_ask(NOW)) == (50, 700, False)


def test_a_sessions_own_window_that_is_made_late_counts_what_was_spent_before() -> None:
    own = replace(TENANT, id="b_2", window=Window.SESSION)
    it = Stage()
    it.session.settle("a", Amounts(600, 700), "entry 1")
    it.enclose(replace(own, id="b_3", scope=Scope.ORGANISATION), own)
    assert [(one.free_nanousd, one.spent_nanousd) for one in it.session.accounts] == [(300, 700), (400, 600)]
    it.enclose(replace(own, on_exhausted=OnExhausted.NOTIFY))
    it.session.settle("b", Amounts.same(100), "entry 2")
    it.enclose(own)
    assert (it.account.free_nanousd, it.account.spent_nanousd) == (200, 800)


def test_when_a_window_has_ended_a_session_spends_from_the_next_one() -> None:
    it = Stage(TENANT)
    it.lease(400)
    it.session.hold("a", Amounts.same(100))
    before = it.account
    tomorrow = NOW + timedelta(days=1)
    it.enclose(TENANT, now=tomorrow)
    assert (it.account is not before, it.account.free_nanousd, before.held_nanousd) == (True, 0, 100)
    it.now_s = 2 * IDLE_S
    given = [(order.pot, order.give_nanousd) for order in it.orders(now=tomorrow) if order.give_nanousd]
    assert given == [(POT, 300)]


def test_an_account_that_nobody_uses_is_forgotten_once_nothing_is_in_it() -> None:
    it = Stage(TENANT)
    it.lease(400)
    it.accounts.release(it.session.accounts)
    (order,) = it.orders()
    assert order.give_nanousd == 400
    it.answer(order, 0)
    assert it.orders() == []
    assert not it.accounts.have_spare
    it.enclose(TENANT)
    assert it.account.leased_nanousd == 0


def test_what_is_posted_again_is_off_the_lease_though_nobody_heard_of_the_first_time() -> None:
    it = Stage(TENANT)
    it.lease(400)
    it.session.hold("a", Amounts.same(100))
    it.session.settle("a", Amounts.same(150), "entry 1")
    it.accounts.take_off(Posting(duplicates=1, handled=("entry 1",), taken={POT: 150}))
    account = it.account
    assert (account.leased_nanousd, account.unposted_nanousd, account.free_nanousd) == (250, 0, 250)


def spend_all(it: Stage) -> None:
    """Spend a lease of 400, post it, and let the only session leave."""
    it.lease(400)
    it.session.settle("a", Amounts.same(400), "entry 1")
    it.accounts.take_off(Posting(charged={POT: Charge(400, 400, 400)}, handled=("entry 1",)))
    it.accounts.release(it.session.accounts)
    it.session.accounts = ()


def test_an_account_that_was_forgotten_comes_back_with_what_is_left_of_its_lease() -> None:
    it = Stage(TENANT)
    spend_all(it)
    assert it.orders() == []
    it.enclose(TENANT)
    (order,) = it.orders(Wish(100, False))
    given = it.accounts.take_over(order, Answer(500, 400, 400, 1_000, 500, contended=False, wanted=False))
    assert (given, it.account.free_nanousd) == (100, 100)


def test_an_account_is_not_forgotten_while_nobody_knows_what_it_was_granted() -> None:
    it = Stage(TENANT)
    it.accounts.failed(it.orders(Wish(400, False)))
    it.accounts.release(it.session.accounts)
    (order,) = it.orders()
    it.answer(order, 400)
    assert [one.give_nanousd for one in it.orders()] == [400]
