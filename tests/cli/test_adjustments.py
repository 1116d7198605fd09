"""`talkmeter ledger adjust` and `credit`."""

import pytest
from sqlalchemy import Engine

from proxy.core.usage import Meter
from tests.cli.conftest import Talkmeter
from tests.ledgers import Books

SAID = ("--tenant", "acme", "--key", "k1", "--reason", "goodwill")


@pytest.fixture(autouse=True)
def _booked(database: Engine) -> None:
    books = Books(database)
    books.open("s1", project="web")
    books.bill("s1", "r1", {Meter.TEXT_IN: 10})


def test_a_credit(talkmeter: Talkmeter) -> None:
    first = talkmeter("ledger", "credit", *SAID, "--amount", "5", "--at", "2026-11-20")
    assert first.out == (
        "Entry 2: credit for acme, cost $0.000000000, billed -$5.000000000, period 2026-11.\n"
    )
    again = talkmeter("ledger", "credit", *SAID, "--amount", "5", "--at", "2026-11-20")
    assert again.out == f"{first.out.strip()} It was booked before; nothing has changed.\n"
    told = talkmeter("ledger", "credit", *SAID, "--amount", "5", "--json").json
    assert (told["id"], told["new"], told["status_reason"], told["kind"]) == (2, False, "goodwill", "credit")
    assert "something else, entry 2" in talkmeter.fails("ledger", "credit", *SAID, "--amount", "6")


def test_adjustments(talkmeter: Talkmeter) -> None:
    def amounts(key: str, *words: str) -> tuple[int, int]:
        said = ("--tenant", "acme", "--key", key, "--reason", "invoice", "--json")
        told = talkmeter("ledger", "adjust", *said, *words).json
        return told["cost_nanousd"], told["billed_nanousd"]

    assert amounts("a", "--amount", "-5") == (-5_000_000_000, -5_000_000_000)
    assert amounts("b", "--cost", "0.000000001") == (1, 0)
    assert amounts("c", "--billed", "-1", "--project", "web", "--corrects", "1") == (0, -1_000_000_000)
    assert amounts("d", "--cost", "1", "--billed", "2") == (1_000_000_000, 2_000_000_000)
    assert talkmeter("ledger", "verify").out.startswith("5 entries add up.\n")
    table = talkmeter("ledger", "list").out
    assert "adjustment" in table and "-5.000000000" in table
    assert "ledger.adjustment" in talkmeter("audit", "list").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("adjust", *SAID), "either --amount, or --cost"),
        (("adjust", *SAID, "--amount", "1", "--cost", "1"), "either --amount, or --cost"),
        (("adjust", *SAID, "--amount", "much"), "not an amount in dollars"),
        (("credit", *SAID, "--amount", "-5"), "a credit is above 0"),
        (("credit", *SAID, "--amount", "0"), "a credit is above 0"),
        (("credit", *SAID, "--amount", "5", "--at", "soon"), "'soon' is not a time"),
        (("credit", "--tenant", "acme", "--amount", "5", "--key", "k"), "--reason"),
        (("credit", "--tenant", "acme", "--amount", "5", "--reason", "r"), "--key"),
    ],
)
def test_mistakes_are_told(talkmeter: Talkmeter, words: tuple[str, ...], said: str) -> None:
    assert said in " ".join(talkmeter.fails("ledger", *words, code=2).split())


def test_the_ledgers_own_refusals(talkmeter: Talkmeter) -> None:
    assert "has not come yet" in talkmeter.fails(
        "ledger", "credit", *SAID, "--amount", "5", "--at", "2099-01-01"
    )
    assert "The tenant has no entry 9" in talkmeter.fails(
        "ledger", "credit", *SAID, "--amount", "5", "--corrects", "9"
    )
