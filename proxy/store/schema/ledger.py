"""What was used and what it cost: append-only but for a session's end and the chain's head."""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, ForeignKey, Index, Integer, Table, text

from proxy.store.columns import Instant, Json, RowNumber, Words, metadata

THREE_AMOUNTS = ("list_nanousd", "cost_nanousd", "billed_nanousd")  # of an entry, and of each of its lines

session = Table(
    "session",
    metadata,
    Column("id", Words, primary_key=True),
    Column("tenant_id", Words, nullable=False),
    Column("project_id", Words),
    Column("api_key_id", Words, nullable=False),
    Column("end_user_id", Words),
    Column("tags", Json, nullable=False),
    Column("provider", Words, nullable=False),
    Column("account", Words),
    Column("model", Words),
    Column("upstream_session_id", Words),
    Column("instance_id", Words, nullable=False),
    Column("opened_at", Instant, nullable=False, index=True),
    Column("closed_at", Instant),
    Column("close_code", Integer),
    Column("reason", Words),
)
_open = session.c.closed_at.is_(None)
Index("ix_session_open", session.c.opened_at, sqlite_where=_open, postgresql_where=_open)
for _whose in ("tenant_id", "project_id", "api_key_id", "end_user_id"):  # the newest of each, for lists
    Index(f"ix_session_{_whose}_opened_at", session.c[_whose], session.c.opened_at)

ledger_entry = Table(
    "ledger_entry",
    metadata,
    Column("id", RowNumber, primary_key=True, autoincrement=False),  # the order of the chain: 1, 2, 3, …
    Column("entry_key", Words, nullable=False, unique=True),
    Column("digest", Words, nullable=False),
    Column("session_id", Words, index=True),
    Column("tenant_id", Words, nullable=False),
    Column("project_id", Words),
    Column("api_key_id", Words),
    Column("end_user_id", Words),
    Column("tags", Json, nullable=False),
    Column("provider", Words, nullable=False),
    Column("account", Words),
    Column("upstream_session_id", Words),
    Column("model", Words),
    Column("kind", Words, nullable=False),
    Column("role", Words, nullable=False),
    Column("subject_id", Words, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("status", Words, nullable=False),
    Column("status_reason", Words),
    Column("estimated", Boolean, nullable=False),
    Column("flags", Json, nullable=False),
    Column("occurred_at", Instant, nullable=False, index=True),
    Column("posted_at", Instant, nullable=False),
    Column("period", Words, nullable=False),  # 'YYYY-MM'
    Column("list_nanousd", BigInteger),
    Column("cost_nanousd", BigInteger),  # null: unrated
    Column("billed_nanousd", BigInteger),
    Column("charge_nanousd", BigInteger),  # of an unrated entry: what budgets are charged in place of a cost
    Column("estimate_nanousd", BigInteger),  # a response's cost by our estimate when it ended
    Column("held_nanousd", BigInteger),  # what budgets had reserved for it
    Column("corrects", RowNumber),
    # Later columns: the chain covers them where they hold something (`store/chain.py`).
    Column("public_card_id", Words),  # of the list amounts, where our cost is by another card
    Column("agreed_card_id", Words),  # of the billed amounts, as far as it has prices …
    Column("markup_bp", Integer),  # … and what is on top of our cost for the rest
)
Index("ix_ledger_entry_tenant_id_occurred_at", ledger_entry.c.tenant_id, ledger_entry.c.occurred_at)
Index("ix_ledger_entry_period_occurred_at", ledger_entry.c.period, ledger_entry.c.occurred_at)
_unrated = ledger_entry.c.cost_nanousd.is_(None)
Index("ix_ledger_entry_unrated", ledger_entry.c.id, sqlite_where=_unrated, postgresql_where=_unrated)
_reverses = ledger_entry.c.role == "reversal"
Index(  # nothing is reversed twice
    "uq_ledger_entry_reversed",
    ledger_entry.c.corrects,
    unique=True,
    sqlite_where=_reverses,
    postgresql_where=_reverses,
)

ledger_line = Table(
    "ledger_line",
    metadata,
    Column("entry_id", RowNumber, ForeignKey("ledger_entry.id"), primary_key=True, autoincrement=False),
    Column("meter", Words, primary_key=True),
    Column("quantity", BigInteger, nullable=False),
    Column("unit", Words, nullable=False),  # 'token' or 'ms'
    Column("price_nanousd", BigInteger),
    Column("price_per", BigInteger),
    Column("list_nanousd", BigInteger),
    Column("cost_nanousd", BigInteger),
    Column("billed_nanousd", BigInteger),
    Column("rate_card_id", Words),
)

# What one posting booked, sealed (`store/chain.py`).
ledger_block = Table(
    "ledger_block",
    metadata,
    Column("id", RowNumber, primary_key=True, autoincrement=False),  # 1, 2, 3, …
    Column("first_entry", BigInteger, nullable=False),
    Column("last_entry", BigInteger, nullable=False, unique=True),
    Column("posted_at", Instant, nullable=False),
    Column("digest", Words, nullable=False),
)

# The alarm list: a key that came back with another payload. The first one stays booked.
entry_conflict = Table(
    "entry_conflict",
    metadata,
    Column("id", RowNumber, primary_key=True, autoincrement=True),
    Column("entry_key", Words, nullable=False, index=True),
    Column("digest", Words, nullable=False),
    Column("found_at", Instant, nullable=False),
    Column("payload", Words, nullable=False),
)

# Every posting transaction locks this row before anything else, so that postings queue up.
chain_head = Table(
    "chain_head",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="single"), primary_key=True, autoincrement=False),
    Column("entries", BigInteger, nullable=False),
    Column("blocks", BigInteger, nullable=False, server_default="0"),
    Column("digest", Words, nullable=False, server_default=text("''")),  # of the last block
    Column("closed_through", Words),  # the last period that is closed
    Column("period_zone", Words),  # of the periods: fixed by the first close
)
