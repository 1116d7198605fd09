"""The table of all pages. A new page is a module with `PAGES`, named here."""

from itertools import chain

from proxy.console.pages import (
    alerts,
    approvals,
    audit,
    booking,
    budgets,
    closing,
    comparisons,
    downloads,
    entries,
    forecasts,
    instances,
    keys,
    ledger,
    limits,
    live,
    overview,
    rate_cards,
    rate_import,
    reconciliation,
    reports,
    rerating,
    saved_reports,
    schedules,
    sessions,
    statements,
    tenants,
    tokens,
    verifying,
    webhooks,
)
from proxy.console.views import Item, Page

MODULES = (
    alerts,
    approvals,
    audit,
    booking,
    budgets,
    closing,
    comparisons,
    downloads,
    entries,
    forecasts,
    instances,
    keys,
    ledger,
    limits,
    live,
    overview,
    rate_cards,
    rate_import,
    reconciliation,
    reports,
    rerating,
    saved_reports,
    schedules,
    sessions,
    statements,
    tenants,
    tokens,
    verifying,
    webhooks,
)


def _by_path(page: Page) -> list[tuple[bool, str]]:
    """Sort a path with a name in it before one where a parameter would take the name."""
    return [(part.startswith("{"), part) for part in page.path.split("/")]


PAGES: tuple[Page, ...] = tuple(sorted(chain.from_iterable(one.PAGES for one in MODULES), key=_by_path))

NAVIGATION: tuple[tuple[Item, ...], ...] = (
    (
        Item("overview", "Overview", "/"),
        Item("live", "Live", "/live"),
        Item("sessions", "Sessions", "/sessions"),
        Item("reports", "Reports", "/reports"),
    ),
    (
        Item("budgets", "Budgets", "/budgets"),
        Item("limits", "Limits", "/limits"),
        Item("tenants", "Tenants and keys", "/tenants"),
        Item("rate-cards", "Rate cards", "/rate-cards"),
    ),
    (
        Item("ledger", "Ledger", "/ledger"),
        Item("close", "Close", "/close"),
        Item("approvals", "Approvals", "/approvals"),
        Item("statements", "Statements", "/statements"),
        Item("reconciliation", "Reconciliation", "/reconciliation"),
    ),
    (
        Item("alerts", "Alerts", "/alerts"),
        Item("audit", "Audit", "/audit"),
        Item("instances", "Instances", "/instances"),
    ),
)
