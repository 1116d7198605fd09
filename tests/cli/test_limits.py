"""`talkmeter limit` and `model`."""

import pytest

from tests.cli.conftest import Talkmeter


def make(talkmeter: Talkmeter) -> str:
    """Make a tenant with a key; return its id."""
    talkmeter("tenant", "create", "acme")
    return str(talkmeter("key", "create", "--tenant", "acme", "--json").json["id"])


def test_limits(talkmeter: Talkmeter) -> None:
    key = make(talkmeter)
    shown = talkmeter("limit", "set", "--tenant", "acme", "session_seconds", "600").out
    assert shown == "Limit session_seconds of tenant acme is 600 s.\n"
    made = talkmeter("limit", "set", "--tenant", "acme", "--key", key, "session_cost", "0.5", "--json").json
    assert (made["tenant"], made["api_key_id"]) == ("acme", key)
    assert (made["name"], made["value"], made["unit"]) == ("session_cost", 500_000_000, "nanousd")
    talkmeter("limit", "set", "--tenant", "acme", "session_seconds", "1.5")
    listed = talkmeter("limit", "list", "--tenant", "acme", "--json").json
    assert [(one["api_key_id"], one["name"], one["value"]) for one in listed] == [
        (None, "session_seconds", 1_500),
        (key, "session_cost", 500_000_000),
    ]
    table = talkmeter("limit", "list").out
    assert "1.5 s" in table and "$0.50" in table and key in table
    removed = talkmeter("limit", "remove", "--tenant", "acme", "session_seconds").out
    assert removed == "Limit session_seconds of tenant acme is removed; it was 1.5 s.\n"
    talkmeter("limit", "remove", "--tenant", "acme", "--key", key, "session_cost", "--json")
    assert talkmeter("limit", "list", "--json").json == []


def test_models(talkmeter: Talkmeter) -> None:
    key = make(talkmeter)
    assert (
        talkmeter("model", "allow", "--tenant", "acme", "gpt-realtime*").out
        == "gpt-realtime* is allowed for tenant acme.\n"
    )
    made = talkmeter("model", "deny", "--tenant", "acme", "--key", key, "gpt-realtime-mini", "--json").json
    assert (made["api_key_id"], made["model"], made["allowed"]) == (key, "gpt-realtime-mini", False)
    table = talkmeter("model", "list", "--tenant", "acme").out
    assert "allowed" in table and "denied" in table and key in table
    assert len(talkmeter("model", "list", "--json").json) == 2
    removed = talkmeter("model", "remove", "--tenant", "acme", "gpt-realtime*").out
    assert removed == "gpt-realtime* is no longer allowed for tenant acme.\n"
    talkmeter("model", "remove", "--tenant", "acme", "--key", key, "gpt-realtime-mini", "--json")
    assert talkmeter("model", "list", "--json").json == []


@pytest.mark.parametrize(
    ("words", "problem", "code"),
    [
        (("limit", "set", "responses", "0", "--tenant", "acme"), "above 0", 1),
        (("limit", "set", "responses", "1.5", "--tenant", "acme"), "'1.5' is not a whole number", 1),
        (("limit", "set", "idle_seconds", "soon", "--tenant", "acme"), "not a number of seconds", 1),
        (("limit", "set", "minute_cost", "cheap", "--tenant", "acme"), "not an amount in dollars", 1),
        (("limit", "set", "patience", "1", "--tenant", "acme"), "patience", 2),
        (("limit", "set", "responses", "1", "--tenant", "none"), "no tenant 'none'", 1),
        (("limit", "set", "responses", "1", "--tenant", "acme", "--key", "key_0"), "no key 'key_0'", 1),
        (("limit", "remove", "responses", "--tenant", "acme"), "the list of limits", 1),
        (("model", "allow", "a*b", "--tenant", "acme"), "at the end", 1),
        (("model", "remove", "gpt", "--tenant", "acme"), "a list says which are", 1),
    ],
)
def test_what_cannot_be_done_is_told(
    talkmeter: Talkmeter, words: tuple[str, ...], problem: str, code: int
) -> None:
    make(talkmeter)
    assert problem in talkmeter.fails(*words, code=code)
