"""The whole command line, in this process and made ready once: typer would do that anew for every run."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import typer
from typer import testing

from proxy.cli import load

load()  # now: a test that changes the clock would change it for ever in what it is the first to load


@cache
def root_command() -> Any:
    """Return the command line as click knows it, whatever it was written with."""
    return typer.main.get_command(load())


def run(*words: str, given: str = "", env: Mapping[str, str] | None = None) -> Any:
    """Run a command that may fail, with `given` at its standard input; see `click.testing.Result`."""
    return testing.CliRunner().invoke(load(), words, input=given, env=env)


setattr(testing, "_get_command", lambda app: root_command())  # noqa: B010  (mypy knows no such name there)
