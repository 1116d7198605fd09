"""Sums over the ledger, kept by every posting: written over, and checked by `ledger verify`.

A cell is what one group comes to in one quarter hour, one day or one month. A group says who, what and which
part of entries: whole ones (`part` is 'entry'), those without lines ('bare'), what one modality has of each
('modality'), or one meter ('meter'). Sums of amounts are high × 2³² + low, so that no posting can overflow
them; those of unrated entries are 0.
"""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Integer, Table

from proxy.store.columns import Instant, RowNumber, Words, metadata

rollup_group = Table(
    "rollup_group",
    metadata,
    Column("id", RowNumber, primary_key=True, autoincrement=False),
    Column("key", Words, nullable=False, unique=True),  # all that follows, as a JSON array
    Column("tenant_id", Words, nullable=False),
    Column("project_id", Words),
    Column("api_key_id", Words),
    Column("model", Words),
    Column("kind", Words, nullable=False),
    Column("role", Words, nullable=False),
    Column("estimated", Boolean, nullable=False),
    Column("rated", Boolean, nullable=False),
    Column("part", Words, nullable=False),
    Column("modality", Words),
    Column("meter", Words),
)


def _cells(name: str) -> Table:
    return Table(
        name,
        metadata,
        Column("starts_at", Instant, primary_key=True, autoincrement=False),
        Column("group_id", BigInteger, primary_key=True, autoincrement=False),
        Column("entries", BigInteger, nullable=False),
        Column("quantity", BigInteger, nullable=False),
        Column("list_high", BigInteger, nullable=False),
        Column("list_low", BigInteger, nullable=False),
        Column("cost_high", BigInteger, nullable=False),
        Column("cost_low", BigInteger, nullable=False),
        Column("billed_high", BigInteger, nullable=False),
        Column("billed_low", BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )


rollup_quarter = _cells("rollup_quarter")
rollup_day = _cells("rollup_day")  # of the days in the zone of `rollup_zone`
rollup_month = _cells("rollup_month")  # of the months in that zone

rollup_zone = Table(
    "rollup_zone",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="single"), primary_key=True, autoincrement=False),
    Column("zone", Words, nullable=False),
)
