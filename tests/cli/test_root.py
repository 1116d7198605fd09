"""The root of the command line."""

import subprocess
import sys

from proxy import __version__
from proxy.cli import app
from tests.cli.conftest import Talkmeter


def test_version_and_help(talkmeter: Talkmeter) -> None:
    assert talkmeter("--version").out == f"talkmeter {__version__}\n"
    shown = talkmeter("--help").out
    for command in (
        "tenant",
        "project",
        "key",
        "prices",
        "report",
        "ledger",
        "session",
        "serve",
        "migrate",
        "check",
    ):
        assert command in shown


def test_it_runs_as_a_module() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "proxy", "--version"], capture_output=True, text=True, check=True
    )
    assert ran.stdout == f"talkmeter {__version__}\n"


def test_no_command_shows_local_variables_when_it_crashes() -> None:
    assert app.pretty_exceptions_enable is False


def test_unknown_commands_are_refused(talkmeter: Talkmeter) -> None:
    assert "No such command" in talkmeter.fails("tenants", code=2)


def test_help_names_the_command_that_people_type() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "proxy", "key", "-h"], capture_output=True, text=True, check=True
    )
    assert "Usage: talkmeter key" in ran.stdout
