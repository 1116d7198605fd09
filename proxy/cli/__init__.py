"""The command line: a readable table for people, `--json` for programs, errors in one line."""

from proxy.cli import costs, demo, ledger, limits, payers, prices, serving, sessions
from proxy.cli.root import app

__all__ = ["app", "costs", "demo", "ledger", "limits", "main", "payers", "prices", "serving", "sessions"]


def main() -> None:
    """Run `talkmeter`."""
    app(prog_name="talkmeter")
