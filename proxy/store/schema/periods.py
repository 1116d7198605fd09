"""What is closed, and what was stated then: append-only, with the names as they were."""

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, Table, UniqueConstraint

from proxy.store.columns import Instant, Json, RowNumber, Words, metadata

ledger_period = Table(
    "ledger_period",
    metadata,
    Column("period", Words, primary_key=True),  # such as 2026-11
    Column("zone", Words, nullable=False),
    Column("closed_at", Instant, nullable=False),
    Column("closed_by", Words, nullable=False),
    Column("entries", BigInteger, nullable=False),  # of the chain, at the close; with the digest, its seal
    Column("digest", Words, nullable=False),
    Column("overridden", Json, nullable=False),  # what stood in the way, each with the reason to close
)

statement = Table(
    "statement",
    metadata,
    Column("number", Words, primary_key=True),  # the period's first is 2026-11-0001, and so on without gaps
    Column("period", Words, ForeignKey("ledger_period.period"), nullable=False),
    Column("tenant_id", Words, nullable=False),
    Column("tenant", Words, nullable=False),
    Column("issuer", Words),
    Column("entries", BigInteger, nullable=False),
    Column("unrated_entries", BigInteger, nullable=False),
    Column("billed_nanousd", BigInteger, nullable=False),  # the sum of its lines
    Column("rounding_nanousd", BigInteger, nullable=False),  # what makes whole cents of it
    UniqueConstraint("period", "tenant_id"),
)

statement_line = Table(
    "statement_line",
    metadata,
    Column("statement", Words, ForeignKey("statement.number"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),  # 1, 2, 3, …
    Column("project_id", Words),
    Column("project", Words),
    Column("kind", Words, nullable=False),
    Column("model", Words),
    Column("meter", Words),
    Column("corrects_period", Words),  # the closed period that it concerns
    Column("entry_id", RowNumber),  # of an adjustment or a credit: each has a line of its own
    Column("reason", Words),
    Column("quantity", BigInteger),
    Column("unit", Words),
    Column("billed_nanousd", BigInteger),  # null: unrated
)
