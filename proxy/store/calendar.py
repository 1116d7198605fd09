"""Local hours, days, weeks and months of a time zone, in SQL that both databases understand.

Neither database is asked about time zones: SQLite knows none, and PostgreSQL's tables may be another
edition than ours. A zone changes its offset a few times a year; those changes become a CASE.
"""

import functools
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, case, func, literal, type_coerce

from proxy.store.columns import EPOCH, from_micros, to_micros

HOUR = 3_600_000_000  # microseconds
DAY = 24 * HOUR
_MONDAY = 3  # the epoch was a Thursday
_SECOND = timedelta(seconds=1)


def offset_changes(zone: tzinfo, start: datetime, end: datetime) -> list[tuple[datetime, timedelta]]:
    """Return the instants in (start, end] at which `zone` takes another offset, each with that one."""
    years = range(start.astimezone(UTC).year, end.astimezone(UTC).year + 1)
    return [change for year in years for change in _changes_in(zone, year) if start < change[0] <= end]


@functools.lru_cache(maxsize=1_000)
def _changes_in(zone: tzinfo, year: int) -> list[tuple[datetime, timedelta]]:
    """Return those of one year of UTC: to look for them day by day takes a while."""
    at, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)
    at -= _SECOND if year > 1 else timedelta()  # one may be with the year's first moment
    changes = []
    while at < end:
        following = min(at + timedelta(days=1), end)
        if _offset(zone, at) != _offset(zone, following):
            changes.append((_change_between(zone, at, following), _offset(zone, following)))
        at = following
    return changes


def _change_between(zone: tzinfo, before: datetime, after: datetime) -> datetime:
    """Return the first second of the new offset: offsets change on whole seconds."""
    before = before.replace(microsecond=0)
    while after - before > _SECOND:
        middle = (before + (after - before) / 2).replace(microsecond=0)
        if _offset(zone, middle) == _offset(zone, before):
            before = middle
        else:
            after = middle
    return after


def _offset(zone: tzinfo, at: datetime) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta()


def offset_of(column: ColumnElement[Any], zone: tzinfo, start: datetime, end: datetime) -> ColumnElement[int]:
    """Return the zone's offset in microseconds at the instant in `column`, which is in [start, end]."""
    micros = type_coerce(column, BigInteger)
    bounds: list[tuple[ColumnElement[bool], Any]] = []
    offset = _offset(zone, start)
    for changed_at, following in offset_changes(zone, start, end):
        bounds.append((micros < to_micros(changed_at), _literal(offset)))
        offset = following
    return case(*bounds, else_=_literal(offset)) if bounds else _literal(offset)


def _literal(offset: timedelta) -> ColumnElement[int]:
    return literal(offset // timedelta(microseconds=1), BigInteger)


def local_micros(column: ColumnElement[Any], offset: ColumnElement[int]) -> ColumnElement[int]:
    """Return the wall clock at the instant in `column`, counted like microseconds since the epoch."""
    return type_coerce(column, BigInteger) + offset


def week_of(micros: ColumnElement[int]) -> ColumnElement[int]:
    """Return the number of the week, from Monday, that a wall clock stands in."""
    return (micros + _MONDAY * DAY) // (7 * DAY)


def month_of(micros: ColumnElement[int], dialect: str) -> ColumnElement[str]:
    """Return the calendar month of a wall clock, as YYYY-MM."""
    seconds = micros // 1_000_000
    if dialect == "sqlite":
        return func.strftime("%Y-%m", seconds, "unixepoch")
    return func.to_char(func.timezone("UTC", func.to_timestamp(seconds)), "YYYY-MM")


def day_text(day: int) -> str:
    """Return the day that `local_micros // DAY` stands for, such as 2026-11-23."""
    return (EPOCH + timedelta(days=day)).date().isoformat()


def week_text(week: int) -> str:
    """Return the Monday of the week that `week_of` numbers, such as 2026-11-23."""
    return day_text(7 * week - _MONDAY)


def hour_text(hour: int, offset: int) -> str:
    """Return the hour that `local_micros // HOUR` stands for, such as 2026-10-25T02:00+01:00.

    With its offset, since one hour of a year comes twice.
    """
    zone = timezone(timedelta(microseconds=offset))
    return from_micros(hour * HOUR).replace(tzinfo=zone).isoformat(timespec="minutes")
