"""Who changed what."""

from sqlalchemy import Column, Table

from proxy.store.columns import Instant, Json, RowNumber, Words, metadata

audit = Table(
    "audit",
    metadata,
    Column("id", RowNumber, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("actor", Words, nullable=False),  # such as cli:USER@HOST
    Column("action", Words, nullable=False),
    Column("object", Words, nullable=False),
    Column("tenant_id", Words),
    Column("before", Json),
    Column("after", Json),
    Column("reason", Words),
)
