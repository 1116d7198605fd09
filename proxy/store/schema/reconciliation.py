"""Our ledger against the provider's bill: what its lines mean; comparisons, which are only added to."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Integer, Table

from proxy.store.columns import Instant, Json, Words, metadata

line_item = Table(
    "line_item",
    metadata,
    Column("name", Words, primary_key=True),  # of a line of the bill, with a * for the model
    Column("model", Words),  # null: what the * stands for
    Column("meter", Words),  # null: not compared
    Column("set_at", Instant, nullable=False),
)

reconciliation = Table(
    "reconciliation",
    metadata,
    Column("id", Words, primary_key=True),
    Column("at", Instant, nullable=False),  # when the bill was read
    Column("actor", Words, nullable=False),
    Column("first_on", Words, nullable=False),  # a UTC day, YYYY-MM-DD, and …
    Column("end_on", Words, nullable=False),  # … the one after the last
    Column("delay_s", Integer, nullable=False),  # after which the bill is relied on
    Column("threshold_nanousd", BigInteger, nullable=False),
    Column("threshold_percent", Integer, nullable=False),
    Column("upstream_projects", Json, nullable=False),  # that were compared; none: all
    Column("upstream_keys", Json, nullable=False),
    Column("row_count", Integer, nullable=False),
)

_SUMS = ("ours_nanousd", "theirs_nanousd")
_CAUSES = ("price", "unrated", "delay", "day_edge", "estimates", "unexplained")

reconciliation_day = Table(
    "reconciliation_day",
    metadata,
    Column("reconciliation_id", Words, ForeignKey("reconciliation.id"), primary_key=True),
    Column("on_day", Words, primary_key=True, index=True),
    Column("is_final", Boolean, nullable=False),  # it was over long enough for the bill to be whole
    *(Column(name, BigInteger, nullable=False) for name in _SUMS),
    *(Column(f"{name}_nanousd", BigInteger, nullable=False) for name in _CAUSES),  # unexplained: unsigned
    Column("limit_nanousd", BigInteger, nullable=False),  # of the unexplained
)

reconciliation_row = Table(
    "reconciliation_row",
    metadata,
    Column("reconciliation_id", Words, ForeignKey("reconciliation.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("on_day", Words, nullable=False),
    Column("project", Words),
    Column("model", Words),
    Column("meter", Words),
    Column("line_item", Words),  # of the bill, where no rule says what it means
    Column("ours_quantity", BigInteger, nullable=False),
    Column("theirs_quantity", BigInteger),
    *(Column(name, BigInteger, nullable=False) for name in _SUMS),
    *(Column(f"{name}_nanousd", BigInteger, nullable=False) for name in _CAUSES),
    Column("unrated_quantity", BigInteger, nullable=False),
    Column("uncounted", BigInteger, nullable=False),  # entries of which nothing was counted
    Column("upstream_keys", Json, nullable=False),  # the provider's, with what each is charged
)
