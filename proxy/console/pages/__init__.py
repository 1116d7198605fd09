"""The table of all pages. A new page is a module with `PAGES`, named here."""

from proxy.console.pages import entries, overview, sessions
from proxy.console.views import Item, Page

PAGES: tuple[Page, ...] = (*overview.PAGES, *sessions.PAGES, *entries.PAGES)

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
