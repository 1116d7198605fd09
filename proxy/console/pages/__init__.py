"""The table of all pages. A new page is a module with `PAGES`, named here."""

from proxy.console.pages import (
    approvals,
    booking,
    closing,
    ledger,
    overview,
    reconciliation,
    statements,
    verifying,
    comparisons,
    downloads,
    forecasts,
    overview,
    reports,
    saved_reports,
    schedules,
)
from proxy.console.views import Item, Page

PAGES: tuple[Page, ...] = (
    *overview.PAGES,
    *ledger.PAGES,
    *booking.PAGES,
    *verifying.PAGES,
    *closing.PAGES,
    *statements.PAGES,
    *approvals.PAGES,
    *reconciliation.PAGES,
    *reports.PAGES,
    *comparisons.PAGES,
    *forecasts.PAGES,
    *saved_reports.PAGES,
    *schedules.PAGES,
    *downloads.PAGES,
)
from proxy.console.pages import live, overview
from proxy.console.views import Item, Page

PAGES: tuple[Page, ...] = (*overview.PAGES, *live.PAGES)
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
        Item("approvals", "Approvals", "/approvals"),
        Item("statements", "Statements", "/statements"),
        Item("reconciliation", "Reconciliation", "/reconciliation"),
    ),
    (
        Item("alerts", "Alerts", "/alerts"),
        Item("audit", "Audit", "/audit"),
    ),
)
