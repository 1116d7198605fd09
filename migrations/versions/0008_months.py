"""Months among the rollups: a year is a few cells of each group then. Filled from the days."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
FACTS = ["entries", "quantity", "list_high", "list_low", "cost_high", "cost_low", "billed_high", "billed_low"]


def upgrade() -> None:
    op.create_table(
        "rollup_month",
        sa.Column("starts_at", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("group_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in FACTS),
        sqlite_with_rowid=False,
    )
    connection = op.get_bind()
    zone = ZoneInfo(connection.execute(sa.text("SELECT zone FROM rollup_zone")).scalar_one())
    days = connection.execute(sa.text("SELECT DISTINCT starts_at FROM rollup_day")).scalars()
    months: dict[int, list[int]] = {}
    for starts_at in days:
        months.setdefault(_month_start(zone, starts_at), []).append(starts_at)
    for month, own in sorted(months.items()):
        _fill(month, min(own), max(own))


def _month_start(zone: ZoneInfo, micros: int) -> int:
    day = (EPOCH + micros * MICROSECOND).astimezone(zone).date()
    first = datetime.combine(day.replace(day=1), time(), zone).astimezone(UTC)
    return (first - EPOCH) // MICROSECOND


def _fill(month: int, first: int, last: int) -> None:
    """Sum the days from `first` to `last`, high and low halves apart: neither can overflow so."""
    sums = ", ".join(f"CAST(sum({name}) AS BIGINT)" for name in FACTS)
    op.get_bind().execute(
        sa.text(
            f"INSERT INTO rollup_month (starts_at, group_id, {', '.join(FACTS)})"
            f" SELECT CAST(:month AS BIGINT), group_id, {sums} FROM rollup_day"
            " WHERE starts_at BETWEEN :first AND :last GROUP BY group_id"
        ),
        {"month": month, "first": first, "last": last},
    )
