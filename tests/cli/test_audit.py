"""`talkmeter audit`, and that every command that changes something says who it was."""

import getpass
import re
import socket
from datetime import UTC, datetime

import pytest

from proxy.store.live import Live, publish
from tests.cli.conftest import Talkmeter
from tests.ledgers import Books

ACTOR = f"cli:{getpass.getuser()}@{socket.gethostname()}"


def test_every_command_that_changes_something_is_noted(talkmeter: Talkmeter, books: Books) -> None:
    talkmeter("tenant", "create", "acme")
    talkmeter("project", "create", "web", "--tenant", "acme")
    key = talkmeter("key", "create", "--tenant", "acme", "--json").json
    talkmeter("prices", "set", "gpt-new", "audio_in", "32.00")
    budget = talkmeter("budget", "set", "--amount", "5", "--window", "day", "--tenant", "acme", "--json").json
    raising = ("--amount", "1", "--until", "2099-01-01", "--reason", "r1")
    talkmeter("budget", "raise", budget["id"], *raising)
    talkmeter("budget", "delete", budget["id"], "--reason", "r2")
    publish(books.engine, "i1", [Live("s1", 0, 0)], datetime.now(UTC))
    talkmeter("session", "stop", "s1", "--reason", "r3")
    talkmeter("key", "revoke", key["id"], "--reason", "r4")
    talkmeter("project", "archive", "web", "--tenant", "acme", "--reason", "r5")
    talkmeter("tenant", "archive", "acme", "--reason", "r6")
    listed = talkmeter("audit", "list", "--json")
    assert [(one["action"], one["reason"]) for one in listed.json] == [
        ("tenant.create", None),
        ("project.create", None),
        ("key.create", None),
        ("prices.set", None),
        ("budget.set", None),
        ("budget.raise", "r1"),
        ("budget.delete", "r2"),
        ("session.stop", "r3"),
        ("key.revoke", "r4"),
        ("project.archive", "r5"),
        ("tenant.archive", "r6"),
    ]
    assert key["secret"] not in listed.out and key["prefix"] not in listed.out
    assert {one["actor"] for one in listed.json} == {ACTOR}


def test_the_table_shows_what_changed(talkmeter: Talkmeter) -> None:
    talkmeter("tenant", "create", "acme")
    words = ("budget", "set", "--window", "month", "--tenant", "acme")
    talkmeter(*words, "--amount", "50")
    talkmeter(*words, "--amount", "unlimited", "--reason", "no limits")
    last = talkmeter("audit", "list", "--limit", "1").out
    for shown in ("budget.set", "acme", "amount_usd=50.000000000", "amount_usd=none", "no limits"):
        assert shown in last
    assert "tenant.create" not in last and "on_exhausted" not in last and "nanousd" not in last


def test_filters(talkmeter: Talkmeter) -> None:
    talkmeter("tenant", "create", "acme")
    talkmeter("tenant", "create", "globex")
    (one,) = talkmeter("audit", "list", "--tenant", "acme", "--json").json
    assert one["tenant"] == "acme"
    assert talkmeter("audit", "list", "--to", "2020-01-01", "--json").json == []
    assert len(talkmeter("audit", "list", "--from", "2020-01-01", "--json").json) == 2
    assert "no tenant 'none'" in talkmeter.fails("audit", "list", "--tenant", "none")
    assert "--to" in talkmeter.fails("audit", "list", "--from", "2020-01-02", "--to", "2020-01-01", code=2)


def test_the_actors_name_is_kept_plain(talkmeter: Talkmeter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "eve\x1b[31m@" + "x" * 1_000)
    monkeypatch.setattr(socket, "gethostname", lambda: "")
    talkmeter("tenant", "create", "acme")
    (one,) = talkmeter("audit", "list", "--json").json
    assert re.fullmatch(r"cli:eve\?\?31m\?x{55}@\?", one["actor"])


def test_a_user_without_a_name_is_a_number(talkmeter: Talkmeter, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr(getpass, "getuser", nobody)
    talkmeter("tenant", "create", "acme")
    (one,) = talkmeter("audit", "list", "--json").json
    assert re.match(r"cli:uid\d+@", one["actor"])


def test_a_reason_that_cannot_be_kept_changes_nothing(talkmeter: Talkmeter) -> None:
    talkmeter("tenant", "create", "acme")
    assert "printable" in talkmeter.fails("tenant", "archive", "acme", "--reason", "x" * 501)
    assert talkmeter("tenant", "list", "--json").json[0]["archived_at"] is None


def test_a_reason_is_on_one_printable_line(talkmeter: Talkmeter) -> None:
    talkmeter("tenant", "create", "acme")
    words = ("limit", "set", "--tenant", "acme", "responses", "3")
    assert "printable" in talkmeter.fails(*words, "--reason", "one\ntwo")
    assert talkmeter("limit", "list", "--json").json == []


LIMIT = ("--tenant", "acme", "responses")
MODEL = ("--tenant", "acme", "gpt-realtime*")


@pytest.mark.parametrize(
    ("first", "words", "action", "before", "after"),
    [
        ((), ("limit", "set", *LIMIT, "3"), "limit.set", None, {"responses": "3"}),
        (
            ("limit", "set", *LIMIT, "3"),
            ("limit", "set", *LIMIT, "5"),
            "limit.set",
            {"responses": "3"},
            {"responses": "5"},
        ),
        (
            ("limit", "set", *LIMIT, "3"),
            ("limit", "remove", *LIMIT),
            "limit.remove",
            {"responses": "3"},
            None,
        ),
        (
            (),
            ("model", "allow", *MODEL),
            "model.allow",
            None,
            {"model": "gpt-realtime*", "allowed": True},
        ),
        (
            ("model", "allow", *MODEL),
            ("model", "deny", *MODEL),
            "model.deny",
            {"model": "gpt-realtime*", "allowed": True},
            {"model": "gpt-realtime*", "allowed": False},
        ),
        (
            ("model", "deny", *MODEL),
            ("model", "remove", *MODEL),
            "model.remove",
            {"model": "gpt-realtime*", "allowed": False},
            None,
        ),
    ],
)
def test_limits_and_models_say_who_what_and_why(
    talkmeter: Talkmeter,
    first: tuple[str, ...],
    words: tuple[str, ...],
    action: str,
    before: object,
    after: object,
) -> None:
    talkmeter("tenant", "create", "acme")
    if first:
        talkmeter(*first)
    talkmeter(*words, "--reason", "it ran away")
    (noted,) = talkmeter("audit", "list", "--limit", "1", "--json").json
    assert (noted["actor"], noted["reason"], noted["tenant"]) == (ACTOR, "it ran away", "acme")
    assert (noted["action"], noted["before"], noted["after"]) == (action, before, after)


def test_an_act_that_changes_nothing_is_not_noted(talkmeter: Talkmeter) -> None:
    talkmeter("tenant", "create", "acme")
    for reason in ("first", "again"):
        talkmeter("limit", "set", *LIMIT, "3", "--reason", reason)
        talkmeter("model", "deny", *MODEL, "--reason", reason)
    noted = talkmeter("audit", "list", "--json").json[1:]
    assert [(one["action"], one["reason"]) for one in noted] == [
        ("limit.set", "first"),
        ("model.deny", "first"),
    ]
