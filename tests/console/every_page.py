"""An address for every page, of things that are there: for tests, pictures and timings of all of them."""

import re
from collections.abc import Mapping

from proxy.console.pages import PAGES
from proxy.console.views import Page
from tests.admin.api.world import World

_PARAMETER = re.compile(r"\{(\w+)(?::[^}]*)?\}")
ASKED = {"/rate-cards/model": "?model=gpt-realtime-2.1"}  # what a page cannot do without
STREAMS = ("/live/events",)  # never end
FILES = ("/file", "/download/")  # are no pages


def ids_of(world: World) -> Mapping[str, str]:
    """Return what stands for each parameter in a path."""
    return {
        "tenant_id": world.tenant,
        "project_id": world.project,
        "key_id": world.key,
        "budget_id": world.budget,
        "webhook_id": world.webhook,
        "alert_id": str(world.alert),
        "token_id": world.token,
        "card_id": world.card,
        "report_id": world.report,
        "schedule_id": world.schedule,
        "approval_id": world.approval,
        "reconciliation_id": world.reconciliation,
        "id": world.reconciliation,
        "session_id": "s1",
        "instance_id": "i1",
        "entry_id": "1",
        "period": "2026-11",
        "number": "2026-10-0001",
        "owner_id": world.tenant,
        "name": "sessions",
        "model": "gpt-realtime",
    }


def addresses(ids: Mapping[str, str]) -> dict[Page, str]:
    """Return the address of every page that is read."""
    return {page: address_of(page, ids) for page in PAGES if page.method == "GET" and is_read(page)}


def is_read(page: Page) -> bool:
    return page.path not in STREAMS and not any(part in page.path for part in FILES)


def address_of(page: Page, ids: Mapping[str, str]) -> str:
    return _PARAMETER.sub(lambda found: ids[found[1]], page.path) + ASKED.get(page.path, "")
