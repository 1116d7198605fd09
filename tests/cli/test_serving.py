"""`talkmeter migrate`, `check` and `simulator` (`serve` is in `tests/test_app.py`)."""

import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from proxy.checks.questions import NAMES
from proxy.store.database import check_version, open_database
from tests.commands import run
from tests.postgres import APP_ROLE
from tests.provider import providing


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TALKMETER_UPSTREAM_API_KEY", "sk-canary")
    monkeypatch.setenv("TALKMETER_UPSTREAM_URL", "http://127.0.0.1:1")
    for name in ("TALKMETER_LISTEN", "TALKMETER_ADMIN_LISTEN"):
        monkeypatch.setenv(name, "127.0.0.1:0")


def test_migrate(monkeypatch: pytest.MonkeyPatch, postgres_url: str) -> None:
    """As often as one likes, in words or as JSON, on either database."""
    result = run("migrate")
    assert (result.exit_code, result.output) == (0, "sqlite:///talkmeter.db is up to date.\n")
    monkeypatch.setenv("TALKMETER_DATABASE_URL", postgres_url)
    for _ in range(2):
        result = run("migrate", "--json")
        assert json.loads(result.output)["migrated"] is True
    engine = open_database(postgres_url)
    check_version(engine)
    engine.dispose()


def test_migrate_for_a_role(monkeypatch: pytest.MonkeyPatch, postgres_url: str) -> None:
    """It is set up, or it is said why not."""
    monkeypatch.setenv("TALKMETER_DATABASE_URL", postgres_url)
    assert run("migrate", "--app-role", APP_ROLE).exit_code == 0
    result = run("migrate", "--app-role", "nobody")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: The server has no role 'nobody': CREATE ROLE nobody LOGIN")


def test_migrate_what_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, status 1."""
    monkeypatch.setenv("TALKMETER_DATABASE_URL", "postgresql://app:canary@127.0.0.1:1/x")
    result = run("migrate")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: The database postgresql+psycopg://app:***@127.0.0.1:1/x")
    assert "canary" not in result.output


def test_check_for_people() -> None:
    """A row for each thing; status 1 since there is no upstream here."""
    result = run("check")
    assert result.exit_code == 1
    rows = result.output.splitlines()
    assert rows[0].split() == ["Looked", "at", "Is", "Found", "To", "do"]
    names = [row[:16].strip() for row in rows[2:]]  # empty where a row goes on
    assert [name for name in names if name] == list(NAMES)
    (upstream,) = (row for row in rows if row.startswith("upstream  "))
    assert "failed" in upstream and "127.0.0.1:1 cannot be reached: Connection refused" in upstream
    assert "see that TALKMETER_UPSTREAM_URL is right" in upstream
    assert "canary" not in result.output


def test_check_for_programs() -> None:
    """The same as one JSON object."""
    result = run("check", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["ok"]) == (1, False)
    assert list(found) == ["ok", "checks"]
    assert [one["name"] for one in found["checks"]] == [
        *("settings", "clock", "files"),
        *("database", "database role", "database clock", "key pepper", "periods", "rate cards", "models"),
        *("journal", "journal disk", "journal backlog"),
        *("apps' port", "control port", "public URL", "metrics"),
        *("TLS", "TLS expiry", "TLS names"),
        *("upstream", "upstream key", "upstream clock"),
        *("provider's bill", "sign-in", "mail"),
    ]
    assert {tuple(one) for one in found["checks"]} == {("name", "status", "found", "to_do")}
    assert {one["status"] for one in found["checks"]} <= {"ok", "warning", "failed", "not asked"}
    assert [one["name"] for one in found["checks"] if one["status"] == "failed"] == ["upstream"]


def test_check_ends_well_with_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are for people to read: a script that starts `serve` after it goes on."""
    monkeypatch.setenv("TALKMETER_LISTN", "127.0.0.1:1")
    with providing(api_keys={"sk-canary"}) as provider:
        monkeypatch.setenv("TALKMETER_UPSTREAM_URL", provider.url)
        result = run("check", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["ok"]) == (0, True)
    assert found["checks"][0]["status"] == "warning" and "did you mean" in found["checks"][0]["found"]
    assert (result.stderr, list(Path().iterdir())) == ("", [])


def test_check_of_settings_that_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them at once, and nothing else can be asked."""
    monkeypatch.setenv("TALKMETER_LINGER_S", "soon")
    monkeypatch.setenv("TALKMETER_STALL_S", "never")
    result = run("check", "--json")
    (only,) = json.loads(result.stdout)["checks"]
    assert (result.exit_code, only["name"], only["status"]) == (1, "settings", "failed")
    assert "TALKMETER_LINGER_S is 'soon'" in only["found"] and "TALKMETER_STALL_S" in only["found"]


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_settings_that_are_wrong(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them at once, and no traceback."""
    monkeypatch.setenv("TALKMETER_LINGER_S", "soon")
    monkeypatch.setenv("TALKMETER_STALL_S", "never")
    result = run(command)
    assert result.exit_code == 1
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: TALKMETER_")]
    assert len(lines) == 2


def test_the_simulator_runs_until_it_is_asked_to_stop(tmp_path: Path) -> None:
    """It says where it is."""
    arguments = ["simulator", "--listen", "127.0.0.1:0", "--api-key", "k", "--truth", str(tmp_path / "truth")]
    with subprocess.Popen(
        [sys.executable, "-m", "proxy", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    ) as process:
        assert process.stdout is not None
        found = re.search(r"listening on ws://(127.0.0.1:\d+)", process.stdout.readline())
        assert found
        with pytest.raises(urllib.error.HTTPError):  # no WebSocket, but an answer: it runs
            urllib.request.urlopen(f"http://{found[1]}/v1/realtime", timeout=60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_a_simulator_that_cannot_listen() -> None:
    """Its one option is named."""
    result = run("simulator", "--listen", "8090")
    assert (result.exit_code, "--listen is '8090': it should be HOST:PORT" in result.stderr) == (1, True)
    result = run("simulator", "--listen", "192.0.2.1:80")
    assert (result.exit_code, "cannot start" in result.stderr) == (1, True)
