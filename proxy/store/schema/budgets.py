"""Budgets: the rules are kept for ever, the counters (`budget_window`, `lease`) are written over."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Table, text

from proxy.store.columns import Instant, Json, Words, metadata

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
    Column("forecast_thresholds", Json, nullable=False, server_default=text("'[]'")),  # percents too
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
