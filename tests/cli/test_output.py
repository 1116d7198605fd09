"""What all commands share: errors about settings and databases, cells, JSON."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy.cli.output import as_json, cell, now
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
