"""The table of all pages. A new page is a module with `PAGES`, named here."""

from proxy.console.pages import (
    alerts,
    audit,
    keys,
    overview,
    rate_cards,
    rate_import,
    rerating,
    tenants,
    tokens,
    webhooks,
)
from proxy.console.views import Item, Page

PAGES: tuple[Page, ...] = (
    *overview.PAGES,
    *tenants.PAGES,
    *keys.PAGES,
    *tokens.PAGES,
    *rate_cards.PAGES,
    *rate_import.PAGES,
    *rerating.PAGES,
    *alerts.PAGES,
    *webhooks.PAGES,
    *audit.PAGES,
)

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
        Item("reconciliation", "Reconciliation", "/reconciliation"),
    ),
    (
        Item("alerts", "Alerts", "/alerts"),
        Item("audit", "Audit", "/audit"),
    ),
)
