"""`talkmeter statement`."""

import csv
import io
from pathlib import Path

import pytest

from proxy.core.usage import Meter
from proxy.store.audit import Act
from tests.cli.conftest import Talkmeter
from tests.closing import LATER, close_month
from tests.ledgers import NOW, Books


@pytest.fixture(autouse=True)
def _closed(books: Books) -> None:
    books.open("s1", "acme", "=web")
    books.bill("s1", "r1", {Meter.TEXT_IN: 10, Meter.AUDIO_OUT: 3}, at=NOW)
    books.bill("s1", "r2", {Meter.TEXT_IN: 3}, model="gpt-realtime-9")
    books.close("s1")
    close_month(books.engine, "2026-11", {"unrated": "a test"}, act=Act("ann", LATER), issuer="Voices Ltd")


def test_a_statement_in_every_form(talkmeter: Talkmeter, tmp_path: Path) -> None:
    (listed,) = talkmeter("statement", "list", "--json").json
    assert (listed["number"], listed["tenant"], listed["issuer"]) == ("2026-11-0001", "acme", "Voices Ltd")
    assert "2026-11-0001" in talkmeter("statement", "list", "--tenant", "acme", "--period", "2026-11").out
    whole = talkmeter("statement", "show", "2026-11-0001", "--json").json
    billed = sum(line["billed_nanousd"] or 0 for line in whole["lines"])
    assert (whole["billed_nanousd"], whole["rounding_nanousd"]) == (billed, -billed)  # under half a cent
    assert (whole["total_usd"], whole["unrated_entries"]) == ("0.00", 1)
    shown = talkmeter("statement", "show", "2026-11-0001")
    assert "Rounding $-0.000232000, total $0.00" in shown.out
    assert "This is not a tax invoice." in shown.err and "Without a price" in shown.err
    rows = list(
        csv.DictReader(io.StringIO(talkmeter("statement", "show", "2026-11-0001", "--format", "csv").out))
    )
    assert sum(int(row["billed_nanousd"] or 0) for row in rows) == 0
    assert rows[0]["project"] == "'=web"  # no spreadsheet takes it for a formula
    file = tmp_path / "statement.pdf"
    said = talkmeter("statement", "show", "2026-11-0001", "--format", "pdf", "--output", str(file)).out
    assert said.endswith(" bytes\n") and file.read_bytes().startswith(b"%PDF-")


def test_mistakes_are_told(talkmeter: Talkmeter, tmp_path: Path) -> None:
    show = ("statement", "show")
    assert "no statement '2026-11-0009'" in talkmeter.fails(*show, "2026-11-0009")
    assert "--output" in talkmeter.fails(*show, "2026-11-0001", "--format", "pdf", code=2)
    assert "--output" in talkmeter.fails(*show, "2026-11-0001", "--output", "x", code=2)
    nowhere = str(tmp_path / "none" / "x.csv")
    assert "cannot be written" in talkmeter.fails(
        *show, "2026-11-0001", "--format", "csv", "--output", nowhere
    )
    assert "is no month" in talkmeter.fails("statement", "list", "--period", "x", code=2)
    assert "no tenant 'nobody'" in talkmeter.fails("statement", "list", "--tenant", "nobody")
