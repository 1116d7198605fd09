"""A table with every kind of column, and what is hostile in any of them."""

import contextlib
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from proxy.exports.table import Column, Kind

COLUMNS = (
    Column("words"),
    Column("count", Kind.INTEGER),
    Column("usd", Kind.DECIMAL),
    Column("at", Kind.INSTANT),
    Column("estimated", Kind.FLAG),
    Column("tags", Kind.JSON),
)
AT = datetime(2026, 11, 23, 12, 0, 0, 250_000, tzinfo=UTC)
ROW = ("=1+1", 12_000, Decimal("0.007205600"), AT, True, {"team": "a", "b": "="})
EMPTY = (None,) * len(COLUMNS)

# What the database holds: neither NUL nor half a character.
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
BIGINTS = st.integers(-(2**63), 2**63 - 1)
AMOUNTS = BIGINTS.map(lambda nanos: Decimal(nanos).scaleb(-9))
INSTANTS = st.integers(0, 10**15).map(
    lambda micros: datetime(1990, 1, 1, tzinfo=UTC) + timedelta(0, 0, micros)
)
VALUES = (WORDS, BIGINTS, AMOUNTS, INSTANTS, st.booleans(), st.dictionaries(WORDS, WORDS, max_size=3))
ROWS: st.SearchStrategy[list[tuple[Any, ...]]] = st.lists(
    st.tuples(*(st.none() | values for values in VALUES)), max_size=5
)


class Nowhere:
    """Takes what is written and keeps nothing."""

    def write(self, data: bytes, /) -> int:
        return len(data)


@contextlib.contextmanager
def tracing() -> Iterator[Callable[[], int]]:
    """What it gives returns the most memory that Python took since."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
