"""`talkmeter session`."""

from datetime import UTC, datetime

import pytest

from proxy.core.usage import Meter
from proxy.store.live import Live, publish, stop_orders
from tests.cli.conftest import Talkmeter
from tests.ledgers import Books


@pytest.fixture
def sessions(books: Books) -> Books:
    books.open("s1", "acme", at=datetime(2026, 10, 1, tzinfo=UTC))
    books.bill("s1", "r1", {Meter.TEXT_IN: 10})
    books.bill("s1", "r2")
    books.close("s1")
    books.open("s2", "globex", at=datetime.now(UTC))
    publish(books.engine, "i1", [Live("s2", 5_000_000_000, 3)], datetime.now(UTC))
    return books


def test_listing(talkmeter: Talkmeter, sessions: Books) -> None:
    listed = talkmeter("session", "list", "--json").json
    assert [(one["id"], one["live"], one["cost_nanousd"]) for one in listed] == [
        ("s2", True, 5_000_000_000),
        ("s1", False, 40_000),
    ]
    assert [one["id"] for one in talkmeter("session", "list", "--live", "--json").json] == ["s2"]
    assert [one["id"] for one in talkmeter("session", "list", "--tenant", "acme", "--json").json] == ["s1"]
    assert len(talkmeter("session", "list", "--limit", "1", "--json").json) == 1
    for options in (
        ("--state", "ended"),
        ("--to", "2026-10-02"),
        ("--id", "s1"),
        ("--reason", "client_closed"),
    ):
        listed = talkmeter("session", "list", *options, "--from", "2026-10-01", "--json").json
        assert [one["id"] for one in listed] == ["s1"], options
    assert "it contradicts --live" in talkmeter.fails("session", "list", "--live", "--state", "lost", code=2)
    table = talkmeter("session", "list").out
    for shown in ("live", "5.000000000", "client_closed", "1 unrated"):
        assert shown in table


def test_showing_one(talkmeter: Talkmeter, sessions: Books) -> None:
    shown = talkmeter("session", "show", "s1", "--json").json
    assert shown["reason"] == "client_closed"
    assert [turn["subject_id"] for turn in shown["turns"]] == ["r1", "r2"]
    table = talkmeter("session", "show", "s1").out
    assert "client_closed" in table and "r1" in table and "usage_missing" in table


def test_the_account_of_one(talkmeter: Talkmeter, sessions: Books) -> None:
    sessions.bill("s1", "r3", {Meter.TEXT_IN: 700, Meter.AUDIO_OUT: 5}, estimated=False)
    sessions.bill("s1", "r4", {Meter.TEXT_IN: 700})
    told = talkmeter("session", "account", "s1", "--json").json
    assert told["amounts"] == "cost" and told["total"]["unrated_entries"] == 1
    assert told["things"][3]["cache_broke"] == {
        "tokens": 640,
        "extra_nanousd": 640 * 3_600,
        "extra_usd": "0.002304000",
        "because": "unknown",
    }
    ran = talkmeter("session", "account", "s1")
    for shown in ("Fresh input $", "0.002304000", "cache broke", "unrated", "0.005960000"):
        assert shown in ran.out
    assert "Without a price" in ran.err
    assert talkmeter("session", "account", "s1", "--billed", "--json").json["amounts"] == "billed"
    assert "There is no session 's9'" in talkmeter.fails("session", "account", "s9")


def test_stopping_one(talkmeter: Talkmeter, sessions: Books) -> None:
    assert talkmeter("session", "stop", "s2", "--reason", "runaway").out == "Session s2 is being stopped.\n"
    assert stop_orders(sessions.engine, "i1") == {"s2": "runaway"}
    assert talkmeter("session", "stop", "s2", "--json").json == {"id": "s2", "stopping": True}


def test_mistakes_are_told(talkmeter: Talkmeter, sessions: Books) -> None:
    assert "There is no session 's9'" in talkmeter.fails("session", "show", "s9")
    assert "No session 's1' is live" in talkmeter.fails("session", "stop", "s1")
    assert "no tenant 'none'" in talkmeter.fails("session", "list", "--tenant", "none")
