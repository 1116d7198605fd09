"""What all commands share: errors about settings and databases, cells, JSON."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.text import Text

from proxy.cli.output import ID, NUMBER, as_json, now, print_table
from proxy.cli.tables import cell
from proxy.settings import PREFIX
from proxy.store.tenants import Tenant
from tests.cli.conftest import Talkmeter

AT = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("nonsense", "TALKMETER_DATABASE_URL"),
        ("sqlite:////none/such/talkmeter.db", "its folder must exist"),
        ("postgresql://u:s3cr3t@127.0.0.1:1/d?connect_timeout=2", "cannot be used: connection failed"),
    ],
)
def test_a_database_that_cannot_be_used_is_told_without_its_password(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str, problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"{PREFIX}DATABASE_URL", url)
    said = Talkmeter().fails("tenant", "list")
    assert problem in said and "s3cr3t" not in said and said.startswith("error: ")


def test_a_postgres_that_is_not_migrated_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, postgres_url: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"{PREFIX}DATABASE_URL", postgres_url)
    assert "run `talkmeter migrate`" in Talkmeter().fails("report")
    assert "is up to date" in Talkmeter()("migrate").out
    assert Talkmeter()("report", "--json").json["rows"] == []


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (True, "yes"),
        (False, ""),
        (1234567, "1,234,567"),
        (AT, "2026-11-23 12:30Z"),
        ("a\x1b[31mb\n", "a\ufffd[31mb\ufffd"),
        ("[bold]x", "[bold]x"),
    ],
)
def test_cells(value: object, shown: str) -> None:
    assert cell(value).plain == shown


def test_json_of_everything_that_commands_print() -> None:
    one = Tenant("t1", "acme", AT, None)
    assert as_json({"a": [one, (1, "x")]}) == {
        "a": [
            {"id": "t1", "name": "acme", "created_at": "2026-11-23T12:30:00Z", "archived_at": None},
            [1, "x"],
        ]
    }
    assert now().tzinfo is UTC


def test_a_table_that_is_too_wide_leaves_out_what_can_be_spared_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this order, and only as many as have to go; a pipe gets all."""
    columns = (("Id", NUMBER), "Tenant", ("Subject", ID), "By", ("Cost $", NUMBER))
    rows = [(1, "acme", "resp_" + "x" * 30, "y" * 20, "0.000000001")]

    def shown(width: int) -> tuple[str, str]:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("FORCE_COLOR", "1")
        print_table(columns, rows, spare=("Subject", "By"))
        said = capsys.readouterr()
        assert all(len(Text.from_ansi(line)) <= width for line in said.out.splitlines())
        return Text.from_ansi(said.out).plain, said.err

    table, said = shown(100)
    assert "resp_" in table and "yyy" in table and not said
    table, said = shown(60)
    assert "resp_" not in table and "y" * 20 in table and "Subject" in said and "--json" in said
    table, said = shown(40)
    assert "yyy" not in table and "acme" in table and "0.000000001" in table and "Subject, By" in said
    monkeypatch.delenv("FORCE_COLOR")
    print_table(columns, rows, spare=("Subject", "By"))
    said_to_pipe = capsys.readouterr()
    assert "resp_" in said_to_pipe.out and not said_to_pipe.err
