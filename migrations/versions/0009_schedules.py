"""Saved reports, schedules, and receivers of messages that are no webhooks."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("webhook", sa.Column("channel", sa.Text(), nullable=False, server_default="webhook"))
    op.add_column("outbox", sa.Column("schedule_id", sa.Text()))
    scheduled = sa.text("schedule_id IS NOT NULL")
    op.create_index(
        "ix_outbox_scheduled",
        "outbox",
        ["schedule_id", "id"],
        sqlite_where=scheduled,
        postgresql_where=scheduled,
    )
    op.create_table(
        "saved_report",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("tenant_id", sa.Text(), sa.ForeignKey("tenant.id")),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("span", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "schedule",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("tenant_id", sa.Text(), sa.ForeignKey("tenant.id")),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("report_id", sa.Text(), sa.ForeignKey("saved_report.id")),
        sa.Column("every", sa.Text()),
        sa.Column("at_time", sa.Text()),
        sa.Column("on_day", sa.Integer()),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), index=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "schedule_receiver",
        sa.Column("schedule_id", sa.Text(), sa.ForeignKey("schedule.id"), primary_key=True),
        sa.Column("webhook_id", sa.Text(), sa.ForeignKey("webhook.id"), primary_key=True),
    )
