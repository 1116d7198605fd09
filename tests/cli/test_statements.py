"""`talkmeter statement`."""

import csv
import io
from pathlib import Path

import pytest

from proxy.core.usage import Meter
from tests.cli.conftest import Talkmeter
from tests.closing import close_month
from tests.ledgers import NOW, Books


@pytest.fixture
def closed(books: Books) -> Books:
    for session, tenant in (("s1", "acme"), ("s2", "=cmd|x")):
        books.open(session, tenant, "web")
        books.bill(session, f"{session}-r1", {Meter.TEXT_IN: 1_234, Meter.AUDIO_OUT: 5}, at=NOW)
        books.bill(session, f"{session}-r2", at=NOW)
        books.close(session)
    close_month(books.engine, "2026-11", {"unrated": "a test"}, issuer="Voice Ltd")
    return books


def test_the_list(talkmeter: Talkmeter, closed: Books) -> None:
    listed = talkmeter("statement", "list", "--json").json
    assert [(one["number"], one["tenant"], one["total_usd"]) for one in listed] == [
        ("2026-11-0001", "=cmd|x", "0.01"),
        ("2026-11-0002", "acme", "0.01"),
    ]
    assert len(talkmeter("statement", "list", "--tenant", "acme", "--period", "2026-11", "--json").json) == 1
    assert talkmeter("statement", "list", "--period", "2026-10", "--json").json == []
    ran = talkmeter("statement", "list", "--limit", "1")
    assert "2026-11-0002" in ran.out and "2026-11-0001" not in ran.out and "newest 1" in ran.err


def test_one_in_every_format(talkmeter: Talkmeter, closed: Books, tmp_path: Path) -> None:
    show = ("statement", "show", "2026-11-0001")
    table = talkmeter(*show)
    assert "Rounding $0.004744000, total $0.01" in table.out and "unrated" in table.out
    assert "This is not a tax invoice." in table.err
    told = talkmeter(*show, "--json").json
    assert (told["billed_usd"], told["rounding_usd"], told["total_usd"]) == (
        "0.005256000",
        "0.004744000",
        "0.01",
    )
    assert [line["line"] for line in told["lines"]] == ["usage", "usage", "unrated"]
    assert (told["issuer"], told["unrated_entries"]) == ("Voice Ltd", 1)
    rows = list(csv.DictReader(io.StringIO(talkmeter(*show, "--format", "csv").out)))
    assert sum(int(row["billed_nanousd"] or 0) for row in rows) == 10_000_000
    assert {row["tenant"] for row in rows} == {"'=cmd|x"}
    for name in ("pdf", "csv", "json"):
        talkmeter(*show, "--format", name, "--output", str(tmp_path / name))
    assert (tmp_path / "pdf").read_bytes().startswith(b"%PDF-")


def test_mistakes_are_told(talkmeter: Talkmeter, closed: Books) -> None:
    show = ("statement", "show", "2026-11-0001")
    assert "There is no statement 'none'" in talkmeter.fails("statement", "show", "none")
    assert "--output" in talkmeter.fails(*show, "--format", "pdf", code=2)
    assert "--format" in talkmeter.fails(*show, "--output", "x", code=2)
    assert "cannot be written: No such file" in talkmeter.fails(*show, "--format", "csv", "--output", "/no/x")
    assert "no tenant 'none'" in talkmeter.fails("statement", "list", "--tenant", "none")
