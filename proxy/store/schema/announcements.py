"""What is announced: written with what it tells of, delivered by the control plane."""

from sqlalchemy import Column, Index, Integer, Table

from proxy.store.columns import Instant, Json, RowNumber, Words, metadata

outbox = Table(
    "outbox",
    metadata,
    Column("id", RowNumber, primary_key=True, autoincrement=True),
    Column("key", Words, nullable=False, unique=True),  # what is announced once
    Column("kind", Words, nullable=False),
    Column("tenant_id", Words),
    Column("at", Instant, nullable=False, index=True),
    Column("payload", Json, nullable=False),
    Column("schedule_id", Words),  # of a report that is sent to that schedule's receivers and to nobody else
    # When its deliveries were made out; null until then. Not a greatest id that was seen: ids are given
    # before their transactions commit, so on PostgreSQL a lower one can appear after a higher one.
    Column("fanned_at", Instant),
)
_not_fanned = outbox.c.fanned_at.is_(None)
Index("ix_outbox_not_fanned", outbox.c.id, sqlite_where=_not_fanned, postgresql_where=_not_fanned)

_scheduled = outbox.c.schedule_id.is_not(None)
Index(
    "ix_outbox_scheduled",
    outbox.c.schedule_id,
    outbox.c.id,
    sqlite_where=_scheduled,
    postgresql_where=_scheduled,
)

# Every receiver of messages: webhooks, and the Slack channels and e-mail addresses of schedules.
webhook = Table(
    "webhook",
    metadata,
    Column("id", Words, primary_key=True),
    Column("tenant_id", Words),  # null: this installation's, for all tenants
    Column("channel", Words, nullable=False, server_default="webhook"),
    Column("url", Words, nullable=False),
    Column("secret", Words, nullable=False),  # as it is: signing needs it; empty where nothing is signed
    Column("old_secret", Words),  # signs too until `old_until`, so that a receiver can change over
    Column("old_until", Instant),
    Column("kinds", Json, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("deleted_at", Instant),
)

delivery = Table(
    "delivery",
    metadata,
    Column("outbox_id", RowNumber, primary_key=True, autoincrement=False),
    Column("webhook_id", Words, primary_key=True),
    Column("attempts", Integer, nullable=False),
    Column("next_at", Instant),  # null: delivered, or given up
    Column("delivered_at", Instant),
    Column("status", Integer),
    Column("error", Words),
)
_pending = delivery.c.next_at.is_not(None)
Index(
    "ix_delivery_pending",
    delivery.c.webhook_id,
    delivery.c.next_at,
    sqlite_where=_pending,
    postgresql_where=_pending,
)
