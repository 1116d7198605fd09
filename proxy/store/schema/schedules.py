"""Reports that are kept by name, and what is sent to whom when."""

from sqlalchemy import Column, ForeignKey, Integer, Table

from proxy.store.columns import Instant, Json, Words, metadata

saved_report = Table(
    "saved_report",
    metadata,
    Column("id", Words, primary_key=True),
    Column("tenant_id", Words, ForeignKey("tenant.id")),  # null: of the installation
    Column("name", Words, nullable=False),  # one of its kind among those of a tenant
    Column("query", Json, nullable=False),
    Column("span", Words, nullable=False),  # relative, such as last-month
    Column("created_at", Instant, nullable=False),
    Column("changed_at", Instant, nullable=False),
)

schedule = Table(
    "schedule",
    metadata,
    Column("id", Words, primary_key=True),
    Column("tenant_id", Words, ForeignKey("tenant.id")),  # null: of the installation
    Column("name", Words, nullable=False),
    Column("content", Words, nullable=False),
    Column("report_id", Words, ForeignKey("saved_report.id")),
    Column("every", Words),  # null: at once, whenever there is something to tell
    Column("at_time", Words),  # HH:MM
    Column("on_day", Integer),
    Column("zone", Words, nullable=False),
    Column("next_at", Instant, index=True),  # the occurrence that comes; whoever moves it on makes that one
    Column("created_at", Instant, nullable=False),
    Column("changed_at", Instant, nullable=False),
)

schedule_receiver = Table(
    "schedule_receiver",
    metadata,
    Column("schedule_id", Words, ForeignKey("schedule.id"), primary_key=True),
    Column("webhook_id", Words, ForeignKey("webhook.id"), primary_key=True),
)
