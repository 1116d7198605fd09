"""`talkmeter export focus`."""

import csv
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy.core.usage import Meter
from proxy.exports.focus_columns import COLUMNS, Version
from proxy.settings import PREFIX
from tests.cli.conftest import Talkmeter
from tests.ledgers import NOW, Books

MONTH = ("export", "focus", "--month", "2026-11", "--output", "focus.csv")
UNRATED = Path("focus.unrated.csv")
FILE = Path("focus.csv")


@pytest.fixture(autouse=True)
def _used(books: Books) -> None:
    books.open("s1", "=acme", "web")
    books.bill("s1", "r1", {Meter.TEXT_IN: 10, Meter.AUDIO_OUT: 3}, at=NOW)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def names(version: Version) -> list[str]:
    return [column.name for column in COLUMNS[version]]


def test_a_month_is_a_file(talkmeter: Talkmeter, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = talkmeter(*MONTH)
    assert ran.err == "focus.csv: 2 rows\n" and not UNRATED.exists()
    rows = read(FILE)
    assert list(rows[0]) == names(Version.V1_2)
    assert {row["SubAccountName"] for row in rows} == {"'=acme"}  # no spreadsheet takes it for a formula
    assert [row["BilledCost"] for row in rows] == ["0.000192000", "0.000040000"]
    assert "there already" in talkmeter.fails(*MONTH)
    monkeypatch.setenv(f"{PREFIX}STATEMENT_ISSUER", "Voice Ltd")
    talkmeter(*MONTH, "--force", "--version", "1.4", "--as", "tenant", "--tenant", "=acme")
    rows = read(FILE)
    assert list(rows[0]) == names(Version.V1_4)
    assert {row["InvoiceIssuerName"] for row in rows} == {"Voice Ltd"}
    ran = talkmeter(*MONTH[:2], "--to", "2026-11-01", "--output", "none.csv", "--json")
    assert ran.json == {"file": "none.csv", "rows": 0, "unrated_entries": 0, "unrated_file": None}


def test_what_has_no_price_is_in_a_file_beside_and_ends_with_3(talkmeter: Talkmeter, books: Books) -> None:
    books.open("s2", "=acme")
    books.bill("s2", "r2", {Meter.TEXT_IN: 3, Meter.TEXT_OUT: 2}, model="gpt-realtime-9")
    ran = talkmeter.run(*MONTH)
    assert (ran.code, ran.out) == (3, "")
    assert "1 entries have no price, and are in focus.unrated.csv instead" in ran.err
    assert [(row["entry_id"], row["meter"], row["quantity"]) for row in read(UNRATED)] == [
        ("2", "text_in", "3"),
        ("2", "text_out", "2"),
    ]
    assert datetime.fromisoformat(read(UNRATED)[0]["occurred_at"]) == NOW
    again = talkmeter.run(*MONTH, "--force", "--json")
    assert again.json["unrated_file"] == "focus.unrated.csv" and again.code == 3
    day = ("export", "focus", "--from", "2026-12-01", "--output", "focus.csv")
    FILE.unlink()
    assert "focus.unrated.csv is there already" in talkmeter.fails(*day)
    talkmeter(*day, "--force")
    assert FILE.exists() and not UNRATED.exists()
    assert sorted(Path().glob("*.part")) == []


def test_mistakes_are_told(talkmeter: Talkmeter) -> None:
    focus = ("export", "focus", "--output", "focus.csv")
    assert "give either --month" in talkmeter.fails(*MONTH, "--from", "2026-11-01", code=2)
    assert "is no month" in talkmeter.fails(*focus, "--month", "11/2026", code=2)
    assert "not after" in talkmeter.fails(*focus, "--from", "2026-11-02", "--to", "2026-11-01", code=2)
    assert "1.4" in talkmeter.fails(*MONTH, "--version", "1.3", code=2)
    assert "no tenant 'nobody'" in talkmeter.fails(*MONTH, "--tenant", "nobody")
    assert "set TALKMETER_STATEMENT_ISSUER" in talkmeter.fails(*MONTH, "--as", "tenant")
    assert "cannot be written" in talkmeter.fails(*MONTH[:-1], "no/where.csv")
    assert "give --output FILE" in talkmeter.fails(*MONTH[:-1], "-", code=2)
    assert not FILE.exists() and not Path("-").exists()


def test_without_a_time_it_is_the_month_so_far(talkmeter: Talkmeter, books: Books) -> None:
    books.bill("s1", "now", {Meter.TEXT_IN: 1}, at=datetime.now(UTC))
    talkmeter("export", "focus", "--output", "focus.csv")
    assert any(row["x_EntryId"] == "2" for row in read(FILE))
    talkmeter(*MONTH, "--force")
    expected = {"2"} if f"{datetime.now(UTC):%Y-%m}" == "2026-11" else set()
    assert {row["x_EntryId"] for row in read(FILE)} == {"1"} | expected
