"""API tokens: who may use the API, and for what. For people who are not confined to tenants."""

from collections.abc import Mapping
from typing import Any

from proxy.admin.api.problems import Problem
from proxy.admin.api.routes import ADMINS, READERS
from proxy.console.desk import Desk
from proxy.console.errors import errors_of, raise_unless_told
from proxy.console.pages.keys import with_states
from proxy.console.views import Moved, Page, View

PAGE_ROWS = 50
TYPED = ("name", "role", "expires_at", "reason")
MORE = "more_tenants"
BOXES_MAX = 100  # tenants with a box of their own; others are written down
ROLES = (
    ("viewer", "Viewer: what a tenant owes"),
    ("finance", "Finance: reports, the ledger, closing"),
    ("auditor", "Auditor: reads everything"),
    ("admin", "Admin: everything"),
)


async def show_tokens(desk: Desk) -> View:
    """GET /tokens."""
    return await _list(desk, dict.fromkeys((*TYPED, MORE), ""), [])


async def create_token(desk: Desk) -> View:
    """POST /tokens: the answer itself shows the secret, which nothing else ever does."""
    typed = {name: desk.field(name) for name in TYPED}
    chosen, more = desk.fields("tenants"), desk.field(MORE)
    tenants = [*chosen, *filter(None, map(str.strip, more.splitlines()))]
    try:
        made = await desk.post("/tokens", {**{n: v for n, v in typed.items() if v}, "tenants": tenants})
    except Problem as problem:
        raise_unless_told(problem)
        return await _list(desk, {**typed, MORE: more}, chosen, problem)
    return View("pages/token_made.html", {"made": made}, 201)


async def _list(
    desk: Desk, typed: Mapping[str, str], chosen: list[str], problem: Problem | None = None
) -> View:
    page = await desk.get("/tokens", limit=PAGE_ROWS, after=desk.query.get("after"))
    tenants = await desk.all_of("/tenants", pages_max=1)
    shown: dict[str, Any] = {
        "rows": with_states(page["data"], desk.at),
        "next": page["next"],
        "roles": ROLES,
        "tenants": [one for one in tenants if one["archived_at"] is None],
        "typed": typed,
        "chosen": chosen,
        "boxes_max": BOXES_MAX,
        "problem": problem.as_json() if problem else None,
        "errors": errors_of(problem),
    }
    return View("pages/tokens.html", shown, problem.status if problem else 200)


async def revoke_token(desk: Desk) -> Moved:
    """POST /tokens/{token_id}/revoke."""
    found, _ = await desk.ask("DELETE", "/tokens/{token_id}", {"token_id": desk.path["token_id"]})
    return Moved("/tokens", f"The token of {found['name']} is revoked: its next request is refused.")


PAGES = (
    Page(path="/tokens", roles=READERS, handler=show_tokens, key="tenants", installation=True),
    Page(path="/tokens", roles=ADMINS, handler=create_token, key="tenants", method="POST", installation=True),
    Page(
        path="/tokens/{token_id}/revoke",
        roles=ADMINS,
        handler=revoke_token,
        key="tenants",
        method="POST",
        installation=True,
    ),
)
