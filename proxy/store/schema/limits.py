"""Limits and models, by their owner: a tenant's or an API key's id."""

from sqlalchemy import BigInteger, Boolean, Column, Table

from proxy.store.columns import Words, metadata

limit_rule = Table(
    "limit_rule",
    metadata,
    Column("owner_id", Words, primary_key=True),
    Column("name", Words, primary_key=True),
    Column("tenant_id", Words, nullable=False, index=True),
    Column("value", BigInteger, nullable=False),
)

model_rule = Table(
    "model_rule",
    metadata,
    Column("owner_id", Words, primary_key=True),
    Column("model", Words, primary_key=True),
    Column("tenant_id", Words, nullable=False, index=True),
    Column("allowed", Boolean, nullable=False),
)
