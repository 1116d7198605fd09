"""The root of the command line."""

import subprocess
import sys
from typing import Any

from typer.core import TyperGroup

from proxy import __version__
from proxy.cli import MODULES, load
from tests.cli.conftest import Talkmeter
from tests.commands import root_command


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
    assert load().pretty_exceptions_enable is False


def test_unknown_commands_are_refused(talkmeter: Talkmeter) -> None:
    assert "No such command" in talkmeter.fails("tenants", code=2)


def test_help_names_the_command_that_people_type() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "proxy", "key", "-h"], capture_output=True, text=True, check=True
    )
    assert "Usage: talkmeter key" in ran.stdout


def test_what_is_loaded_for_a_command_is_all_that_it_has() -> None:
    every = root_command()
    assert isinstance(every, TyperGroup) and every.commands.keys() == MODULES.keys()
    for word, command in every.commands.items():
        assert modules_of(command) == set(MODULES[word]), word


def modules_of(command: Any) -> set[str]:
    """Return in which modules the functions of a command and what is below it stand."""
    below = command.commands.values() if isinstance(command, TyperGroup) else ()
    own = {command.callback.__module__.removeprefix("proxy.cli.")} if command.callback else set()
    return own.union(*map(modules_of, below))


def test_a_command_loads_its_own_modules_only() -> None:
    code = "import sys; from proxy.cli import load; load(['tenant']); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split())
    assert "proxy.cli.payers" in loaded and "proxy.cli.exports" not in loaded and "proxy.app" not in loaded
