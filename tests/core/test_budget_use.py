"""How far budgets are used: by name, the highest of each, and only where there is an amount."""

from datetime import UTC, datetime, timedelta

import pytest

from proxy.core.allowance import Account, Allowance
from proxy.core.budget_use import ALL_TENANTS, BudgetUse, overshoot
from proxy.core.budgets import EPOCH, Budget, OnExhausted, Payer, Pot, Raise, Scope
from proxy.core.rating import Amounts
from proxy.core.windows import Window

NOW = datetime(2026, 11, 15, 12, tzinfo=UTC)
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)


def budget(name: str, amount: int | None, scope: Scope = Scope.TENANT, **facts: object) -> Budget:
    return Budget(name, scope, facts.pop("window", Window.MONTH), amount, tenant_id="t_1", **facts)  # type: ignore[arg-type]


def allowance(*budgets: Budget, user: str | None = None, session: str = "s_1", **facts: object) -> Allowance:
    payer = Payer(session, "t_1", end_user_id=user)
    return Allowance(payer=payer, budgets=budgets, **facts)  # type: ignore[arg-type]


def use(*allowances: Allowance) -> BudgetUse:
    found = BudgetUse(NOW)
    for one in allowances:
        found.add("acme", one)
    return found


def test_what_all_have_spent_counts_and_what_is_not_posted_yet() -> None:
    """The database may know more of others, an account more of this instance."""
    monthly = budget("b_1", 1_000)
    pot = Pot("b_1", "", NOVEMBER)
    account = Account(monthly, pot, limit_nanousd=1_000, spent_nanousd=200, unposted_nanousd=50)
    found = use(allowance(monthly, accounts=[account]))
    assert list(found.shared) == [pot]
    assert found.ratios({}) == {("acme", "tenant month"): 0.25}
    assert found.ratios({pot: 700}) == {("acme", "tenant month"): 0.75}


def test_budgets_that_only_count_are_among_them() -> None:
    noted = budget("b_1", 1_000, on_exhausted=OnExhausted.NOTIFY)
    assert use(allowance(noted)).ratios({Pot("b_1", "", NOVEMBER): 1_500}) == {("acme", "tenant month"): 1.5}


def test_what_is_left_is_of_what_can_end_a_session_else_of_what_only_counts() -> None:
    noted = budget("b_1", 1_000, on_exhausted=OnExhausted.NOTIFY)
    own = budget("b_2", 300, on_exhausted=OnExhausted.NOTIFY, window=Window.SESSION)
    endless = budget("b_3", None)
    pot = Pot("b_1", "", NOVEMBER)
    looked = BudgetUse(NOW)
    assert looked.left(allowance(noted, endless), {}) is None, "nobody has counted yet"
    assert looked.left(allowance(noted, endless), {pot: 1_200}) == -200
    assert looked.left(allowance(noted, own, charged=Amounts(5, 10)), {pot: 100}) == 290
    ends = budget("b_4", 5_000)
    account = Account(ends, Pot("b_4", "", NOVEMBER), limit_nanousd=5_000, spent_nanousd=200)
    assert looked.left(allowance(noted, ends, accounts=[account]), {pot: 1_200}) == 4_800
    assert looked.left(Allowance(), {}) is None


def test_without_an_amount_there_is_no_share_and_of_nothing_all_is_used() -> None:
    assert use(allowance(budget("b_1", None))).ratios({}) == {}
    assert use(allowance(budget("b_1", 0))).ratios({}) == {("acme", "tenant month"): 1.0}
    more = (Raise(1_000, NOW, NOW + timedelta(hours=1)),)
    raised = use(allowance(budget("b_1", 1_000, raises=more)))
    assert raised.ratios({Pot("b_1", "", NOVEMBER): 1_000}) == {("acme", "tenant month"): 0.5}


def test_the_highest_of_a_name_is_shown() -> None:
    """Each user's budget, and two sessions' own."""
    each = budget("b_1", 100, Scope.EACH_USER, window=Window.DAY)
    today = datetime(2026, 11, 15, tzinfo=UTC)
    found = use(allowance(each, user="u_1"), allowance(each, user="u_2"))
    assert {pot.subject for pot in found.shared} == {"u_1", "u_2"}
    spent = {Pot("b_1", "u_1", today): 90, Pot("b_1", "u_2", today): 10}
    assert found.ratios(spent) == {("acme", "each user day"): 0.9}
    own = budget("b_2", 100, window=Window.SESSION)
    one = allowance(own, charged=Amounts(10, 30))
    other = allowance(own, session="s_2", charged=Amounts(10, 20))
    found = use(one, other)
    assert not found.shared
    assert found.ratios({}) == {("acme", "tenant session"): 0.3}


def test_the_organisations_budget_is_nobodys() -> None:
    """And counts what the upstream charges."""
    organisation = Budget("b_1", Scope.ORGANISATION, Window.LIFETIME, 1_000)
    session = Budget("b_2", Scope.ORGANISATION, Window.SESSION, 100)
    found = use(allowance(organisation, session, charged=Amounts(10, 30)))
    assert found.ratios({Pot("b_1", "", EPOCH): 100}) == {
        (ALL_TENANTS, "organisation lifetime"): 0.1,
        (ALL_TENANTS, "organisation session"): 0.1,
    }


def test_a_session_that_no_budget_was_looked_for_has_none() -> None:
    assert use(Allowance(budgets=(budget("b_1", 1),))).ratios({}) == {}


@pytest.mark.parametrize(
    ("amount", "spent", "charged", "beyond"),
    [
        (100, 90, 20, 0),
        (100, 110, 20, 10),  # the last of it went over
        (100, 150, 20, 20),  # all of it was over
        (None, 150, 20, 0),
        (100, 150, -20, 0),
    ],
)
def test_what_lies_beyond_a_budget(amount: int | None, spent: int, charged: int, beyond: int) -> None:
    assert overshoot(amount, spent, charged) == beyond
