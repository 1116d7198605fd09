"""What postings announce: each once, in the posting's own transaction."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, delete

from proxy.core.budgets import Scope
from proxy.core.records import BudgetCut
from proxy.core.windows import Window
from proxy.store.announcements import Completed
from proxy.store.columns import to_micros
from proxy.store.database import writing
from proxy.store.outbox import KEYS_MAX, Announcement, announce
from proxy.store.schema import budget_cut, end_user, outbox
from tests.store import made
from tests.store.budgeting import (
    NOW,
    add_budget,
    add_raise,
    add_webhook,
    book,
    change_amount,
    priced,
    rows,
)


def told(database: Engine, kind: str) -> list[Any]:
    return [row for row in rows(database, outbox) if row.kind == kind]


def percents(database: Engine) -> list[int]:
    return [row.payload["percent"] for row in told(database, "budget.threshold")]


def test_what_a_threshold_tells(database: Engine) -> None:
    budget = add_budget(database, "b_1", Scope.EACH_USER, amount_nanousd=1_000)
    posting = book(database, made.opened(end_user="Zoë"), priced("r1", 500))
    (user,) = rows(database, end_user)
    (row,) = rows(database, outbox)
    start = budget.span(made.AT).start  # type: ignore[union-attr]
    assert row.key == f"threshold/b_1/{user.id}/{to_micros(start)}/50"
    assert (row.kind, row.tenant_id, row.at) == ("budget.threshold", "t_1", NOW)
    assert row.payload == {
        "budget_id": "b_1",
        "scope": "each_user",
        "window": "day",
        "zone": "UTC",
        "subject": user.id,
        "starts_at": "2026-11-30T00:00:00Z",
        "percent": 50,
        "amount_nanousd": 1_000,
        "spent_nanousd": 500,
        "amount_usd": "0.000001000",
        "spent_usd": "0.000000500",
    }
    assert [one.percent for one in posting.thresholds] == [50]
    assert posting.announced == 1


def test_thresholds_are_announced_once(database: Engine) -> None:
    add_budget(database, amount_nanousd=1_000)
    steps = [(499, []), (1, [50]), (400, [50, 80]), (-300, [50, 80]), (900, [50, 80, 100])]
    book(database, made.opened())
    for n, (amount, expected) in enumerate(steps):
        book(database, priced(f"r{n}", amount))
        assert percents(database) == expected
    book(database, priced("tomorrow", 500, occurred_at=NOW))
    assert percents(database) == [50, 80, 100, 50]


@pytest.mark.parametrize("amount", [0, None])
def test_without_an_amount_there_is_no_part_of_it(database: Engine, amount: int | None) -> None:
    add_budget(database, amount_nanousd=amount)
    assert book(database, made.opened(), priced("r1", 500)).announced == 0


def test_a_raise_counts_while_it_lasts(database: Engine) -> None:
    add_budget(database, amount_nanousd=1_000)
    add_raise(database, "b_1", 1_000, NOW, NOW + timedelta(hours=1))
    book(database, made.opened(), priced("r1", 900))
    assert percents(database) == []


def test_an_amount_that_comes_down_reaches_thresholds_too_while_its_window_lasts(database: Engine) -> None:
    add_budget(database, amount_nanousd=600)
    book(database, made.opened(), priced("yesterday", 700))
    with writing(database) as connection:
        connection.execute(delete(outbox))  # as after 100 days
    book(database, priced("r1", 1))
    assert percents(database) == []
    book(database, priced("r2", 280, occurred_at=NOW), priced("r3", 10, occurred_at=NOW))
    assert percents(database) == []
    change_amount(database, "b_1", 350)
    book(database, priced("r4", 1, occurred_at=NOW))
    assert percents(database) == [50, 80]


def test_a_budget_made_too_late_says_so_at_once(database: Engine) -> None:
    book(database, made.opened(), priced("r1", 900))
    add_budget(database, amount_nanousd=1_000)
    book(database, priced("r2", 1))
    assert percents(database) == [50, 80]


def cut(subject_id: str = "r1", budget_id: str = "b_1", **facts: Any) -> BudgetCut:
    figures = {"limit_nanousd": 1_000, "spent_nanousd": 300, "held_nanousd": 700, "estimate_nanousd": 650}
    return BudgetCut(
        session_id="s_1", subject_id=subject_id, budget_id=budget_id, cut_at=made.AT, **figures | facts
    )


@pytest.mark.parametrize("together", [True, False])
def test_a_cut_gets_its_bill(database: Engine, together: bool) -> None:
    add_budget(database, thresholds=[])
    bill = priced("r1", 720)
    if together:
        posting = book(database, made.opened(), cut(), bill)
    else:
        assert book(database, made.opened(), cut(), priced("r2", 1)).cuts == ()
        (row,) = rows(database, budget_cut)
        assert (row.cost_nanousd, row.overshoot_nanousd) == (None, None)
        posting = book(database, bill)
    assert posting.cuts == (Completed("s_1", "r1", "b_1", 720, 700, 20),)
    assert book(database, cut(), bill).cuts == ()
    (row,) = rows(database, budget_cut)
    assert (row.cost_nanousd, row.overshoot_nanousd) == (720, 20)
    (said,) = told(database, "budget.cut")
    assert (said.key, said.tenant_id, said.payload["overshoot_nanousd"]) == ("cut/s_1/r1", "t_1", 20)
    assert said.payload["cost_usd"] == "0.000000720"


def test_within_the_hold_nothing_is_overshot(database: Engine) -> None:
    add_budget(database, "b_1", Scope.ORGANISATION, Window.MONTH)
    assert book(database, made.opened(), cut(), priced("r1", 650)).cuts[0].overshoot_nanousd == 0
    (said,) = told(database, "budget.cut")
    assert (said.tenant_id, said.payload["tenant_id"]) == (None, "t_1")


def test_a_cut_of_a_forgotten_budget_gets_its_bill_too(database: Engine) -> None:
    assert book(database, made.opened(), cut(budget_id="b_9"), priced("r1", 650)).cuts[0].cost_nanousd == 650


def test_what_an_ended_session_tells(database: Engine) -> None:
    add_webhook(database, "t_1", "session.ended")
    facts: dict[str, Any] = {"project_id": "p_1", "tags": {"team": "a"}, "end_user": "Zoë"}
    unrated = made.entry("r3", lines=(), cost_nanousd=None)
    posting = book(
        database,
        made.opened(**facts),
        priced("r1", 5),
        priced("r2", 7),
        unrated,
        made.closed(),
        made.closed(),
    )
    (row,) = rows(database, outbox)
    assert (row.key, row.kind, row.tenant_id) == ("session.ended/s_1", "session.ended", "t_1")
    assert row.payload == {
        "session_id": "s_1",
        "tenant_id": "t_1",
        "project_id": "p_1",
        "api_key_id": "k_1",
        "tags": {"team": "a"},
        "model": "gpt-realtime",
        "opened_at": "2026-11-30T23:30:00Z",
        "closed_at": "2026-11-30T23:35:00Z",
        "close_code": 1000,
        "reason": "client_closed",
        "responses": 3,
        "cost_nanousd": 12,
        "billed_nanousd": 12,
        "unrated": 1,
        "cost_usd": "0.000000012",
    }
    assert (posting.ended, posting.announced) == (1, 1)
    assert book(database, made.closed()).ended == 0


def test_a_session_without_a_bill_ends_too(database: Engine) -> None:
    add_webhook(database, None, "session.ended")
    book(database, made.opened(), made.closed())
    (row,) = rows(database, outbox)
    assert (row.payload["responses"], row.payload["cost_nanousd"], row.payload["unrated"]) == (0, 0, 0)


def test_ends_are_told_only_where_somebody_wants_to_know(database: Engine) -> None:
    add_webhook(database, "t_1", "budget.cut")
    add_webhook(database, "t_2", "session.ended")
    add_webhook(database, None, "session.ended", deleted_at=NOW)
    book(database, made.opened("s_1"), made.opened("s_2", tenant_id="t_2"))
    book(database, made.closed("s_1"), made.closed("s_2"))
    assert [row.key for row in rows(database, outbox)] == ["session.ended/s_2"]


def test_the_outbox_takes_a_key_once(database: Engine) -> None:
    one, other = (Announcement(key, "test", None, NOW, {"n": 1}) for key in ("a", "b"))
    with writing(database) as connection:
        assert announce(connection, [one, one]) == (one,)
        assert announce(connection, [one, other]) == (other,)
        assert announce(connection, []) == ()
        many = [Announcement(f"{n:05}", "test", None, NOW, {}) for n in range(KEYS_MAX + 1)]
        assert announce(connection, many[-1:]) == tuple(many[-1:])
        assert announce(connection, many) == tuple(many[:-1])
    assert [row.key for row in rows(database, outbox)][:2] == ["a", "b"]
