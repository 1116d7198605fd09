"""Instances as people see them, and forgetting one whose journal is lost."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select

from proxy.core.budgets import Payer, Scope, pot_of
from proxy.core.usage import Meter
from proxy.core.windows import Window
from proxy.store import Conflict, NotFound
from proxy.store.audit import Act, list_audit
from proxy.store.budgets import set_budget
from proxy.store.database import reading, writing
from proxy.store.instance_list import InstanceState, count_states, find_instance, forget, list_instances
from proxy.store.instances import Unposted, ended, register, seen
from proxy.store.leases import Order, exchange
from proxy.store.pages import Page
from proxy.store.schema import instance, lease, ledger_entry, live_session
from proxy.store.spend import counted
from tests.ledgers import NOW, Books

HOUR = timedelta(hours=1)
ACT = Act("cli:ada@host", NOW, "it burned down")


@pytest.fixture
def books(database: Engine) -> Books:
    return Books(database)


def known(books: Books, name: str, seen_at: datetime = NOW - HOUR, **facts: Any) -> None:
    """Let there be an instance that was seen then."""
    row = {"started_at": NOW - 2 * HOUR, "seen_at": seen_at, "journal_path": f"/data/{name}", "version": "1"}
    with writing(books.engine) as connection:
        connection.execute(insert(instance).values(id=name, **(row | facts)))


def holds(books: Books, name: str, granted: int, taken: int, budget: str = "b_1") -> None:
    row = {"budget_id": budget, "subject": "", "starts_at": NOW, "instance_id": name, "wanted": False}
    with writing(books.engine) as connection:
        connection.execute(insert(lease).values(granted_nanousd=granted, taken_nanousd=taken, **row))


def states(books: Books) -> dict[str, InstanceState]:
    with reading(books.engine) as connection:
        return {one.id: one.state for one in list_instances(connection, NOW)}


def test_what_is_known_of_each(books: Books) -> None:
    known(books, "i_running", NOW - timedelta(seconds=29))
    known(books, "i_dead", NOW - timedelta(seconds=30))
    known(books, "i_ended", NOW - HOUR, ended_at=NOW - HOUR)
    known(books, "i_forgotten", NOW - HOUR, forgotten_at=NOW)
    known(books, "i_found", NOW, forgotten_at=NOW - HOUR)
    assert states(books) == {
        "i_dead": InstanceState.DEAD,
        "i_ended": InstanceState.ENDED,
        "i_forgotten": InstanceState.FORGOTTEN,
        "i_found": InstanceState.RUNNING,
        "i_running": InstanceState.RUNNING,
    }
    with reading(books.engine) as connection:
        assert count_states(connection, NOW) == {InstanceState.RUNNING: 2, InstanceState.DEAD: 1}
        page = list_instances(connection, NOW, Page(after=("i_dead",), limit=2))
        assert [one.id for one in page] == ["i_ended", "i_forgotten"]


def test_what_one_still_has(books: Books) -> None:
    """Conversations that have not ended, money of budgets, what is not posted: all of it may be lost."""
    books.open("s1")  # by the instance "i1"
    known(books, "i1", unposted_from=NOW - HOUR, parked=3)
    holds(books, "i1", 700, 200)
    holds(books, "i1", 90, 90, "b_2")
    with reading(books.engine) as connection:
        found = find_instance(connection, "i1", NOW)
    assert (found.sessions, found.reserved_nanousd, found.parked) == (1, 500, 3)
    unposted, sessions, parked, reserved = found.may_hide
    assert unposted == "What it has metered since 2026-11-23T11:00:00Z is not in the ledger."
    assert sessions.startswith("1 of its conversations") and parked.startswith("3 records")
    assert reserved.startswith("$0.000000500 of budgets")


def test_what_had_posted_all_hides_its_last_seconds_only(books: Books) -> None:
    known(books, "i_1")
    with reading(books.engine) as connection:
        (said,) = find_instance(connection, "i_1", NOW).may_hide
    assert said.startswith("By its last word, of 2026-11-23T11:00:00Z, all was in the ledger")


def test_forgotten(books: Books) -> None:
    """Its money is free, it is live nowhere, and the audit log says what may be missing."""
    books.open("s1")
    known(books, "i1")
    holds(books, "i1", 700, 200)
    live = {"session_id": "s1", "instance_id": "i1", "seen_at": NOW - HOUR, "cost_nanousd": 5, "responses": 1}
    with writing(books.engine) as connection:
        connection.execute(insert(live_session).values(live))
        assert forget(connection, "i1", ACT).reserved_nanousd == 500
        assert connection.execute(select(live_session)).all() == []
        assert find_instance(connection, "i1", NOW).reserved_nanousd == 0
        (noted,) = [one for one in list_audit(connection) if one.action == "instance.forget"]
    assert (noted.action, noted.object, noted.reason) == ("instance.forget", "i1", "it burned down")
    assert noted.after == {
        "freed_usd": "0.000000500",
        "sessions": 1,
        "seen_at": "2026-11-23T11:00:00Z",
        "unposted_from": None,
        "parked": 0,
    }


def test_only_what_is_dead_is_forgotten(books: Books) -> None:
    known(books, "i_running", NOW)
    known(books, "i_ended", NOW - HOUR, ended_at=NOW - HOUR)
    known(books, "i_dead")
    with writing(books.engine) as connection:
        for name, problem in (("i_running", "still runs"), ("i_ended", "hides nothing")):
            with pytest.raises(Conflict, match=problem):
                forget(connection, name, ACT)
        with pytest.raises(NotFound, match="no instance i_9"):
            forget(connection, "i_9", ACT)
        forget(connection, "i_dead", ACT)
        with pytest.raises(Conflict, match="forgotten before"):
            forget(connection, "i_dead", ACT)


def test_what_a_journal_that_is_found_again_holds_is_booked_once_and_spent(books: Books) -> None:
    """Its lease is empty, and stays so: what it books comes on top of what others were given meanwhile."""
    key = books.key("acme")
    payer = Payer("s1", key.tenant_id, key.project_id, key.id)
    with writing(books.engine) as connection:
        budget = set_budget(
            connection, ACT, scope=Scope.TENANT, window=Window.LIFETIME, amount_nanousd=10**9, tenant="acme"
        ).rule
        order = Order(pot_of(budget, payer, NOW), budget, need_nanousd=90_000)
        exchange(connection, "i1", [order], now=NOW, live_instances=1)
    books.open("s1")
    known(books, "i1")
    with writing(books.engine) as connection:
        assert forget(connection, "i1", ACT).reserved_nanousd == 90_000
    for _ in range(2):  # what its journal holds may be posted again
        books.bill("s1", "r1", {Meter.TEXT_IN: 10})
    with reading(books.engine) as connection:
        booked = connection.execute(select(ledger_entry.c.cost_nanousd)).scalars().all()
        assert (booked, counted(connection, [order.pot])) == ([40_000], {order.pot: 40_000})
        assert find_instance(connection, "i1", NOW).reserved_nanousd == 0


def test_one_that_comes_back_is_as_it_was(books: Books) -> None:
    """Its journal was found: it is registered like any other, and ends like any other."""
    known(books, "i1", forgotten_at=NOW)
    register(books.engine, "i1", Path("/data/i1"), "2", NOW + HOUR)
    seen(books.engine, "i1", Unposted(), NOW + HOUR)
    with reading(books.engine) as connection:
        found = find_instance(connection, "i1", NOW + HOUR)
        assert (found.state, found.forgotten_at) == (InstanceState.RUNNING, None)
    ended(books.engine, "i1", NOW + HOUR)
    assert states(books) == {"i1": InstanceState.ENDED}
