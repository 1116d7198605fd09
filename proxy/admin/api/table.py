"""The table of all routes. A new resource is a module with `ROUTES`, named here."""

from proxy.admin.api import keys, me, projects, tenants, tokens
from proxy.admin.api.routes import AnyRoute

ROUTES: tuple[AnyRoute, ...] = (
    *me.ROUTES,
    *tenants.ROUTES,
    *projects.ROUTES,
    *keys.ROUTES,
    *tokens.ROUTES,
)
