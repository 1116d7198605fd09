"""Holds: all enclosing accounts grant or none does, and what is settled is what it cost."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.allowance import Account, Allowance
from proxy.core.budgets import Scope
from proxy.core.windows import Window
from tests.core.accounts import account


def accounts(*free: int) -> list[Account]:
    return [account(amount, name=f"b{n}") for n, amount in enumerate(free)]


def test_a_hold_is_taken_from_every_account_or_from_none() -> None:
    tenant, key = accounts(1_000, 100)
    allowance = Allowance([tenant, key])
    assert allowance.hold("a", 60) is None
    assert allowance.hold("b", 60) is key
    assert (tenant.free_nanousd, key.free_nanousd) == (940, 40)
    assert (allowance.held("a"), allowance.held("b")) == (60, 0)


def test_an_account_with_nothing_left_refuses_even_a_hold_of_nothing() -> None:
    """A model without a price is held at nothing; that is no way round a spent budget."""
    (spent,) = accounts(0)
    assert Allowance([spent]).hold("a", 0) is spent


def test_a_hold_grows_as_far_as_the_narrowest_account_allows() -> None:
    allowance = Allowance(accounts(500, 70))
    assert allowance.hold("a", 50) is None
    assert allowance.grow("a", 100) == 20
    assert allowance.grow("a", 100) == 0
    assert allowance.held("a") == 70
    assert [need.account.budget.id for need in allowance.lacks("a", 500, 1)] == ["b1"]
    assert [need.account.budget.id for need in allowance.lacks("a", 500, 500)] == ["b1", "b0"]


def test_settling_may_pass_the_hold_and_voiding_gives_it_back() -> None:
    (tenant,) = accounts(100)
    allowance = Allowance([tenant])
    allowance.hold("asked", 40)
    allowance.rename("asked", "running")
    allowance.settle("running", 130, "entry 1")
    assert tenant.free_nanousd == -30
    allowance.void("never held")
    allowance.settle("never held either", 5, "entry 2")
    assert tenant.free_nanousd == -35
    assert (allowance.holds, allowance.unposted) == ({}, {})


def test_the_refusal_names_scope_and_window_only() -> None:
    spent = account(-12_345, scope=Scope.KEY, window=Window.DAY)
    for refusal in (spent.refusal, replace(spent, is_unknown=True).refusal):
        assert "API key" in refusal.message
        assert "day" in refusal.message
        assert "12" not in refusal.message
    assert (spent.refusal.http_status, replace(spent, is_unknown=True).refusal.http_status) == (402, 503)


def test_what_is_settled_stays_taken_from_a_lease_until_it_is_posted() -> None:
    tenant = account(100, leased=True)
    allowance = Allowance([tenant])
    allowance.hold("a", 40)
    allowance.settle("a", 30, "entry 1")
    assert (tenant.leased_nanousd, tenant.unposted_nanousd, tenant.free_nanousd) == (100, 30, 70)
    assert allowance.unposted == {"entry 1": [([tenant], 30)]}


def test_other_budgets_enclose_what_is_held_and_a_window_that_ended_keeps_it() -> None:
    kept, deleted = accounts(1_000, 1_000)
    allowance = Allowance([kept, deleted])
    allowance.hold("a", 100)
    rolled, made = account(500, name="b0"), account(70, name="b2")
    allowance.enclose([rolled, made])
    frees = [one.free_nanousd for one in (kept, deleted, rolled, made)]
    assert frees == [900, 1_000, 500, -30]
    assert allowance.left("a") == 70
    assert allowance.hold("b", 50) is made
    allowance.settle("a", 60, "entry 1")
    assert [one.free_nanousd for one in (kept, deleted, rolled, made)] == [940, 1_000, 500, 10]


def test_a_need_is_told_of_every_account_that_has_too_little() -> None:
    rich, poor = accounts(100, 10)
    assert [(need.account, need.nanousd) for need in Allowance([rich, poor]).needs(50)] == [(poor, 50)]
    assert Allowance([rich, poor]).needs(5) == ()


@given(
    st.lists(st.integers(0, 1_000), min_size=1, max_size=3),
    st.lists(
        st.tuples(
            st.sampled_from(["hold", "grow", "void", "settle"]), st.sampled_from("abc"), st.integers(0, 400)
        )
    ),
)
def test_money_is_free_held_or_spent(free: list[int], steps: list[tuple[str, str, int]]) -> None:
    shared = accounts(*free)
    allowance, spent = Allowance(shared), 0
    for step, key, amount in steps:
        match step:
            case "hold":
                allowance.hold(key, amount)
            case "grow":
                allowance.grow(key, amount)
            case "void":
                allowance.void(key)
            case "settle":
                allowance.settle(key, amount, key)
                spent += amount
        for one, at_first in zip(shared, free, strict=True):
            held = sum(hold.nanousd for hold in allowance.holds.values())
            assert one.free_nanousd + held + spent == at_first
