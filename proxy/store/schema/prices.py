"""Prices: a new card supersedes, none is edited."""

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, Table, UniqueConstraint

from proxy.store.columns import Instant, Words, metadata

rate_card = Table(
    "rate_card",
    metadata,
    Column("id", Words, primary_key=True),
    Column("provider", Words, nullable=False),
    Column("model", Words, nullable=False),
    Column("effective_from", Instant, nullable=False),
    Column("source", Words, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("owner", Words, nullable=False, server_default="public"),  # or 'contract', or a tenant's id
    UniqueConstraint("owner", "provider", "model", "effective_from"),
)

rate_price = Table(
    "rate_price",
    metadata,
    Column("rate_card_id", Words, ForeignKey("rate_card.id"), primary_key=True),
    Column("meter", Words, primary_key=True),
    Column("price_nanousd", BigInteger, nullable=False),
    Column("price_per", BigInteger, nullable=False),
)

markup = Table(
    "markup",
    metadata,
    Column("id", Words, primary_key=True),
    Column("tenant_id", Words, ForeignKey("tenant.id")),  # null: all that have none of their own
    Column("basis_points", Integer, nullable=False),  # on top of our cost; a discount below 0
    Column("effective_from", Instant, nullable=False),
    Column("created_at", Instant, nullable=False),
)
