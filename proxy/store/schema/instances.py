"""Instances, what is alive, and how they learn of changes."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Integer, Table

from proxy.store.columns import Instant, Words, metadata

instance = Table(
    "instance",
    metadata,
    Column("id", Words, primary_key=True),
    Column("started_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("journal_path", Words, nullable=False),
    Column("version", Words, nullable=False),
    Column("ended_at", Instant),  # with everything in the ledger; null: it runs, or did not end well
    Column("unposted_from", Instant),  # when it journalled the first of what is not in the ledger yet
    Column("parked", BigInteger, nullable=False, server_default="0"),  # records that the ledger refused
    Column("forgotten_at", Instant),  # its journal is lost, people have said; seen after that: it was found
)

journal_checkpoint = Table(
    "journal_checkpoint",
    metadata,
    Column("instance_id", Words, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("at", Instant, nullable=False),
)

live_session = Table(
    "live_session",
    metadata,
    Column("session_id", Words, primary_key=True),
    Column("instance_id", Words, nullable=False, index=True),
    Column("seen_at", Instant, nullable=False),
    Column("cost_nanousd", BigInteger, nullable=False),
    Column("responses", BigInteger, nullable=False),
    Column("running_nanousd", BigInteger, nullable=False, server_default="0"),  # estimated, not in the cost
    Column("burn_nanousd", BigInteger, nullable=False, server_default="0"),  # spent in the last minute
    Column("model", Words),
    Column("left_nanousd", BigInteger),  # of the narrowest budget; null: none has an amount
)

stop_order = Table(
    "stop_order",
    metadata,
    Column("session_id", Words, primary_key=True),
    Column("reason", Words, nullable=False),
    Column("at", Instant, nullable=False),
)

# The oldest revision whose code may use the database: a newer schema has everything that it knows.
schema_floor = Table(
    "schema_floor",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="single"), primary_key=True, autoincrement=False),
    Column("revision", Words, nullable=False),
)

# Every change to the catalogue adds one; instances poll it instead of the catalogue.
change_counter = Table(
    "change_counter",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="single"), primary_key=True, autoincrement=False),
    Column("value", BigInteger, nullable=False),
)
