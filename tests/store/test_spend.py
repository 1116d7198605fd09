"""What budgets have spent, on both databases: exactly what the ledger says, in every window."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from sqlalchemy import Engine, event, insert, update

from proxy.core.budgets import Payer, Pot, Scope, pot_of
from proxy.core.records import Kind, Role
from proxy.core.windows import Window
from proxy.store.budget_cache import BudgetCache
from proxy.store.chain import lock_chain
from proxy.store.changes import bump
from proxy.store.database import reading, writing
from proxy.store.schema import budget, budget_window, end_user, lease
from proxy.store.spend import Charge, ensure_windows, ledger_sums
from tests.store import made
from tests.store.budgeting import DOLLAR, NOW, add_budget, add_raise, book, load, priced, rows, spent

DAY = "2026-11-30T00:00"
EPOCH = "1970-01-01T00:00"


def test_every_budget_around_a_session_counts(database: Engine) -> None:
    add_budget(database, "b_all", Scope.ORGANISATION, Window.MONTH)
    add_budget(database, "b_tenant", amount_nanousd=None)
    add_budget(database, "b_project", Scope.PROJECT, project_id="p_1", on_exhausted="notify")
    add_budget(database, "b_key", Scope.KEY, Window.HOUR, api_key_id="k_1")
    add_budget(database, "b_other", Scope.KEY, api_key_id="k_2")
    add_budget(database, "b_session", Scope.TENANT, Window.SESSION)
    add_budget(database, "b_foreign", tenant_id="t_2")
    posting = book(database, made.opened(project_id="p_1"), priced("r1", 7), priced("r2", 5))
    assert spent(database) == {
        ("b_all", "", "2026-11-01T00:00"): 12,
        ("b_tenant", "", DAY): 12,
        ("b_project", "", DAY): 12,
        ("b_key", "", "2026-11-30T23:00"): 12,
        ("b_session", "s_1", EPOCH): 12,
    }
    assert len(posting.charged) == 5
    assert set(posting.charged.values()) == {Charge(12, 0, 12)}
    assert posting.handled == (priced("r1", 7).entry_key, priced("r2", 5).entry_key)


def test_the_organisation_pays_the_cost_and_the_others_the_bill(database: Engine) -> None:
    add_budget(database, "b_all", Scope.ORGANISATION)
    add_budget(database, "b_tenant")
    line = msgspec.structs.replace(made.lines(1)[0], cost_nanousd=4, billed_nanousd=9)
    book(database, made.opened(), made.entry("r1", lines=(line,), cost_nanousd=4))
    assert spent(database) == {("b_all", "", DAY): 4, ("b_tenant", "", DAY): 9}
    add_budget(database, "b_all2", Scope.ORGANISATION)  # and the ledger's sums are the same
    add_budget(database, "b_tenant2")
    book(database, made.entry("r2", lines=(line,), cost_nanousd=4))
    assert spent(database)["b_all2", "", DAY] == 8
    assert spent(database)["b_tenant2", "", DAY] == 18


def test_unrated_is_charged_in_place_of_a_cost(database: Engine) -> None:
    add_budget(database)
    unrated = made.entry("r1", lines=(), cost_nanousd=None, charge_nanousd=70)
    book(database, made.opened(), unrated, made.entry("r2", lines=(), cost_nanousd=None))
    assert spent(database) == {("b_1", "", DAY): 70}
    add_budget(database, "b_2")
    book(database, priced("r3", 1))
    assert spent(database)["b_2", "", DAY] == 71


def test_duplicates_and_conflicts_charge_nothing(database: Engine) -> None:
    add_budget(database)
    book(database, made.opened(), priced("r1", 7), priced("r1", 7))
    again = book(database, priced("r1", 7), priced("r1", 8))
    assert (again.duplicates, again.conflicts, again.charged) == (1, 1, {})
    assert again.handled == (priced("r1", 7).entry_key,)
    assert spent(database) == {("b_1", "", DAY): 7}


def test_adjustments_and_credits_never_count(database: Engine) -> None:
    add_budget(database)
    records = [priced("r1", 7), priced("a", 100, kind=Kind.ADJUSTMENT), priced("c", -5, kind=Kind.CREDIT)]
    book(database, made.opened(), *records)
    add_budget(database, "b_2")
    book(database, priced("r2", 1))
    assert spent(database) == {("b_1", "", DAY): 8, ("b_2", "", DAY): 8}


def test_a_correction_moves_spend_in_the_window_of_the_original(database: Engine) -> None:
    add_budget(database)
    book(database, made.opened(), priced("r1", 70), priced("r2", 1, occurred_at=NOW))
    reversal = priced("r1", -70, role=Role.REVERSAL, revision=1)
    posting = book(database, reversal, priced("r1", 30, role=Role.REPLACEMENT, revision=1))
    assert spent(database) == {("b_1", "", DAY): 30, ("b_1", "", "2026-12-01T00:00"): 1}
    assert [one.amount_nanousd for one in posting.charged.values()] == [-40]


def test_a_window_made_late_starts_from_the_ledger(database: Engine) -> None:
    book(database, made.opened(end_user="ann"), made.opened("s_2", end_user="ben"), priced("r1", 100))
    book(database, priced("r2", 10, "s_2"), priced("r3", 1, "s_2", occurred_at=NOW))
    add_budget(database, "b_day")
    add_budget(database, "b_life", Scope.ORGANISATION, Window.LIFETIME)
    add_budget(database, "b_session", Scope.TENANT, Window.SESSION)
    add_budget(database, "b_each", Scope.EACH_USER)
    book(database, priced("r4", 1_000, "s_2"))
    ben = next(row.id for row in rows(database, end_user) if row.name == "ben")
    assert spent(database) == {
        ("b_day", "", DAY): 1_110,
        ("b_life", "", EPOCH): 1_111,
        ("b_session", "s_2", EPOCH): 1_011,
        ("b_each", ben, DAY): 1_010,
    }


def test_roll_over_is_a_window_of_its_own(database: Engine) -> None:
    add_budget(database)
    late, early = NOW.replace(second=0) - timedelta(microseconds=1), NOW.replace(second=0)
    book(database, made.opened(), priced("r1", 1, occurred_at=late), priced("r2", 2, occurred_at=early))
    assert spent(database) == {("b_1", "", DAY): 1, ("b_1", "", "2026-12-01T00:00"): 2}


def test_a_day_with_25_hours_is_one_window(database: Engine) -> None:
    start = datetime(2026, 10, 24, 22, tzinfo=UTC)  # in Berlin clocks are set back on the 25th
    at = [start - timedelta(seconds=1), start, start + timedelta(hours=24.9), start + timedelta(hours=25)]
    book(database, made.opened(), *(priced(f"r{n}", 10**n, occurred_at=one) for n, one in enumerate(at)))
    add_budget(database, zone="Europe/Berlin")
    book(database, priced("r9", 5, occurred_at=start))
    assert spent(database) == {("b_1", "", "2026-10-24T22:00"): 115}
    (window,) = rows(database, budget_window)
    assert window.ends_at == start + timedelta(hours=25)


def test_each_user_has_a_counter_and_nobody_none(database: Engine) -> None:
    add_budget(database, scope=Scope.EACH_USER)
    sessions = [made.opened("s_1", end_user="ann"), made.opened("s_2", end_user="ben"), made.opened("s_3")]
    again = [made.opened("s_4", end_user="ann")]
    bills = [priced("r", 10**n, f"s_{n}") for n in (1, 2, 3, 4)]
    book(database, *sessions, *again, *bills)
    names = {row.id: row.name for row in rows(database, end_user)}
    assert {names[subject]: amount for (_, subject, _), amount in spent(database).items()} == {
        "ann": 10_010,
        "ben": 100,
    }


def test_a_posting_takes_from_its_own_lease_only(database: Engine) -> None:
    add_budget(database)
    pot = pot_of(load(database)["b_1"], Payer("s_1", "t_1"), made.AT)
    key = {"budget_id": pot.budget_id, "subject": pot.subject, "starts_at": pot.starts_at, "wanted": False}
    with writing(database) as connection:
        for name in ("i_1", "i_2"):
            row = {"instance_id": name, "granted_nanousd": 100, "taken_nanousd": 0}
            connection.execute(insert(lease).values(key | row))
    first = book(database, made.opened(), priced("r1", 70))
    second = book(database, priced("r2", 70))
    third = book(database, priced("r1", -70, role=Role.REVERSAL, revision=1))
    assert first.charged == {pot: Charge(70, 70, 70)}
    assert second.charged == {pot: Charge(70, 100, 140, 70)}
    assert third.charged == {pot: Charge(-70, 100, 70, 140)}
    assert [row.taken_nanousd for row in rows(database, lease)] == [100, 0]
    again = book(database, priced("r1", 70))  # as if nobody had heard of the first commit
    assert (again.charged, again.taken) == ({}, {pot: 100})


def test_budgets_are_loaded_again_when_the_counter_says_so(database: Engine) -> None:
    cache = BudgetCache()
    book(database, made.opened(), priced("r1", 1), budgets=cache)
    add_budget(database)
    add_raise(database, "b_1", 5, NOW, NOW + timedelta(hours=1))
    book(database, priced("r2", 2), budgets=cache)
    with reading(database) as connection:
        assert cache.read(connection) is cache.read(connection)
        assert cache.read(connection).budgets["b_1"].amount_at(NOW) == DOLLAR + 5
    with writing(database) as connection:
        connection.execute(update(budget).values(deleted_at=NOW))
        bump(connection)
    assert book(database, priced("r3", 4), budgets=cache).charged == {}
    assert spent(database) == {("b_1", "", DAY): 3}, "what is deleted keeps its counter"


def test_windows_are_made_once(database: Engine) -> None:
    budget = add_budget(database)
    book(database, made.opened(), priced("r1", 3))
    pots = {Pot("b_1", "", budget.span(at).start): budget for at in (made.AT, NOW)}  # type: ignore[union-attr]
    with writing(database) as connection:
        made_now = ensure_windows(connection, pots, upto=lock_chain(connection).entries)
        assert list(made_now.values()) == [0]
        assert ensure_windows(connection, pots, upto=lock_chain(connection).entries) == {}
        assert ledger_sums(connection, pots) == {
            pot: 3 if pot.starts_at < NOW - timedelta(1) else 0 for pot in pots
        }


@pytest.mark.parametrize("sessions", [1, 400])
def test_a_large_posting_needs_few_statements(database: Engine, sessions: int) -> None:
    add_budget(database, "b_all", Scope.ORGANISATION, Window.LIFETIME)
    add_budget(database, "b_tenant")
    add_budget(database, "b_session", window=Window.SESSION)
    add_budget(database, "b_each", Scope.EACH_USER)
    opened = [made.opened(f"s_{n}", end_user=f"u{n}") for n in range(sessions)]
    bills = [priced(f"r{n}", 1, f"s_{n % sessions}") for n in range(1_000)]
    count = 0

    def counted(*_arguments: object) -> None:
        nonlocal count
        count += 1

    event.listen(database, "before_cursor_execute", counted)
    book(database, *opened, *bills)
    assert count < 40
    assert len(spent(database)) == 2 + 2 * sessions
