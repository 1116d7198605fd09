"""Who may use the API, and what it answered to requests that may be repeated."""

from sqlalchemy import Column, ForeignKey, Integer, Table

from proxy.store.columns import Instant, Json, Words, metadata

api_token = Table(
    "api_token",
    metadata,
    Column("id", Words, primary_key=True),
    Column("name", Words, nullable=False, unique=True),
    Column("role", Words, nullable=False),
    Column("secret_hmac", Words, nullable=False, unique=True),
    Column("prefix", Words, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("last_used_at", Instant),  # to the minute
    Column("revoked_at", Instant),
)

# The tenants that a token is confined to; without any it is not.
api_token_tenant = Table(
    "api_token_tenant",
    metadata,
    Column("token_id", Words, ForeignKey("api_token.id"), primary_key=True),
    Column("tenant_id", Words, ForeignKey("tenant.id"), primary_key=True),
)

# An answer by its Idempotency-Key, for two days. It holds no secret.
api_answer = Table(
    "api_answer",
    metadata,
    Column("caller", Words, primary_key=True),  # a token's id
    Column("key", Words, primary_key=True),
    Column("fingerprint", Words, nullable=False),  # of the request
    Column("status", Integer),  # these two are null only within the transaction that makes the change
    Column("answer", Json),
    Column("created_at", Instant, nullable=False, index=True),
)
