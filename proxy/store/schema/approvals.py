"""What waits for a second person, and what was decided: append-only."""

from sqlalchemy import Column, ForeignKey, Table

from proxy.store.columns import Instant, Json, Words, metadata

approval_request = Table(
    "approval_request",
    metadata,
    Column("id", Words, primary_key=True),
    Column("action", Words, nullable=False),  # as the audit log calls it, such as period.close
    Column("object", Words, nullable=False),  # the period, or the adjustment's key
    Column("tenant_id", Words),
    Column("wanted", Json, nullable=False),
    Column("asked_at", Instant, nullable=False),
    Column("asked_by", Words, nullable=False),
    Column("reason", Words),
    Column("expires_at", Instant, nullable=False, index=True),
)

approval_decision = Table(
    "approval_decision",
    metadata,
    Column("request_id", Words, ForeignKey("approval_request.id"), primary_key=True),
    Column("decision", Words, nullable=False),  # approved, rejected
    Column("decided_at", Instant, nullable=False),
    Column("decided_by", Words, nullable=False),
    Column("reason", Words),
    Column("result", Json),  # what came of it
)
