"""`talkmeter period`."""

import pytest

from proxy.core.usage import Meter
from proxy.settings import PREFIX
from tests.cli.conftest import Talkmeter
from tests.ledgers import NOW, Books

OCTOBER = NOW.replace(month=10)


@pytest.fixture
def booked(books: Books) -> Books:
    """October, which is over wherever this test runs, with one entry that has no price."""
    at = OCTOBER.replace(year=2025)
    books.open("s1", "acme", "web", at=at)
    books.bill("s1", "r1", {Meter.TEXT_IN: 10}, at=at, model="whisper-1")
    books.bill("s1", "r2", {Meter.TEXT_IN: 10}, at=at.replace(year=2026))
    books.close("s1")
    return books


def test_closing_a_month(talkmeter: Talkmeter, booked: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}STATEMENT_ISSUER", "Voice Ltd")
    assert [one["state"] for one in talkmeter("period", "list", "--json").json] == ["over", "over"]
    shown = talkmeter.run("period", "show", "2025-10")
    assert shown.code == 1 and "entry 1: whisper-1" in shown.out and "--override unrated=REASON" in shown.err
    told = talkmeter.run("period", "show", "2025-10", "--json")
    assert told.code == 1 and told.json["can_be_closed"] is False
    assert [(one["name"], one["count"]) for one in told.json["obstacles"]] == [("unrated", 1)]
    assert "2025-10 cannot be closed yet" in talkmeter.fails("period", "close", "2025-10")
    closed = talkmeter("period", "close", "2025-10", "--override", "unrated=a = b", "--json").json
    assert (closed["period"], closed["zone"], closed["statements"]) == ("2025-10", "UTC", 1)
    assert closed["overridden"][0]["reason"] == "a = b"
    first, second = talkmeter("period", "list", "--json").json
    assert (first["state"], first["digest"], first["unrated_entries"]) == ("closed", closed["digest"], 1)
    assert (second["state"], second["billed_usd"]) == ("over", "0.000040000")
    assert "closed" in talkmeter("period", "list").out
    assert talkmeter("ledger", "verify", "--digest", closed["digest"]).code == 0
    assert "Nothing stands in the way" in talkmeter("period", "show", "2026-10").out
    ran = talkmeter("period", "close", "2026-10")
    assert (
        ran.out.startswith("2026-10 is closed, in UTC. Statements: 1.\n2:") and "Keep this digest" in ran.err
    )
    assert "period.close" in talkmeter("audit", "list").out


def test_corrections_are_marked(talkmeter: Talkmeter, booked: Books) -> None:
    talkmeter("period", "close", "2025-10", "--override", "unrated=known")
    said = ("--tenant", "acme", "--amount", "5", "--key", "k", "--reason", "goodwill", "--at", "2025-10-09")
    out = talkmeter("ledger", "credit", *said).out
    assert "period 2025-11, a correction of 2025-10." in out
    assert "correction of 2025-10" in talkmeter("ledger", "list").out
    assert talkmeter("ledger", "list", "--json", "--period", "2025-11").json["corrects_period"] == "2025-10"
    rows = talkmeter("report", "--period", "2025-11", "--group-by", "kind", "--json").json["rows"]
    assert [row["kind"] for row in rows] == ["credit"]


def test_mistakes_are_told(talkmeter: Talkmeter, booked: Books) -> None:
    for words in (("show", "October"), ("close", "2025-13"), ("close", "2025-10-01")):
        assert "is no month: write it as" in " ".join(talkmeter.fails("period", *words, code=2).split())
    for override in (("unrated",), ("unrated=a", "unrated=b")):
        options = [word for one in override for word in ("--override", one)]
        assert "WHAT=REASON" in talkmeter.fails("period", "close", "2025-10", *options, code=2)
    assert "Nothing called 'x'" in talkmeter.fails("period", "close", "2025-10", "--override", "x=y")
    assert "2025-10 has entries and is open" in talkmeter.fails("period", "close", "2026-10")
