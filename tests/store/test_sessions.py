"""Sessions, live and past."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine

from proxy.core.usage import Meter
from proxy.store.live import LIVE_S, Live, publish
from proxy.store.session_filters import EVERYTHING, SessionFilters, State
from proxy.store.sessions import find_session, list_sessions
from tests.ledgers import MODEL, NOW, Books

LATER = NOW + timedelta(minutes=5)


@pytest.fixture
def books(database: Engine) -> Books:
    return Books(database)


def test_a_session_that_is_over(books: Books) -> None:
    books.open("s1", "acme", "web", end_user="bob", tags={"team": "a"})
    books.bill("s1", "r1", {Meter.TEXT_IN: 10})
    books.bill("s1", "r2")
    books.close("s1", LATER)
    found = find_session(books.engine, "s1", LATER)
    assert found is not None
    assert found.as_json() == {
        "id": "s1",
        "tenant_id": books.key("acme", "web").tenant_id,
        "tenant": "acme",
        "project": "web",
        "api_key_id": books.key("acme", "web").id,
        "key": "acme's key",
        "end_user": "bob",
        "tags": {"team": "a"},
        "provider": "openai",
        "model": MODEL,
        "upstream_session_id": "sess_s1",
        "instance_id": "i1",
        "opened_at": "2026-11-23T12:00:00Z",
        "closed_at": "2026-11-23T12:05:00Z",
        "close_code": 1000,
        "reason": "client_closed",
        "live": False,
        "seconds": 300,
        "responses": 2,
        "cost_nanousd": 40_000,
        "billed_nanousd": 40_000,
        "unrated_entries": 1,
        "running_nanousd": 0,
        "burn_nanousd": 0,
        "left_nanousd": None,
    }
    assert find_session(books.engine, "s2", LATER) is None


def test_a_live_session_shows_what_it_cost_so_far(books: Books) -> None:
    books.open("s1")
    books.bill("s1", "r1", {Meter.TEXT_IN: 10})
    publish(books.engine, "i1", [Live("s1", 90_000, 2)], NOW)
    live = find_session(books.engine, "s1", NOW)
    assert live is not None and (live.live, live.cost_nanousd, live.responses) == (True, 90_000, 2)
    dead = find_session(books.engine, "s1", NOW + timedelta(seconds=LIVE_S + 1))
    assert dead is not None and (dead.live, dead.cost_nanousd, dead.responses) == (False, 40_000, 1)


@pytest.mark.parametrize(("running", "left"), [(38_000, 0), (45_000, 5_000)])
def test_what_the_ledger_has_already_does_not_run_any_more(books: Books, running: int, left: int) -> None:
    """Live figures are up to a second old: a response that was booked since then is not counted twice."""
    books.open("s1")
    publish(books.engine, "i1", [Live("s1", 0, 0, running_nanousd=running)], NOW)
    books.bill("s1", "r1", {Meter.TEXT_IN: 10})
    found = find_session(books.engine, "s1", NOW)
    assert found is not None and (found.cost_nanousd, found.running_nanousd) == (40_000, left)


def test_the_newest_come_first(books: Books) -> None:
    for number, tenant in enumerate(("acme", "acme", "globex")):
        books.open(f"s{number}", tenant, at=NOW + timedelta(seconds=number))
    publish(books.engine, "i1", [Live("s0", 0, 0)], NOW)
    acme = books.key("acme").tenant_id

    def ids(filters: SessionFilters = EVERYTHING, limit: int = 100) -> list[str]:
        return [one.id for one in list_sessions(books.engine, NOW, filters, limit=limit)]

    assert ids() == ["s2", "s1", "s0"]
    assert ids(limit=2) == ["s2", "s1"]
    assert ids(SessionFilters(tenant=acme)) == ["s1", "s0"]
    assert ids(SessionFilters(state=State.LIVE)) == ["s0"]
    books.close("s0")
    assert ids(SessionFilters(state=State.LIVE)) == [], "what is over is not live, however lately it was seen"
