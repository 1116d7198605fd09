"""Budgets: whom they enclose, what they allow at an instant, and which pot is spent from."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from proxy.core.budgets import (
    EPOCH,
    Budget,
    BudgetBook,
    OnExhausted,
    OnStoreDown,
    Payer,
    Pot,
    Raise,
    Scope,
    pot_of,
)
from proxy.core.windows import Window

NOW = datetime(2026, 11, 26, 23, 30, tzinfo=UTC)
ANN = Payer("s_1", "t_1", "p_1", "k_1", "u_1")
BOB = Payer("s_2", "t_1", None, "k_2", None)
OTHER = Payer("s_3", "t_2", "p_9", "k_9", "u_9")


def budget(scope: Scope, window: Window = Window.DAY, **facts: object) -> Budget:
    return Budget(f"b_{scope}", scope, window, 1_000, **facts)  # type: ignore[arg-type]


TREE = BudgetBook.of(
    [
        budget(Scope.ORGANISATION),
        budget(Scope.TENANT, tenant_id="t_1"),
        budget(Scope.PROJECT, tenant_id="t_1", project_id="p_1"),
        budget(Scope.KEY, tenant_id="t_1", api_key_id="k_2"),
        budget(Scope.END_USER, tenant_id="t_1", end_user_id="u_1"),
        budget(Scope.EACH_USER, tenant_id="t_1"),
    ]
)


@pytest.mark.parametrize(
    ("payer", "scopes"),
    [
        (ANN, "organisation each_user end_user project tenant"),
        (BOB, "organisation key tenant"),
        (OTHER, "organisation"),
    ],
)
def test_a_session_is_enclosed_by_every_budget_whose_scope_it_is_in(payer: Payer, scopes: str) -> None:
    assert [one.scope for one in TREE.enclosing(payer)] == scopes.split()


def test_only_budgets_of_users_ask_who_the_user_is() -> None:
    assert TREE.asks_for_user("t_1")
    assert not TREE.asks_for_user("t_2")


def test_a_user_may_be_nobodys_in_an_outage_where_all_budgets_of_users_go_on_or_refuse_nobody() -> None:
    each = budget(Scope.EACH_USER, tenant_id="t_1", on_store_down=OnStoreDown.CONTINUE, store_down_nanousd=1)
    of_tenant = budget(Scope.TENANT, tenant_id="t_1")
    told = budget(Scope.END_USER, tenant_id="t_1", end_user_id="u_1", on_exhausted=OnExhausted.NOTIFY)
    waits = replace(told, on_exhausted=OnExhausted.CUT, on_store_down=OnStoreDown.RETRY)
    assert BudgetBook.of([each, of_tenant, told]).goes_on_without_user("t_1")
    assert not BudgetBook.of([each, of_tenant, waits]).goes_on_without_user("t_1")


def test_a_pot_is_a_budgets_window_and_whose_spending_is_counted_apart() -> None:
    midnight = datetime(2026, 11, 26, tzinfo=UTC)
    assert pot_of(budget(Scope.TENANT), ANN, NOW) == Pot("b_tenant", "", midnight)
    assert pot_of(budget(Scope.EACH_USER), ANN, NOW) == Pot("b_each_user", "u_1", midnight)
    assert pot_of(budget(Scope.KEY, Window.SESSION), ANN, NOW) == Pot("b_key", "s_1", EPOCH)
    assert pot_of(budget(Scope.KEY, Window.LIFETIME), ANN, NOW) == Pot("b_key", "", EPOCH)
    berlin = budget(Scope.TENANT, zone=ZoneInfo("Europe/Berlin"))
    assert pot_of(berlin, ANN, NOW).starts_at == datetime(2026, 11, 26, 23, tzinfo=UTC)


def test_a_raise_counts_from_its_start_to_before_its_end() -> None:
    hour = timedelta(hours=1)
    raised = budget(Scope.TENANT, raises=(Raise(500, NOW, NOW + hour), Raise(20, NOW, NOW + 2 * hour)))
    amounts = [raised.amount_at(at) for at in (NOW - hour, NOW, NOW + hour, NOW + 2 * hour)]
    assert amounts == [1_000, 1_520, 1_020, 1_000]


def test_only_a_budget_with_an_amount_and_an_end_has_to_be_asked() -> None:
    assert budget(Scope.TENANT).holds
    assert not budget(Scope.TENANT, on_exhausted=OnExhausted.NOTIFY).holds
    unlimited = Budget("b", Scope.TENANT, Window.DAY, None, raises=(Raise(5, NOW, NOW),))
    assert not unlimited.holds
    assert unlimited.amount_at(NOW) is None
