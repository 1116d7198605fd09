"""The column types of the tables, for SQLite and PostgreSQL alike.

Instants are microseconds since the epoch in a BIGINT, aware UTC datetimes in Python.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Dialect, Integer, MetaData, Text, TypeDecorator

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Unreadable(ValueError):
    """What is stored is none of what was ever written there: somebody has changed it by hand."""


# SQLite makes a primary key the row's own number only when its type is spelt INTEGER.
RowNumber = BigInteger().with_variant(Integer(), "sqlite")


def to_micros(at: datetime) -> int:
    """Return microseconds since the epoch, exactly; a float would lose them. `at` must be aware."""
    if at.tzinfo is None:
        raise ValueError(f"an instant without a time zone: {at.isoformat()}")
    return (at - EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Return the instant as an aware UTC datetime."""
    return EPOCH + micros * _MICROSECOND


class Instant(TypeDecorator[datetime]):
    """An aware datetime, kept as microseconds since the epoch."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else to_micros(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        try:
            return None if value is None else from_micros(int(value))
        except (ValueError, OverflowError):
            raise Unreadable(f"{value!r} is no instant") from None


class Words(TypeDecorator[str]):
    """Text, some of which peers chose. PostgreSQL stores neither NUL nor lone surrogates.

    They become U+FFFD on the way in, on SQLite too: a name that one database takes and the other
    refuses would stop the poster for good.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else storable(value)


class Json(TypeDecorator[Any]):
    """A small JSON value as text with sorted keys, so that equal values are equal text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else msgspec.json.encode(_storable(value), order="sorted").decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        try:
            return None if value is None else msgspec.json.decode(value)
        except msgspec.DecodeError:
            raise Unreadable(f"{value!r} is no JSON") from None


def storable(text: str) -> str:
    """Return `text` with what PostgreSQL cannot keep replaced by U+FFFD."""
    if "\0" not in text and text.isprintable():  # the usual case, at a tenth of the cost
        return text
    return "".join("\ufffd" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in text)


def _storable(value: Any) -> Any:
    match value:
        case str():
            return storable(value)
        case Mapping():
            return {storable(str(key)): _storable(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_storable(item) for item in value]
        case _:
            return value


# How keys and indexes are named, on both databases.
metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)
