"""The command line: a readable table for people, `--json` for programs, errors in one line."""

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module

import typer

from proxy import loading
from proxy.cli.root import app

# Where the commands stand, by their first word. Only these are loaded: all together take twice as long.
MODULES: Mapping[str, Sequence[str]] = {
    "approval": ("approvals",),
    "audit": ("audit",),
    "budget": ("budget_history", "budgets"),
    "check": ("serving",),
    "console": ("console",),
    "demo": ("demo",),
    "export": ("exports", "focus"),
    "instance": ("instances",),
    "key": ("payers",),
    "lease": ("leases",),
    "ledger": ("adjustments", "archiving", "ledger"),
    "limit": ("limits",),
    "markup": ("markups",),
    "migrate": ("serving",),
    "model": ("limits",),
    "period": ("periods",),
    "prices": ("prices", "rerating"),
    "project": ("payers",),
    "reconcile": ("reconciling",),
    "report": ("comparisons", "costs", "forecasts", "saved_reports"),
    "schedule": ("schedules",),
    "serve": ("serving",),
    "session": ("sessions",),
    "simulator": ("serving",),
    "statement": ("statements",),
    "tenant": ("payers",),
    "token": ("tokens",),
    "webhook": ("webhooks",),
}


def load(words: Sequence[str] = ()) -> typer.Typer:
    """Return the commands that `words` can mean: those of the first word, or all without one."""
    every = sorted({module for modules in MODULES.values() for module in modules})
    for module in MODULES.get(words[0], every) if words else every:
        import_module(f"proxy.cli.{module}")
    return app


def main() -> None:
    """Run `talkmeter`."""
    with loading.for_good():
        commands = load(sys.argv[1:])
    commands(prog_name="talkmeter")
