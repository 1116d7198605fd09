"""People who are signed in to the console, and what the local administrator signs in with."""

from sqlalchemy import CheckConstraint, Column, ForeignKey, Integer, Table

from proxy.store.columns import Instant, Words, metadata

sign_in = Table(
    "sign_in",
    metadata,
    Column("id", Words, primary_key=True),
    Column("way", Words, nullable=False),  # oidc, password, link
    Column("subject", Words, nullable=False, index=True),  # who it is, whatever they are called
    Column("name", Words, nullable=False),
    Column("role", Words, nullable=False),
    Column("secret_hmac", Words, nullable=False, unique=True),
    Column("created_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),  # to the minute
    Column("expires_at", Instant, nullable=False),
    Column("ended_at", Instant),
)

# The tenants that somebody is confined to; without any they are not.
sign_in_tenant = Table(
    "sign_in_tenant",
    metadata,
    Column("sign_in_id", Words, ForeignKey("sign_in.id"), primary_key=True),
    Column("tenant_id", Words, ForeignKey("tenant.id"), primary_key=True),
)

# Each signs the local administrator in once.
sign_in_link = Table(
    "sign_in_link",
    metadata,
    Column("id", Words, primary_key=True),
    Column("secret_hmac", Words, nullable=False, unique=True),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("used_at", Instant),
)

local_admin = Table(
    "local_admin",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="single"), primary_key=True, autoincrement=False),
    Column("password_hash", Words, nullable=False),  # argon2id, with its parameters
    Column("set_at", Instant, nullable=False),
)
