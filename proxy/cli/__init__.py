"""The command line: a readable table for people, `--json` for programs, errors in one line."""

from proxy.cli import (
    adjustments,
    approvals,
    audit,
    budgets,
    comparisons,
    costs,
    demo,
    exports,
    focus,
    forecasts,
    leases,
    ledger,
    limits,
    markups,
    payers,
    periods,
    prices,
    reconciling,
    rerating,
    saved_reports,
    schedules,
    serving,
    sessions,
    statements,
    tokens,
    webhooks,
)
from proxy.cli.root import app

__all__ = [
    "adjustments",
    "app",
    "approvals",
    "audit",
    "budgets",
    "comparisons",
    "costs",
    "demo",
    "exports",
    "focus",
    "forecasts",
    "leases",
    "ledger",
    "limits",
    "main",
    "markups",
    "payers",
    "periods",
    "prices",
    "reconciling",
    "rerating",
    "saved_reports",
    "schedules",
    "serving",
    "sessions",
    "statements",
    "tokens",
    "webhooks",
]


def main() -> None:
    """Run `talkmeter`."""
    app(prog_name="talkmeter")
