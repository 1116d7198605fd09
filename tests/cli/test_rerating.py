"""`talkmeter prices rerate`."""

import json
from pathlib import Path

import pytest
from sqlalchemy import Engine

from proxy.core.usage import Meter
from tests.cli.conftest import Talkmeter
from tests.ledgers import Books


@pytest.fixture(autouse=True)
def _late(database: Engine, talkmeter: Talkmeter, tmp_path: Path) -> None:
    """Two responses of a model whose card comes after them."""
    books = Books(database)
    books.open("s1")
    for name in ("r1", "r2"):
        books.bill("s1", name, {Meter.TEXT_IN: 1_000_000}, model="gpt-realtime-9")
    file = tmp_path / "late.csv"
    file.write_text(
        "provider,model,effective_from,meter,usd,per,source\n"
        "openai,gpt-realtime-9,2026-11-01,text_in,4.00,million,late\n"
    )
    talkmeter("prices", "import", str(file))


def test_a_diff_and_its_booking(talkmeter: Talkmeter) -> None:
    ran = talkmeter("prices", "rerate")
    assert "gpt-realtime-9" in ran.out and "8.000000000" in ran.out and "Nothing was booked" in ran.err
    assert talkmeter("report", "--json").json["total"]["unrated_entries"] == 2
    ran = talkmeter("prices", "rerate", "--apply", "--reason", "late")
    assert "8.000000000" in ran.out and "reversed and replaced" in ran.err
    total = talkmeter("report", "--json").json["total"]
    assert (total["unrated_entries"], total["cost_usd"], total["responses"]) == (0, "8.000000000", 2)
    assert talkmeter("prices", "rerate").out.startswith("Nothing differs")
    assert talkmeter("ledger", "verify").out.startswith("6 entries add up.\n")
    assert "prices.rerate" in talkmeter("audit", "list").out
    assert "response (replacement)" in talkmeter("ledger", "list").out


def test_json_is_a_line_for_each_entry(talkmeter: Talkmeter) -> None:
    ran = talkmeter("prices", "rerate", "--unrated", "--json")
    first, second = (json.loads(line) for line in ran.out.splitlines())
    assert (first["entry_id"], second["entry_id"], first["booked"]) == (1, 2, False)
    assert (first["before_nanousd"], first["after_nanousd"]) == (None, 4_000_000_000)
    assert (first["tenant"], first["difference_nanousd"]) == ("acme", 4_000_000_000)


def test_mistakes_are_told(talkmeter: Talkmeter) -> None:
    assert "say why" in talkmeter.fails("prices", "rerate", "--apply", code=2)
    assert "no tenant 'none'" in talkmeter.fails("prices", "rerate", "--tenant", "none")
    assert "is not after --from" in talkmeter.fails(
        "prices", "rerate", "--from", "2026-11-02", "--to", "2026-11-01", code=2
    )
