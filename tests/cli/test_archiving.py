"""`talkmeter ledger archive`, and what the other commands say then."""

from pathlib import Path

import pytest

from tests.archiving import lines_of, year
from tests.cli.conftest import Talkmeter
from tests.ledgers import Books
from tests.postgres import as_owner, as_text


@pytest.fixture(autouse=True)
def _as_owner(talkmeter: Talkmeter, books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    year(books.engine)
    if books.engine.dialect.name == "postgresql":
        monkeypatch.setenv("TALKMETER_DATABASE_URL", as_text(as_owner(books.engine.url)))


def test_a_month_is_archived_and_checked(talkmeter: Talkmeter, books: Books, tmp_path: Path) -> None:
    (tmp_path / "books").mkdir()
    ran = talkmeter("ledger", "archive", "2026-10", "--to", "books", "--reason", "full")
    said, digest = ran.out.splitlines()
    assert said.startswith("2026-10 is archived in books/ledger-2026-10.jsonl.gz: ") and len(digest) == 64
    assert "Keep the file, and a copy elsewhere" in ran.err
    assert lines_of(books.engine, "2026-10") == 0
    ran = talkmeter("ledger", "verify")
    assert "Lines of 2026-10 are archived: --archive FILE checks them too" in ran.err
    path = "books/ledger-2026-10.jsonl.gz"
    assert talkmeter("ledger", "verify", "--archive", path, "--json").json["archived"] == []
    assert "lines in ledger-2026-10.jsonl.gz" in talkmeter("ledger", "list").out
    assert "ledger-2026-10.jsonl.gz" in talkmeter("period", "list").out
    assert "is archived in ledger-2026-10" in talkmeter.fails("session", "account", "s1")
    made = talkmeter("ledger", "archive", "2026-11", "--json").json
    assert (made["period"], made["number"]) == ("2026-11", 2)


def test_mistakes_are_told(talkmeter: Talkmeter) -> None:
    assert "is no month" in talkmeter.fails("ledger", "archive", "october", code=2)
    assert "2026-12 is not closed" in talkmeter.fails("ledger", "archive", "2026-12")
    assert "cannot be written" in talkmeter.fails("ledger", "archive", "2026-10", "--to", "nowhere")
    assert "is not an archive" in talkmeter.fails("ledger", "verify", "--archive", "none")
