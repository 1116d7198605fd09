"""`talkmeter budget`."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import insert

from proxy.store.database import writing
from proxy.store.schema import budget_window
from tests.cli.conftest import Talkmeter
from tests.ledgers import Books

ACME = ("--tenant", "acme")
MONTH = ("--window", "month")


@pytest.fixture
def acme(talkmeter: Talkmeter) -> Talkmeter:
    talkmeter("tenant", "create", "acme")
    talkmeter("project", "create", "web", *ACME)
    return talkmeter


def test_setting_one(acme: Talkmeter) -> None:
    made = acme("budget", "set", "--amount", "50", *MONTH, *ACME, "--json").json
    assert (made["scope"], made["tenant"], made["window"], made["zone"]) == ("tenant", "acme", "month", "UTC")
    assert (made["amount_nanousd"], made["amount_usd"]) == (50_000_000_000, "50.000000000")
    assert (made["on_exhausted"], made["on_store_down"]) == ("cut", "terminate")
    said = acme("budget", "set", "--amount", "unlimited", *MONTH, *ACME, "--on-exhausted", "wrap_up").out
    assert said == f"The month budget of acme is unlimited ({made['id']}).\n"
    (listed,) = acme("budget", "list", "--json").json
    assert (listed["amount_nanousd"], listed["on_exhausted"]) == (None, "wrap_up")


def test_everything_that_can_be_said(acme: Talkmeter) -> None:
    words = (
        *("--amount", "0.5", "--window", "day", *ACME, "--each-user", "--zone", "Europe/Berlin"),
        *("--on-exhausted", "block", "--on-store-down", "continue", "--store-down-amount", "2"),
        *("--thresholds", "80, 100", "--reason", "pilot"),
    )
    made = acme("budget", "set", *words, "--json").json
    assert (made["scope"], made["zone"], made["thresholds"]) == ("each_user", "Europe/Berlin", [80, 100])
    assert (made["on_store_down"], made["store_down_usd"]) == ("continue", "2.000000000")
    made = acme(
        "budget",
        "set",
        "--amount",
        "1",
        "--window",
        "day",
        *ACME,
        "--each-user",
        "--thresholds",
        "none",
        "--json",
    ).json
    assert (made["thresholds"], made["on_exhausted"]) == ([], "block")
    assert acme("audit", "list", "--json").json[-2]["reason"] == "pilot"


def test_every_owner(acme: Talkmeter, books: Books) -> None:
    key = acme("key", "create", *ACME, "--name", "app", "--json").json["id"]
    owners = {
        "all tenants": ("--organisation",),
        "acme": ACME,
        "acme, project web": (*ACME, "--project", "web"),
        f"acme, key {key} (app)": ("--key", key),
        "acme, user bob": (*ACME, "--user", "bob"),
        "acme, each user": (*ACME, "--each-user"),
    }
    for whose, words in owners.items():
        said = acme("budget", "set", "--amount", "3", *MONTH, *words).out
        assert said.startswith(f"The month budget of {whose} is $3.000000000 (bud_")
    table = acme("budget", "list").out
    assert all(whose in table for whose in owners)
    talked = acme("budget", "list", *ACME, "--json").json
    assert [one["scope"] for one in talked] == ["tenant", "project", "key", "end_user", "each_user"]


def test_what_is_spent_and_left(acme: Talkmeter, books: Books) -> None:
    made = acme("budget", "set", "--amount", "5", "--window", "lifetime", *ACME, "--json").json["id"]
    row = {"budget_id": made, "subject": "", "starts_at": datetime(1970, 1, 1, tzinfo=UTC)}
    with writing(books.engine) as connection:
        connection.execute(insert(budget_window).values(**row, spent_nanousd=1_250_000_000))
    table = acme("budget", "list").out
    for shown in ("Spent $", "1.250000000", "Left $", "3.750000000", "cut", "terminate"):
        assert shown in table


def test_raising_and_deleting(acme: Talkmeter) -> None:
    made = acme("budget", "set", "--amount", "50", *MONTH, *ACME, "--json").json["id"]
    words = ("--amount", "20", "--until", "2099-01-01")
    said = acme("budget", "raise", made, *words, "--from", "2098-12-01", "--reason", "fair").out
    assert said == (
        "The month budget of acme is $50.000000000,"
        " and $20.000000000 more from 2098-12-01 00:00Z until 2099-01-01 00:00Z.\n"
    )
    raised = acme("budget", "raise", made, *words, "--reason", "rush", "--json").json
    assert raised["amount_now_usd"] == "70.000000000"
    assert [one["reason"] for one in raised["raises"]] == ["fair", "rush"]
    table = acme("budget", "list").out
    assert "70.000000000" in table and "+20.000000000 from 2098-12-01 00:00Z" in table
    assert acme("budget", "delete", made, "--reason", "over").out == "The month budget of acme is deleted.\n"
    assert acme("budget", "delete", made, "--json").json["deleted_at"]
    assert acme("budget", "list", "--json").json == []


@pytest.mark.parametrize(
    ("words", "problem", "code"),
    [
        (("--amount", "5", *MONTH), "--organisation for all", 2),
        (("--amount", "5", *MONTH, "--project", "web"), "--project needs --tenant", 2),
        (("--amount", "5", *MONTH, "--user", "bob"), "--user needs --tenant", 2),
        (("--amount", "5", *MONTH, "--each-user"), "--each-user needs --tenant", 2),
        (("--amount", "5", *MONTH, *ACME, "--organisation"), "--organisation counts all", 2),
        (("--amount", "5", *MONTH, *ACME, "--user", "bob", "--each-user"), "--user and --each-user", 2),
        (("--amount", "much", *MONTH, *ACME), "'much' is not an amount", 2),
        (("--amount", "5", "--window", "year", *ACME), "'year' is not one of", 2),
        (("--amount", "5", *MONTH, *ACME, "--thresholds", "half"), "whole percents", 2),
        (("--amount", "5", *MONTH, *ACME, "--on-exhausted", "stop"), "'stop' is not one of", 2),
        (("--amount", "5", *MONTH, *ACME, "--store-down-amount", "x"), "--store-down-amount", 2),
        (("--amount", "-5", *MONTH, *ACME), "An amount is 0", 1),
        (("--amount", "5", *MONTH, *ACME, "--thresholds", "0"), "from 1 to 1000", 1),
        (("--amount", "5", *MONTH, *ACME, "--zone", "Mars"), "'Mars' is not a time zone", 1),
        (("--amount", "5", *MONTH, "--tenant", "none"), "no tenant 'none'", 1),
        (("--amount", "5", *MONTH, *ACME, "--project", "none"), "no project 'none'", 1),
        (("--amount", "5", *MONTH, "--key", "key_none"), "no key 'key_none'", 1),
    ],
)
def test_mistakes_are_told(acme: Talkmeter, words: tuple[str, ...], problem: str, code: int) -> None:
    said = acme.fails("budget", "set", *words, code=code)
    assert problem in " ".join(said.replace("│", " ").split())


def test_mistakes_of_raises_are_told(acme: Talkmeter) -> None:
    made = acme("budget", "set", "--amount", "50", *MONTH, *ACME, "--json").json["id"]
    words = ("--amount", "20", "--until", "2099-01-01")
    assert "Missing option '--reason'" in acme.fails("budget", "raise", made, *words, code=2)
    assert "needs a reason" in acme.fails("budget", "raise", made, *words, "--reason", " ")
    past = ("--amount", "20", "--until", "2020-01-01", "--reason", "x")
    assert "in the future" in acme.fails("budget", "raise", made, *past)
    assert "no budget 'bud_none'" in acme.fails("budget", "raise", "bud_none", *words, "--reason", "x")
    assert "no budget 'bud_none'" in acme.fails("budget", "delete", "bud_none")
