"""Holds: all enclosing accounts grant or none does, and what is settled is what it cost."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.allowance import Account, Allowance


def accounts(*free: int) -> list[Account]:
    return [Account(f"scope {n}", "day", amount) for n, amount in enumerate(free)]


def test_a_hold_is_taken_from_every_account_or_from_none() -> None:
    tenant, key = accounts(1_000, 100)
    allowance = Allowance([tenant, key])
    assert allowance.hold("a", 60) is None
    assert allowance.hold("b", 60) is key
    assert (tenant.free_nanousd, key.free_nanousd) == (940, 40)
    assert allowance.held == {"a": 60}


def test_an_account_with_nothing_left_refuses_even_a_hold_of_nothing() -> None:
    """A model without a price is held at nothing; that is no way round a spent budget."""
    (spent,) = accounts(0)
    assert Allowance([spent]).hold("a", 0) is spent


def test_a_hold_grows_as_far_as_the_narrowest_account_allows() -> None:
    allowance = Allowance(accounts(500, 70))
    assert allowance.hold("a", 50) is None
    assert allowance.grow("a", 100) == 20
    assert allowance.grow("a", 100) == 0
    assert allowance.held["a"] == 70
    narrowest = allowance.narrowest()
    assert narrowest is not None
    assert narrowest.scope == "scope 1"


def test_settling_may_pass_the_hold_and_voiding_gives_it_back() -> None:
    (account,) = accounts(100)
    allowance = Allowance([account])
    allowance.hold("asked", 40)
    allowance.rename("asked", "running")
    allowance.settle("running", 130)
    assert account.free_nanousd == -30
    allowance.void("never held")
    allowance.settle("never held either", 5)
    assert account.free_nanousd == -35
    assert allowance.held == {}


def test_the_refusal_names_scope_and_window_only() -> None:
    (account,) = accounts(-12_345)
    assert "scope 0" in account.refusal.message
    assert "day" in account.refusal.message
    assert "12" not in account.refusal.message


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
                allowance.settle(key, amount)
                spent += amount
        for account, at_first in zip(shared, free, strict=True):
            assert account.free_nanousd + sum(allowance.held.values()) + spent == at_first
