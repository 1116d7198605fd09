"""Who pays: archived, never deleted."""

from sqlalchemy import Column, ForeignKey, Table, UniqueConstraint

from proxy.store.columns import Instant, Json, Words, metadata

tenant = Table(
    "tenant",
    metadata,
    Column("id", Words, primary_key=True),
    Column("name", Words, nullable=False, unique=True),
    Column("created_at", Instant, nullable=False),
    Column("archived_at", Instant),
)

project = Table(
    "project",
    metadata,
    Column("id", Words, primary_key=True),
    Column("tenant_id", Words, ForeignKey("tenant.id"), nullable=False),
    Column("name", Words, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("archived_at", Instant),
    UniqueConstraint("tenant_id", "name"),
)

api_key = Table(
    "api_key",
    metadata,
    Column("id", Words, primary_key=True),
    Column("tenant_id", Words, ForeignKey("tenant.id"), nullable=False, index=True),
    Column("project_id", Words, ForeignKey("project.id")),
    Column("name", Words, nullable=False),
    Column("secret_hmac", Words, nullable=False, unique=True),
    Column("prefix", Words, nullable=False),
    Column("tags", Json, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("revoked_at", Instant),
)

# Which key takes the place of which. Both work until the old one expires.
key_rotation = Table(
    "key_rotation",
    metadata,
    Column("old_key_id", Words, ForeignKey("api_key.id"), primary_key=True),
    Column("new_key_id", Words, ForeignKey("api_key.id"), nullable=False, unique=True),
    Column("rotated_at", Instant, nullable=False),
)

end_user = Table(
    "end_user",
    metadata,
    Column("id", Words, primary_key=True),
    Column("tenant_id", Words, nullable=False),
    Column("name", Words, nullable=False),
    UniqueConstraint("tenant_id", "name"),
)
