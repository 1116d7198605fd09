"""Overview: what was spent this month, by whom and on what, and what needs somebody."""

import asyncio
from typing import Any

from proxy.admin.api.routes import EVERYONE
from proxy.console.desk import Desk
from proxy.console.views import Page, View
from proxy.core.periods import month_before, month_of

ROWS_MAX = 8  # of each breakdown; the rest is a link
GROUPS = ("tenant", "model", "meter")
NEAR = 80  # percent of a budget that are spent before it needs attention


async def show(desk: Desk) -> View:
    """GET /."""
    month = desk.query.get("month") or month_of(desk.at, desk.zone)
    parts = await asyncio.gather(
        desk.get("/reports/costs", period=month, group_by="day"),
        *(desk.get("/reports/costs", period=month, group_by=group) for group in GROUPS),
    )
    days, breakdowns = parts[0], dict(zip(GROUPS, parts[1:], strict=True))
    shown: dict[str, Any] = {
        "month": month,
        "before": month_before(month),
        "total": days["total"],
        "days": days["rows"],
        "breakdowns": {name: _largest(told["rows"]) for name, told in breakdowns.items()},
    }
    return View("pages/overview.html", shown)


def _largest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: -(row["cost_nanousd"] or 0))


PAGES = (Page(path="/", roles=EVERYONE, handler=show, key="overview"),)
