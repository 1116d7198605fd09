"""Budget windows: stretches of the calendar in a budget's own time zone.

A window begins and ends where a clock on the wall there says so. So a day has 23 or 25 hours when
clocks change, the hour that comes twice is two windows, and windows neither overlap nor leave a gap.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum

_QUARTER_HOUR = timedelta(minutes=15)  # all zones' offsets and changes are multiples of it since 2024


class Window(StrEnum):
    """How long a budget's amount has to last."""

    SESSION = "session"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"  # from Monday
    MONTH = "month"
    QUARTER = "quarter"
    LIFETIME = "lifetime"


@dataclass(frozen=True, slots=True)
class Span:
    """The instants of one window, UTC: `start` is the first of them, `end` the first one after."""

    start: datetime
    end: datetime


def span_at(window: Window, zone: tzinfo, at: datetime) -> Span | None:
    """Return the span of `window` in `zone` that the aware instant `at` lies in.

    None for a session's and a lifetime's window: they have no place in the calendar.
    """
    if window in (Window.SESSION, Window.LIFETIME):
        return None
    if window is Window.HOUR:
        return _hour(zone, at.astimezone(UTC))
    first, following = _days(window, at.astimezone(zone).date())
    return Span(midnight(zone, first), midnight(zone, following))


def _days(window: Window, day: date) -> tuple[date, date]:
    """Return the first day of the window that `day` lies in, and of the one after."""
    if window is Window.DAY:
        return day, day + timedelta(days=1)
    if window is Window.WEEK:
        monday = day - timedelta(days=day.weekday())
        return monday, monday + timedelta(days=7)
    months = 3 if window is Window.QUARTER else 1
    first = day.replace(month=day.month - (day.month - 1) % months, day=1)
    later = first.month - 1 + months
    return first, first.replace(year=first.year + later // 12, month=later % 12 + 1)


def midnight(zone: tzinfo, day: date) -> datetime:
    """Return when `day` begins: at the first of two midnights, or when a skipped one would have been."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _hour(zone: tzinfo, at: datetime) -> Span:
    """Return the stretch around `at` (UTC) in which the wall shows one hour.

    It is shorter where clocks change within it, as they do on Chatham at a quarter to three.
    """
    start = datetime.combine(at.date(), time(at.hour, at.minute // 15 * 15), UTC)
    end, shown = start + _QUARTER_HOUR, _shown(zone, start)
    while _shown(zone, start - _QUARTER_HOUR) == shown:
        start -= _QUARTER_HOUR
    while _shown(zone, end) == shown:
        end += _QUARTER_HOUR
    return Span(start, end)


def _shown(zone: tzinfo, at: datetime) -> tuple[date, int, timedelta | None]:
    """Return the hour on the wall; the offset tells which of two it is when clocks are set back."""
    wall = at.astimezone(zone)
    return wall.date(), wall.hour, wall.utcoffset()
