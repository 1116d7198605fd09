"""Budgets set, changed, raised and deleted."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, Engine, func, insert, select

from proxy.core.budgets import THRESHOLDS, OnExhausted, OnStoreDown, Scope
from proxy.core.money import AMOUNT_NANOUSD_MAX
from proxy.core.windows import Window
from proxy.store import StoreError, changes, tenants
from proxy.store.audit import Act, list_audit
from proxy.store.budget_list import Listed, list_budgets, load_book
from proxy.store.budgets import RAISES_MAX, Terms, delete_budget, raise_budget, set_budget
from proxy.store.database import reading, writing
from proxy.store.schema import budget, budget_window

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ACT = Act("test", NOW, "because")


@pytest.fixture
def connection(database: Engine) -> Iterator[Connection]:
    with writing(database) as connection:
        tenants.create_tenant(connection, "acme", ACT)
        yield connection


def month(connection: Connection, amount: int | None = 50, act: Act = ACT, **terms: Any) -> Listed:
    return set_budget(
        connection,
        act,
        scope=Scope.TENANT,
        window=Window.MONTH,
        amount_nanousd=amount,
        tenant="acme",
        terms=Terms(**terms),
    )


def raised(connection: Connection, budget_id: str, amount: int = 20, act: Act = ACT, **when: Any) -> Listed:
    given: dict[str, Any] = {"starts_at": NOW, "ends_at": NOW + HOUR} | when
    return raise_budget(connection, act, budget_id, amount_nanousd=amount, **given)


def test_a_new_budget_has_the_defaults(connection: Connection) -> None:
    rule = month(connection).rule
    assert rule.id.startswith("bud_") and rule.zone == ZoneInfo("UTC") and rule.thresholds == THRESHOLDS
    assert (rule.on_exhausted, rule.on_store_down) == (OnExhausted.CUT, OnStoreDown.TERMINATE)
    assert rule.tenant_id == tenants.find_tenant(connection, "acme").id
    assert [one.rule for one in list_budgets(connection, NOW)] == [rule]


def test_setting_again_changes_the_same_budget(connection: Connection) -> None:
    first = month(connection, 50, on_exhausted=OnExhausted.BLOCK, thresholds=(90, 10, 90))
    assert first.rule.thresholds == (10, 90)
    second = month(connection, None, on_store_down=OnStoreDown.RETRY)
    assert second.rule == replace(first.rule, amount_nanousd=None, on_store_down=OnStoreDown.RETRY)
    assert [one.rule for one in list_budgets(connection, NOW)] == [second.rule]


def test_another_owner_or_window_is_another_budget(connection: Connection) -> None:
    month(connection)
    for scope, tenant, name in (
        (Scope.ORGANISATION, None, None),
        (Scope.EACH_USER, "acme", None),
        (Scope.END_USER, "acme", "bob"),
        (Scope.END_USER, "acme", "eve"),
    ):
        set_budget(
            connection, ACT, scope=scope, window=Window.MONTH, amount_nanousd=1, tenant=tenant, name=name
        )
    set_budget(connection, ACT, scope=Scope.TENANT, window=Window.DAY, amount_nanousd=1, tenant="acme")
    listed = list_budgets(connection, NOW)
    assert [(one.rule.scope, one.end_user) for one in listed] == [
        (Scope.ORGANISATION, None),
        (Scope.TENANT, None),
        (Scope.TENANT, None),
        (Scope.END_USER, "bob"),
        (Scope.END_USER, "eve"),
        (Scope.EACH_USER, None),
    ]


def test_what_changes_nothing_does_nothing(connection: Connection) -> None:
    first = month(connection, on_exhausted=OnExhausted.NOTIFY)
    before = changes.current(connection), len(list_audit(connection))
    assert month(connection, zone="UTC", thresholds=THRESHOLDS) == first
    assert (changes.current(connection), len(list_audit(connection))) == before


def test_another_zone_makes_another_budget_with_the_raises_that_go_on(connection: Connection) -> None:
    first = month(connection, on_exhausted=OnExhausted.BLOCK)
    raised(connection, first.rule.id, 1)
    raised(connection, first.rule.id, 2, ends_at=NOW + 3 * HOUR)
    later = Act("test", NOW + 2 * HOUR)
    second = month(connection, 60, later, zone="Europe/Berlin")
    assert second.rule.id != first.rule.id and second.rule.on_exhausted is OnExhausted.BLOCK
    assert second.span is not None and second.span.start == datetime(2026, 10, 31, 23, tzinfo=UTC)
    assert [one.amount_nanousd for one in second.raises] == [2]
    assert second.amount_nanousd == 62
    assert [one.rule.id for one in list_budgets(connection, NOW)] == [second.rule.id]
    old = connection.execute(select(budget).where(budget.c.id == first.rule.id)).one()
    assert old.deleted_at == later.at and old.amount_nanousd == 50


def test_a_window_without_a_calendar_keeps_its_budget_in_another_zone(connection: Connection) -> None:
    def lifetime(zone: str) -> str:
        made = set_budget(
            connection,
            ACT,
            scope=Scope.ORGANISATION,
            window=Window.LIFETIME,
            amount_nanousd=1,
            terms=Terms(zone=zone),
        )
        return made.rule.id

    assert lifetime("UTC") == lifetime("Asia/Tokyo")
    assert list_budgets(connection, NOW)[0].rule.zone.key == "Asia/Tokyo"


@pytest.mark.parametrize(
    ("amount", "terms", "problem"),
    [
        (-1, {}, "0 .nothing may be spent. or more"),
        (AMOUNT_NANOUSD_MAX + 1, {}, "nine billion"),
        (1, {"zone": "Mars/Olympus"}, "not a time zone"),
        (1, {"thresholds": (0,)}, "from 1 to 1000"),
        (1, {"thresholds": (1001,)}, "from 1 to 1000"),
        (1, {"thresholds": tuple(range(1, 12))}, "at most 10"),
        (1, {"store_down_nanousd": -1}, "or more"),
        (1, {"on_store_down": OnStoreDown.CONTINUE}, "needs an amount"),
    ],
)
def test_values_that_cannot_be(
    connection: Connection, amount: int, terms: dict[str, Any], problem: str
) -> None:
    with pytest.raises(StoreError, match=problem):
        month(connection, amount, **terms)
    assert list_budgets(connection, NOW) == []


def test_a_deleted_budget_limits_nothing_and_stays(connection: Connection) -> None:
    made = month(connection)
    deleted = delete_budget(connection, ACT, made.rule.id)
    assert deleted.deleted_at == NOW and deleted.rule == made.rule
    later = Act("test", NOW + HOUR)
    assert delete_budget(connection, later, made.rule.id).deleted_at == NOW
    assert list_budgets(connection, NOW) == [] and load_book(connection, 1).budgets == {}
    assert connection.execute(select(func.count()).select_from(budget)).scalar_one() == 1
    assert month(connection).rule.id != made.rule.id
    with pytest.raises(StoreError, match="is deleted"):
        raised(connection, made.rule.id)


def test_a_raise_counts_while_it_lasts(connection: Connection) -> None:
    made = month(connection)
    assert raised(connection, made.rule.id, starts_at=NOW + HOUR, ends_at=NOW + 2 * HOUR).amount_nanousd == 50
    assert raised(connection, made.rule.id, 5).amount_nanousd == 55
    amounts = [list_budgets(connection, NOW + n * HOUR)[0].amount_nanousd for n in range(3)]
    assert amounts == [55, 70, 50]
    (one,) = list_budgets(connection, NOW)
    assert [(r.amount_nanousd, r.reason, r.actor, r.created_at) for r in one.raises] == [
        (20, "because", "test", NOW),
        (5, "because", "test", NOW),
    ]
    assert [r.amount_nanousd for r in load_book(connection, 1).budgets[made.rule.id].raises] == [20, 5]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"amount": 0}, "more than 0"),
        ({"amount": -5}, "more than 0"),
        ({"amount": AMOUNT_NANOUSD_MAX}, "nine billion"),
        ({"ends_at": NOW}, "ends after it starts"),
        ({"starts_at": NOW - 2 * HOUR, "ends_at": NOW - HOUR}, "in the future"),
        ({"act": Act("test", NOW)}, "needs a reason"),
        ({"act": Act("test", NOW, "  ")}, "needs a reason"),
        ({"act": Act("test", NOW, "a\nb")}, "printable"),
        ({"budget_id": "bud_none"}, "no budget 'bud_none'"),
    ],
)
def test_raises_that_cannot_be(database: Engine, change: dict[str, Any], problem: str) -> None:
    with writing(database) as connection:
        tenants.create_tenant(connection, "acme", ACT)
        made = month(connection)
    with pytest.raises(StoreError, match=problem), writing(database) as connection:
        raised(connection, **({"budget_id": made.rule.id} | change))
    with reading(database) as connection:
        assert list_budgets(connection, NOW)[0].raises == ()


def test_raises_have_bounds(connection: Connection) -> None:
    unlimited = month(connection, None).rule.id
    with pytest.raises(StoreError, match="nothing to raise"):
        raised(connection, unlimited)
    month(connection, 1)
    for _ in range(RAISES_MAX):
        raised(connection, unlimited, 1)
    with pytest.raises(StoreError, match="raises already"):
        raised(connection, unlimited, 1)
    with pytest.raises(StoreError, match="nine billion"):
        month(connection, AMOUNT_NANOUSD_MAX)


def test_every_change_counts(database: Engine) -> None:
    def count() -> int:
        with reading(database) as connection:
            return changes.current(connection)

    with writing(database) as connection:
        tenants.create_tenant(connection, "acme", ACT)
    ids: list[str] = []
    steps: list[Callable[[Connection], object]] = [
        lambda connection: ids.append(month(connection).rule.id),
        lambda connection: month(connection, 60),
        lambda connection: raised(connection, ids[0]),
        lambda connection: delete_budget(connection, ACT, ids[0]),
    ]
    for step in steps:
        before = count()
        with writing(database) as connection:
            step(connection)
        assert count() == before + 1


def test_two_who_set_the_same_budget_at_once_set_one(database: Engine) -> None:
    with writing(database) as connection:
        tenants.create_tenant(connection, "acme", ACT)

    def set_one(amount: int) -> None:
        with writing(database) as connection:
            month(connection, amount)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(set_one, range(1, 9)))
    with reading(database) as connection:
        assert len(list_budgets(connection, NOW)) == 1


def test_the_audit_log_names_no_end_user(connection: Connection) -> None:
    """A person's name can be erased; the log cannot."""
    set_budget(
        connection,
        ACT,
        scope=Scope.END_USER,
        window=Window.DAY,
        amount_nanousd=1,
        tenant="acme",
        name="bob@example.com",
    )
    noted = list_audit(connection)[-1]
    assert noted.after is not None and noted.after["end_user_id"].startswith("u_")
    assert "bob" not in str(noted)


def test_spent_is_what_the_present_window_has(connection: Connection) -> None:
    one = month(connection)
    assert (one.spent_nanousd, one.left_nanousd) == (0, 50)
    assert one.span is not None
    for subject, starts_at, spent in (
        ("", one.span.start, 30),
        ("", one.span.start - timedelta(days=31), 1_000),
        ("someone", one.span.start, 2_000),
    ):
        row = {"budget_id": one.rule.id, "subject": subject, "starts_at": starts_at, "spent_nanousd": spent}
        connection.execute(insert(budget_window).values(row))
    raised(connection, one.rule.id, 5)
    (found,) = list_budgets(connection, NOW)
    assert (found.amount_nanousd, found.spent_nanousd, found.left_nanousd) == (55, 30, 25)
    assert list_budgets(connection, NOW + timedelta(days=31))[0].spent_nanousd == 0
