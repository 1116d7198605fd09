"""The table of all routes. A new resource is a module with `ROUTES`, named here."""

from proxy.admin.api import budgets, keys, limits, me, model_rules, projects, rate_cards, tenants, tokens
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
    *tokens.ROUTES,
)
