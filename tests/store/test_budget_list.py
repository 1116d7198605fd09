"""Budgets as they are read: the book of the data plane, and the list for people."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, insert, update

from proxy.core.budgets import EPOCH, OnExhausted, OnStoreDown, Payer, Scope
from proxy.core.windows import Window
from proxy.store import StoreError, spend, tenants
from proxy.store.audit import Act
from proxy.store.budget_list import find_budget, list_budgets, load_book
from proxy.store.budgets import Terms, raise_budget, set_budget
from proxy.store.database import writing
from proxy.store.schema import budget, budget_window

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ACT = Act("test", NOW, "because")
PEPPER = b"a pepper for tests only"


@pytest.fixture
def connection(database: Engine) -> Iterator[Connection]:
    with writing(database) as connection:
        for name in ("globex", "acme"):
            tenants.create_tenant(connection, name, ACT)
        yield connection


def put(
    connection: Connection, scope: Scope, window: Window, tenant: str | None = None, name: str | None = None
) -> str:
    made = set_budget(connection, ACT, scope=scope, window=window, amount_nanousd=7, tenant=tenant, name=name)
    return made.rule.id


def test_the_book_has_what_was_set(connection: Connection) -> None:
    terms = Terms("Europe/Berlin", OnExhausted.WRAP_UP, OnStoreDown.CONTINUE, 3, (80,))
    made = set_budget(
        connection,
        ACT,
        scope=Scope.TENANT,
        window=Window.WEEK,
        amount_nanousd=0,
        tenant="acme",
        terms=terms,
    )
    raised = raise_budget(
        connection,
        ACT,
        made.rule.id,
        amount_nanousd=5,
        starts_at=NOW,
        ends_at=NOW + timedelta(days=1),
    )
    book = load_book(connection, 42)
    assert book.version == 42
    assert book.budgets == {made.rule.id: raised.rule}
    rule = book.budgets[made.rule.id]
    assert (rule.zone.key, rule.on_exhausted, rule.on_store_down) == ("Europe/Berlin", "wrap_up", "continue")
    assert (rule.store_down_nanousd, rule.thresholds, rule.amount_nanousd) == (3, (80,), 0)
    assert rule.amount_at(NOW) == 5


def test_the_book_encloses_a_payer_from_all_levels(connection: Connection) -> None:
    key, _ = tenants.create_key(connection, PEPPER, tenant_name="acme", project_name="web", act=ACT)
    expected = {
        put(connection, Scope.ORGANISATION, Window.MONTH),
        put(connection, Scope.TENANT, Window.MONTH, "acme"),
        put(connection, Scope.PROJECT, Window.MONTH, "acme", "web"),
        put(connection, Scope.KEY, Window.MONTH, None, key.id),
        put(connection, Scope.EACH_USER, Window.DAY, "acme"),
        put(connection, Scope.END_USER, Window.DAY, "acme", "bob"),
    }
    put(connection, Scope.TENANT, Window.MONTH, "globex")
    put(connection, Scope.END_USER, Window.DAY, "acme", "eve")
    book = load_book(connection, 1)
    (bob,) = [one.rule.end_user_id for one in list_budgets(connection, NOW) if one.end_user == "bob"]
    payer = Payer("s1", key.tenant_id, key.project_id, key.id, bob)
    assert {one.id for one in book.enclosing(payer)} == expected


@pytest.mark.parametrize("broken", [{"zone": "Mars/Olympus"}, {"scope": "galaxy"}, {"window": "eon"}])
def test_a_budget_that_cannot_be_read_is_told(connection: Connection, broken: dict[str, str]) -> None:
    """To leave it out would be to let everything pass."""
    made = put(connection, Scope.TENANT, Window.MONTH, "acme")
    connection.execute(update(budget).values(**broken))
    with pytest.raises(StoreError, match=f"Budget {made} cannot be read"):
        load_book(connection, 1)


def test_the_list_goes_down_the_tree_and_names_everybody(connection: Connection) -> None:
    key, _ = tenants.create_key(
        connection, PEPPER, tenant_name="acme", project_name="web", name="app", act=ACT
    )
    put(connection, Scope.TENANT, Window.MONTH, "globex")
    put(connection, Scope.KEY, Window.MONTH, "acme", key.id)
    put(connection, Scope.PROJECT, Window.MONTH, "acme", "web")
    put(connection, Scope.TENANT, Window.MONTH, "acme")
    put(connection, Scope.ORGANISATION, Window.MONTH)
    listed = list_budgets(connection, NOW)
    assert [(one.rule.scope, one.tenant, one.project, one.key) for one in listed] == [
        (Scope.ORGANISATION, None, None, None),
        (Scope.TENANT, "acme", None, None),
        (Scope.PROJECT, "acme", "web", None),
        (Scope.KEY, "acme", None, "app"),
        (Scope.TENANT, "globex", None, None),
    ]
    only = list_budgets(connection, NOW, tenant_id=listed[-1].rule.tenant_id)
    assert [one.tenant for one in only] == ["globex"]


def test_json_has_exact_and_readable_amounts(connection: Connection) -> None:
    made = put(connection, Scope.TENANT, Window.LIFETIME, "acme")
    row = {"budget_id": made, "subject": "", "starts_at": EPOCH, "spent_nanousd": 9}
    connection.execute(insert(budget_window).values(row))
    shown = find_budget(connection, made, NOW).as_json()
    assert (shown["spent_nanousd"], shown["spent_usd"]) == (9, "0.000000009")
    assert (shown["left_nanousd"], shown["left_usd"]) == (-2, "-0.000000002")
    assert (shown["window_starts_at"], shown["deleted_at"], shown["raises"]) == (None, None, [])


def test_many_budgets_are_read_a_page_at_a_time(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spend, "POTS_MAX", 2)
    counted = [window for window in Window if window is not Window.SESSION]  # each session's is its own
    made = [put(connection, Scope.TENANT, window, "acme") for window in counted]
    for spent, one in enumerate(list_budgets(connection, NOW), 1):
        row = {
            "budget_id": one.rule.id,
            "subject": "",
            "starts_at": one.span.start if one.span else EPOCH,
            "spent_nanousd": spent,
        }
        connection.execute(insert(budget_window).values(row))
    assert [one.spent_nanousd for one in list_budgets(connection, NOW)] == list(range(1, len(made) + 1))


def test_what_is_not_there_is_told(connection: Connection) -> None:
    with pytest.raises(StoreError, match="no budget 'bud_none'"):
        find_budget(connection, "bud_none", NOW)
