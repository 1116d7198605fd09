"""A table on its way out: columns of known kinds, and rows that are made one after the other.

What is exported says which columns there are and yields rows; how a kind is written is each format's affair.
So a table is held by nobody as a whole, however long it is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What the values of a column are; any may be None, which is an empty cell."""

    TEXT = "text"  # str, also what peers chose
    INTEGER = "integer"  # int
    DECIMAL = "decimal"  # Decimal, exact
    INSTANT = "instant"  # datetime with a time zone
    FLAG = "flag"  # bool
    JSON = "json"  # a dict or list of JSON's types


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its heading, and what its values are.

    `decimals` is how many of them a DECIMAL has at most: formats with types of their own have to say so.
    """

    name: str
    kind: Kind = Kind.TEXT
    decimals: int = 9  # a nano-dollar


Row = Sequence[object]  # one value a column


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and the rows to come; `rows` can be gone through once."""

    columns: Sequence[Column]
    rows: Iterable[Row]
