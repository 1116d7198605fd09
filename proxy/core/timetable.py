"""When something regular is due: each day, week or month at a time on the wall of a zone.

Where clocks change, a time on the wall is read as RFC 5545 (3.3.5) reads it: one that does not exist is as
much later as the clocks jump, and of one that comes twice the first counts. So each day has its time once,
whether it has 23, 24 or 25 hours.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from zoneinfo import ZoneInfo

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MONTH_DAY_MAX = 31

_ONE_DAY = timedelta(days=1)
_FEW_DAYS = timedelta(days=2)  # more than any zone is from UTC, or has left out


class Every(StrEnum):
    """How often."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Timetable:
    """`on` is the day: of the week from 0, Monday, or of the month from 1; None where it is every day.

    A month that has no such day has its last one instead.
    """

    every: Every
    at: time
    zone: ZoneInfo
    on: int | None = None

    def next_after(self, instant: datetime) -> datetime:
        """Return the first instant after `instant` at which it is due, UTC."""
        first = instant.astimezone(self.zone).date() - _FEW_DAYS
        return next(
            due for day in self._days_from(first) if (due := on_the_wall(self.zone, day, self.at)) > instant
        )

    def _days_from(self, first: date) -> Iterator[date]:
        """Yield the days on which it is due, in their order, from some before `first` on."""
        match self.every:
            case Every.DAY:
                yield from _steps(first, _ONE_DAY)
            case Every.WEEK:
                monday = first - timedelta(days=first.weekday())
                yield from _steps(monday + timedelta(days=self.on or 0), 7 * _ONE_DAY)
            case Every.MONTH:
                month = first.replace(day=1)
                while True:
                    following = (month + 31 * _ONE_DAY).replace(day=1)
                    last = (following - _ONE_DAY).day
                    yield month.replace(day=min(self.on or 1, last))
                    month = following


@dataclass(frozen=True, slots=True)
class Due:
    """What a timetable has come to: `latest` is due now, `skipped` were due before it, `following` comes."""

    latest: datetime
    skipped: int
    following: datetime


def catch_up(timetable: Timetable, due_at: datetime, now: datetime) -> Due:
    """Return what is to be done at `now` of what was due from `due_at` on, which is not after `now`.

    Only the latest is: a report of last Monday is no use when this Monday's is due.
    """
    latest, skipped = due_at, 0
    while (following := timetable.next_after(latest)) <= now:
        latest, skipped = following, skipped + 1
    return Due(latest, skipped, following)


def on_the_wall(zone: tzinfo, day: date, at: time) -> datetime:
    """Return when a clock on the wall says `at` on `day`, UTC."""
    return datetime.combine(day, at, zone).astimezone(UTC)


def _steps(first: date, step: timedelta) -> Iterator[date]:
    while True:
        yield first
        first += step


def parse_time(text: str) -> time:
    """Return the time that HH:MM says; raises ValueError."""
    if (
        len(text) == len("08:30")
        and text.isascii()
        and text.replace(":", "0", 1).isdigit()
        and text[2] == ":"
    ):
        return time(int(text[:2]), int(text[3:]))  # raises ValueError beyond 23:59
    raise ValueError(f"{text[:20]!r} is no time: write HH:MM, such as 08:30")


def parse_on(every: Every, text: str | None) -> int | None:
    """Return the day that `text` names: a weekday, or the number of a day of the month; raises ValueError.

    Without one a week's is Monday, and a month's the first.
    """
    match every:
        case Every.DAY:
            if text is not None:
                raise ValueError("what is due every day has no day of its own: leave it out")
            return None
        case Every.WEEK:
            name = (text or WEEKDAYS[0]).lower()
            if name not in WEEKDAYS:
                raise ValueError(f"{name[:20]!r} is no weekday: use one of {', '.join(WEEKDAYS)}")
            return WEEKDAYS.index(name)
        case Every.MONTH:
            day = text or "1"
            if not (day.isascii() and day.isdigit() and len(day) <= 2 and 1 <= int(day) <= MONTH_DAY_MAX):
                raise ValueError(f"{day[:20]!r} is no day of a month: use 1 to {MONTH_DAY_MAX}")
            return int(day)


def format_on(every: Every, on: int | None) -> str | None:
    """Return the day as `parse_on` reads it."""
    if on is None:
        return None
    return WEEKDAYS[on] if every is Every.WEEK else str(on)
