"""For tests: schedules, and what they have put into the outbox."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, select

from proxy.core.timetable import Every, Timetable
from proxy.store.audit import Act
from proxy.store.database import reading, writing
from proxy.store.filters import Filters
from proxy.store.receivers import parse_targets
from proxy.store.reports import CostQuery
from proxy.store.saved_reports import SavedReport, save_report
from proxy.store.saved_reports import Wanted as WantedReport
from proxy.store.schedules import Content, Schedule, Wanted, set_schedule
from proxy.store.schema import outbox

# For tests that have nothing to do with the kind of database.
EMBEDDED = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)  # a Monday
ACT = Act("test", NOW)
MONDAYS = Timetable(Every.WEEK, time(8), ZoneInfo("UTC"), 0)
DAILY = Timetable(Every.DAY, time(8), ZoneInfo("UTC"))


def save(
    engine: Engine,
    name: str = "costs",
    span: str = "last-week",
    groups: Sequence[str] = ("tenant", "model"),
    tenant: str | None = None,
    filters: Filters | None = None,
) -> SavedReport:
    """Save a report."""
    query = CostQuery(groups, filters or Filters(), ZoneInfo("UTC"))
    with writing(engine) as connection:
        return save_report(connection, WantedReport(name, query, span), ACT, tenant=tenant)


def schedule(
    engine: Engine,
    *to: str,
    name: str = "weekly",
    content: Content = Content.DIGEST,
    table: Timetable | None = MONDAYS,
    report: str | None = None,
    tenant: str | None = None,
    at: datetime = NOW,
) -> Schedule:
    """Set a schedule."""
    wanted = Wanted(name, content, table, parse_targets(to or ("mailto:ann@example.com",)), report)
    with writing(engine) as connection:
        return set_schedule(connection, wanted, Act("test", at), tenant=tenant)


def sent(engine: Engine) -> list[Mapping[str, Any]]:
    """Return the payloads of what was scheduled, in the order it was made."""
    query = select(outbox.c.payload).where(outbox.c.schedule_id.is_not(None)).order_by(outbox.c.id)
    with reading(engine) as connection:
        return list(connection.execute(query).scalars())
