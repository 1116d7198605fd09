"""What all pages of reports share: the way between them, and who may see what."""

from collections.abc import Mapping
from typing import Any

from proxy.admin.api.problems import Problem
from proxy.console.desk import Desk
from proxy.console.reports.drill import Zones
from proxy.console.reports.question import Question
from proxy.console.reports.spans import zone_named
from proxy.store.tokens import TokenRole

KEY = "reports"
_SECTIONS = (
    ("build", "Build", "/reports", "GET /reports/costs"),
    ("compare", "Compare", "/reports/compare", "GET /reports/comparison"),
    ("forecast", "Forecast", "/reports/forecast", "GET /reports/forecast"),
    ("saved", "Saved", "/reports/saved", "GET /saved-reports"),
    ("schedules", "Schedules", "/reports/schedules", "GET /schedules"),
    ("download", "Download", "/reports/download", "GET /exports/costs"),
)
CLIENT_ERRORS = range(400, 500)


def sections(desk: Desk) -> list[tuple[str, str, str]]:
    """Return the pages of reports that this person may open: key, label, address."""
    return [(key, label, href) for key, label, href, route in _SECTIONS if desk.may(route)]


def is_owed(desk: Desk) -> bool:
    """Tell whether this person is told what tenants owe, and no other amount."""
    return desk.caller.role is TokenRole.VIEWER


def zones_of(desk: Desk, question: Question) -> Zones:
    """Return the zones of a question."""
    return Zones(zone_named(question.get("tz"), desk.zone), desk.zone)


async def answered(desk: Desk, path: str, params: Mapping[str, Any]) -> tuple[Any, Problem | None]:
    """Return the JSON of GET `path`, or else the problem that is to be shown at the form.

    Raises:
        Problem: it is none that another question would have spared.
    """
    try:
        return (await desk.ask("GET", path, params))[0], None
    except Problem as problem:
        if problem.status not in CLIENT_ERRORS:
            raise
        return None, problem
