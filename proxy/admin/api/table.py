"""The table of all routes. A new resource is a module with `ROUTES`, named here."""

from proxy.admin.api import (
    adjustments,
    alerts,
    audit,
    budgets,
    closing,
    entries,
    keys,
    limits,
    me,
    model_rules,
    projects,
    rate_cards,
    reports,
    sessions,
    tenants,
    tokens,
    webhooks,
)
from proxy.admin.api.routes import AnyRoute

ROUTES: tuple[AnyRoute, ...] = (
    *me.ROUTES,
    *tenants.ROUTES,
    *projects.ROUTES,
    *keys.ROUTES,
    *budgets.ROUTES,
    *limits.ROUTES,
    *model_rules.ROUTES,
    *rate_cards.ROUTES,
    *sessions.ROUTES,
    *entries.ROUTES,
    *reports.ROUTES,
    *adjustments.ROUTES,
    *closing.ROUTES,
    *alerts.ROUTES,
    *webhooks.ROUTES,
    *audit.ROUTES,
    *tokens.ROUTES,
)
