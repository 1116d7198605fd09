"""Instances: which data planes there are, and giving up one whose journal is lost. Not for the confined."""

from datetime import datetime

from proxy.admin.api.routes import ADMINS, READERS
from proxy.console.desk import Desk
from proxy.console.views import Moved, Page, View

PAGE_ROWS = 50
TONES = {"running": "ok", "dead": "bad", "ended": "quiet", "forgotten": "quiet"}


async def show_instances(desk: Desk) -> View:
    """GET /instances."""
    page = await desk.get("/instances", limit=PAGE_ROWS, after=desk.query.get("after"))
    shown = {"rows": page["data"], "next": page["next"], "tones": TONES}
    return View("pages/instances.html", shown)


async def forget_instance(desk: Desk) -> Moved:
    """POST /instances/{instance_id}/forget."""
    found, _ = await desk.ask("DELETE", "/instances/{instance_id}", {"instance_id": desk.path["instance_id"]})
    seen = datetime.fromisoformat(found["seen_at"])
    return Moved("/instances", f"Instance {found['id']}, last seen {seen:%Y-%m-%d %H:%M} UTC, is forgotten.")


PAGES = (
    Page(path="/instances", roles=READERS, handler=show_instances, key="instances", installation=True),
    Page(
        path="/instances/{instance_id}/forget",
        roles=ADMINS,
        handler=forget_instance,
        key="instances",
        method="POST",
        installation=True,
    ),
)
