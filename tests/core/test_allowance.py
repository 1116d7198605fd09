"""Holds: all enclosing accounts grant or none does, and what is settled is what it cost."""

from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.allowance import Account, Allowance, refusers
from proxy.core.budgets import Scope
from proxy.core.rating import NO_AMOUNTS, Amounts
from proxy.core.windows import Window
from tests.core.accounts import account
from tests.core.scripts import START


def accounts(*free: int) -> list[Account]:
    return [account(amount, name=f"b{n}") for n, amount in enumerate(free)]


def test_a_hold_is_taken_from_every_account_or_from_none() -> None:
    tenant, key = accounts(1_000, 100)
    allowance = Allowance([tenant, key])
    assert allowance.hold("a", Amounts.same(60)) is None
    assert allowance.hold("b", Amounts.same(60)) is key
    assert (tenant.free_nanousd, key.free_nanousd) == (940, 40)
    assert (allowance.held("a"), allowance.held("b")) == (Amounts.same(60), NO_AMOUNTS)


def test_an_account_with_nothing_left_refuses_even_a_hold_of_nothing() -> None:
    """A model without a price is held at nothing; that is no way round a spent budget."""
    (spent,) = accounts(0)
    assert Allowance([spent]).hold("a", Amounts.same(0)) is spent


def test_a_hold_grows_as_far_as_the_narrowest_account_allows() -> None:
    allowance = Allowance(accounts(500, 70))
    assert allowance.hold("a", Amounts.same(50)) is None
    assert allowance.grow("a", Amounts.same(100)) == Amounts(100, 20)
    assert allowance.grow("a", Amounts.same(100)) == Amounts(100, 0)
    assert allowance.held("a") == Amounts(250, 70)  # nobody counts what it costs us
    assert [need.account.budget.id for need in allowance.lacks("a", Amounts.same(500), Amounts.same(1))] == [
        "b1"
    ]
    assert [
        need.account.budget.id for need in allowance.lacks("a", Amounts.same(500), Amounts.same(500))
    ] == ["b1", "b0"]


def test_settling_may_pass_the_hold_and_voiding_gives_it_back() -> None:
    (tenant,) = accounts(100)
    allowance = Allowance([tenant])
    allowance.hold("asked", Amounts.same(40))
    allowance.rename("asked", "running")
    allowance.settle("running", Amounts.same(130), "entry 1")
    assert tenant.free_nanousd == -30
    allowance.void("never held")
    allowance.settle("never held either", Amounts.same(5), "entry 2")
    assert tenant.free_nanousd == -35
    assert (allowance.holds, allowance.unposted) == ({}, {})


def test_the_refusal_names_scope_and_window_only() -> None:
    spent = account(-12_345, scope=Scope.KEY, window=Window.DAY)
    for refusal in (spent.refusal, replace(spent, is_unknown=True).refusal):
        assert "API key" in refusal.message
        assert "day" in refusal.message
        assert "12" not in refusal.message
    assert (spent.refusal.http_status, replace(spent, is_unknown=True).refusal.http_status) == (402, 503)
    assert spent.refusal.budget == ("key", "day")
    assert replace(spent, is_unknown=True).refusal.budget is None  # it is the database that says nothing


def test_what_is_settled_stays_taken_from_a_lease_until_it_is_posted() -> None:
    tenant = account(100, leased=True)
    allowance = Allowance([tenant])
    allowance.hold("a", Amounts.same(40))
    allowance.settle("a", Amounts.same(30), "entry 1")
    assert (tenant.leased_nanousd, tenant.unposted_nanousd, tenant.free_nanousd) == (100, 30, 70)
    assert allowance.unposted == {"entry 1": [([tenant], Amounts.same(30))]}


def test_other_budgets_enclose_what_is_held_and_a_window_that_ended_keeps_it() -> None:
    kept, deleted = accounts(1_000, 1_000)
    allowance = Allowance([kept, deleted])
    allowance.hold("a", Amounts.same(100))
    rolled, made = account(500, name="b0"), account(70, name="b2")
    allowance.enclose([rolled, made])
    frees = [one.free_nanousd for one in (kept, deleted, rolled, made)]
    assert frees == [900, 1_000, 500, -30]
    assert allowance.left("a") == Amounts(100, 70)
    assert allowance.hold("b", Amounts.same(50)) is made
    allowance.settle("a", Amounts.same(60), "entry 1")
    assert [one.free_nanousd for one in (kept, deleted, rolled, made)] == [940, 1_000, 500, 10]


def test_the_organisation_counts_what_it_costs_us_and_all_others_what_is_billed() -> None:
    ours, theirs = account(100, scope=Scope.ORGANISATION), account(100, name="b1")
    allowance = Allowance([ours, theirs])
    assert allowance.hold("a", Amounts(40, 60)) is None
    assert (ours.free_nanousd, theirs.free_nanousd) == (60, 40)
    assert allowance.hold("b", Amounts(20, 41)) is theirs
    assert allowance.grow("a", Amounts(30, 45)) == Amounts(30, 40)
    assert allowance.lacks("a", Amounts(50, 50), Amounts(0, 1))[0].account is theirs
    assert allowance.lacks("a", Amounts(50, 50), Amounts(31, 0))[0].account is ours
    allowance.settle("a", Amounts(80, 120), "entry 1")
    assert (ours.free_nanousd, theirs.free_nanousd) == (20, -20)


def test_what_is_held_may_be_lent_and_is_held_in_the_same_accounts_then() -> None:
    tenant, ours = account(1_000), account(1_000, name="b1", scope=Scope.ORGANISATION)
    allowance = Allowance([tenant, ours])
    allowance.lend("reserve", "a", Amounts.same(50))
    assert not allowance.holds
    allowance.hold("reserve", Amounts(100, 200))
    allowance.hold("a", Amounts.same(10))
    allowance.lend("reserve", "a", Amounts(150, 150))
    assert (allowance.held("reserve"), allowance.held("a")) == (Amounts(0, 50), Amounts(110, 160))
    assert (tenant.held_nanousd, ours.held_nanousd) == (210, 110)
    allowance.settle("a", Amounts.same(120), "entry 1")
    assert (tenant.free_nanousd, ours.free_nanousd) == (830, 880)


def test_a_need_is_told_of_every_account_that_has_too_little() -> None:
    rich, poor = accounts(100, 10)
    (need,) = Allowance([rich, poor]).needs(Amounts.same(50))
    assert (need.account, need.nanousd) == (poor, 50)
    assert Allowance([rich, poor]).needs(Amounts.same(5)) == ()


def test_the_accounts_that_refuse_are_those_that_were_asked() -> None:
    """The database's no comes first, then that it does not answer: of others it might have more."""
    shorts = [account(10, name=name, leased=True) for name in ("untold", "unknown", "refused")]
    needs = Allowance(shorts).needs(Amounts.same(50))

    def names(now: datetime) -> list[str]:
        return [one.budget.id for one in refusers(needs, now)]

    assert names(START) == ["untold", "unknown", "refused"]
    shorts[1].is_unknown = True
    assert names(START) == ["unknown"]
    shorts[2].refuse(40, START + timedelta(seconds=1))
    assert names(START) == ["refused"]
    assert names(START + timedelta(seconds=1)) == ["unknown"]
    shorts[2].refuse(41, START + timedelta(seconds=1))  # that is more than is asked for here
    assert names(START) == ["unknown"]


@given(
    st.lists(st.integers(0, 1_000), min_size=1, max_size=3),
    st.lists(
        st.tuples(
            st.sampled_from(["hold", "grow", "void", "settle"]),
            st.sampled_from("abc"),
            st.builds(Amounts, st.integers(0, 400), st.integers(0, 400)),
        )
    ),
)
def test_money_is_free_held_or_spent(free: list[int], steps: list[tuple[str, str, Amounts]]) -> None:
    shared = [
        account(amount, name=f"b{n}", scope=Scope.ORGANISATION if n == 1 else Scope.TENANT)
        for n, amount in enumerate(free)
    ]
    allowance, spent = Allowance(shared), NO_AMOUNTS
    for step, key, amounts in steps:
        match step:
            case "hold":
                allowance.hold(key, amounts)
            case "grow":
                allowance.grow(key, amounts)
            case "void":
                allowance.void(key)
            case "settle":
                allowance.settle(key, amounts, key)
                spent = spent.plus(amounts)
        for one, at_first in zip(shared, free, strict=True):
            held = sum(hold.amounts[one.basis] for hold in allowance.holds.values())
            assert one.free_nanousd + held + spent[one.basis] == at_first


def test_more_is_added_to_a_hold_in_every_account_or_in_none() -> None:
    tenant, key = accounts(1_000, 100)
    allowance = Allowance([tenant, key])
    assert allowance.hold("a", Amounts.same(60)) is None
    assert not allowance.add("a", Amounts.same(41))
    assert (tenant.free_nanousd, key.free_nanousd) == (940, 40)
    assert allowance.add("a", Amounts.same(40))
    assert (tenant.free_nanousd, key.free_nanousd, allowance.held("a")) == (900, 0, Amounts.same(100))
    assert allowance.add("a", NO_AMOUNTS)
    key.leased_nanousd -= 1
    assert not allowance.add("a", NO_AMOUNTS)  # overdrawn: less than is held may be spent
