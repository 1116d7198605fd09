"""The tables, for SQLite and PostgreSQL alike.

Ids are text and sort by the time they were made. Instants are microseconds since the epoch in a
BIGINT, aware UTC datetimes in Python. Money is BIGINT nano-dollars.

Nothing that a posting writes has a foreign key into the catalogue: a journal can outlive a database
that was restored from yesterday's backup, and what it holds must be posted all the same. End users
have none either, since a person's name can be erased while the surrogate id stays in the ledger.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    Table,
    UniqueConstraint,
    text,
)

from proxy.store.columns import Instant, Json, RowNumber, Words, metadata

# --- Who pays: archived, never deleted.

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

end_user = Table(
    "end_user",
    metadata,
    Column("id", Words, primary_key=True),
    Column("tenant_id", Words, nullable=False),
    Column("name", Words, nullable=False),
    UniqueConstraint("tenant_id", "name"),
)

# --- Prices: a new card supersedes, none is edited.

rate_card = Table(
    "rate_card",
    metadata,
    Column("id", Words, primary_key=True),
    Column("provider", Words, nullable=False),
    Column("model", Words, nullable=False),
    Column("effective_from", Instant, nullable=False),
    Column("source", Words, nullable=False),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("provider", "model", "effective_from"),
)

rate_price = Table(
    "rate_price",
    metadata,
    Column("rate_card_id", Words, ForeignKey("rate_card.id"), primary_key=True),
    Column("meter", Words, primary_key=True),
    Column("price_nanousd", BigInteger, nullable=False),
    Column("price_per", BigInteger, nullable=False),
)

# --- What was used and what it cost: append-only but for a session's end.

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
    Column("period", Words, nullable=False, index=True),  # 'YYYY-MM'
    Column("list_nanousd", BigInteger),
    Column("cost_nanousd", BigInteger),  # null: unrated
    Column("billed_nanousd", BigInteger),
    Column("charge_nanousd", BigInteger),  # of an unrated entry: what budgets are charged in place of a cost
    Column("estimate_nanousd", BigInteger),  # a response's cost by our estimate when it ended
    Column("corrects", RowNumber),
)
Index("ix_ledger_entry_tenant_id_occurred_at", ledger_entry.c.tenant_id, ledger_entry.c.occurred_at)
_unrated = ledger_entry.c.cost_nanousd.is_(None)
Index("ix_ledger_entry_unrated", ledger_entry.c.id, sqlite_where=_unrated, postgresql_where=_unrated)

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

# --- Instances, and what is alive.

instance = Table(
    "instance",
    metadata,
    Column("id", Words, primary_key=True),
    Column("started_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("journal_path", Words, nullable=False),
    Column("version", Words, nullable=False),
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

# --- Budgets: the rules are kept for ever, the counters (`budget_window`, `lease`) are written over.

budget = Table(
    "budget",
    metadata,
    Column("id", Words, primary_key=True),
    Column("scope", Words, nullable=False),
    Column("tenant_id", Words),
    Column("project_id", Words),
    Column("api_key_id", Words),
    Column("end_user_id", Words),
    Column("window", Words, nullable=False),
    Column("zone", Words, nullable=False),
    Column("amount_nanousd", BigInteger),  # null: unlimited
    Column("on_exhausted", Words, nullable=False),
    Column("on_store_down", Words, nullable=False),
    Column("store_down_nanousd", BigInteger, nullable=False),  # what `continue` may spend unasked
    Column("thresholds", Json, nullable=False),  # percents
    Column("created_at", Instant, nullable=False),
    Column("deleted_at", Instant),
)

budget_raise = Table(
    "budget_raise",
    metadata,
    Column("id", Words, primary_key=True),
    Column("budget_id", Words, ForeignKey("budget.id"), nullable=False, index=True),
    Column("amount_nanousd", BigInteger, nullable=False),
    Column("starts_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False),
    Column("reason", Words, nullable=False),
    Column("actor", Words, nullable=False),
    Column("created_at", Instant, nullable=False),
)

# What a budget has spent in one window. `subject` is the end user of a budget for each of them, the
# session of a session's window, else ''. A window without a place in the calendar starts at the epoch.
budget_window = Table(
    "budget_window",
    metadata,
    Column("budget_id", Words, primary_key=True),
    Column("subject", Words, primary_key=True),
    Column("starts_at", Instant, primary_key=True, autoincrement=False),
    Column("ends_at", Instant),
    Column("spent_nanousd", BigInteger, nullable=False),
)

lease = Table(
    "lease",
    metadata,
    Column("budget_id", Words, primary_key=True),
    Column("subject", Words, primary_key=True),
    Column("starts_at", Instant, primary_key=True, autoincrement=False),
    Column("instance_id", Words, primary_key=True, index=True),
    Column("granted_nanousd", BigInteger, nullable=False),  # to the instance, less what it gave back
    Column("taken_nanousd", BigInteger, nullable=False),  # of it by postings: what is left is reserved
    Column("wanted", Boolean, nullable=False),  # another instance needs what is not held of it
)

budget_cut = Table(
    "budget_cut",
    metadata,
    Column("session_id", Words, primary_key=True),
    Column("subject_id", Words, primary_key=True),  # the response that was cut
    Column("budget_id", Words, nullable=False, index=True),
    Column("cut_at", Instant, nullable=False),
    Column("limit_nanousd", BigInteger, nullable=False),
    Column("spent_nanousd", BigInteger, nullable=False),
    Column("held_nanousd", BigInteger, nullable=False),
    Column("estimate_nanousd", BigInteger, nullable=False),
    Column("cost_nanousd", BigInteger),  # null until its bill is posted …
    Column("overshoot_nanousd", BigInteger),  # … and max(0, cost - held) then
)

# --- Limits and models, by their owner: a tenant's or an API key's id.

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

# --- What is announced: written with what it tells of, delivered by the control plane.

outbox = Table(
    "outbox",
    metadata,
    Column("id", RowNumber, primary_key=True, autoincrement=True),
    Column("key", Words, nullable=False, unique=True),  # what is announced once
    Column("kind", Words, nullable=False),
    Column("tenant_id", Words),
    Column("at", Instant, nullable=False, index=True),
    Column("payload", Json, nullable=False),
    # When its deliveries were made out; null until then. Not a greatest id that was seen: ids are given
    # before their transactions commit, so on PostgreSQL a lower one can appear after a higher one.
    Column("fanned_at", Instant),
)
_not_fanned = outbox.c.fanned_at.is_(None)
Index("ix_outbox_not_fanned", outbox.c.id, sqlite_where=_not_fanned, postgresql_where=_not_fanned)

webhook = Table(
    "webhook",
    metadata,
    Column("id", Words, primary_key=True),
    Column("tenant_id", Words),  # null: this installation's, for all tenants
    Column("url", Words, nullable=False),
    Column("secret", Words, nullable=False),  # as it is: signing needs it
    Column("old_secret", Words),  # signs too until `old_until`, so that a receiver can change over
    Column("old_until", Instant),
    Column("kinds", Json, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("deleted_at", Instant),
)

delivery = Table(
    "delivery",
    metadata,
    Column("outbox_id", RowNumber, primary_key=True, autoincrement=False),
    Column("webhook_id", Words, primary_key=True),
    Column("attempts", Integer, nullable=False),
    Column("next_at", Instant),  # null: delivered, or given up
    Column("delivered_at", Instant),
    Column("status", Integer),
    Column("error", Words),
)
_pending = delivery.c.next_at.is_not(None)
Index(
    "ix_delivery_pending",
    delivery.c.webhook_id,
    delivery.c.next_at,
    sqlite_where=_pending,
    postgresql_where=_pending,
)

# --- Who changed what.

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

# --- One row each, made by the migration.

# Every posting transaction locks this row before anything else, so that postings queue up.
chain_head = Table(
    "chain_head",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="single"), primary_key=True, autoincrement=False),
    Column("entries", BigInteger, nullable=False),
    Column("blocks", BigInteger, nullable=False, server_default="0"),
    Column("digest", Words, nullable=False, server_default=text("''")),  # of the last block
)

# Every change to the catalogue adds one; instances poll it instead of the catalogue.
change_counter = Table(
    "change_counter",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="single"), primary_key=True, autoincrement=False),
    Column("value", BigInteger, nullable=False),
)
