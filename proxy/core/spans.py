"""Relative spans: what `last-month` or `last-7-days` means at an instant, in a time zone.

Spans begin and end at midnights. `this-week` reaches to its end, what has not happened yet included: a week
that is not over has no entries there.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from proxy.core.windows import Span, Window, midnight, span_at

DAYS_MAX = 366
SHAPE = "this-day, this-week, this-month, last-day, last-week, last-month or last-N-days"

_WINDOWS = {"day": Window.DAY, "week": Window.WEEK, "month": Window.MONTH}
_NAMED = re.compile(r"(this|last)-(day|week|month)")
_DAYS = re.compile(r"last-([1-9][0-9]{0,2})-days", re.ASCII)
_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class RelativeSpan:
    """A span that goes with the time. `days` full days before today where `window` is None."""

    text: str
    window: Window | None
    is_last: bool
    days: int = 0

    def at(self, now: datetime, zone: tzinfo) -> Span:
        """Return the span that is meant at `now`."""
        if self.window is None:
            today = now.astimezone(zone).date()
            return Span(midnight(zone, today - timedelta(days=self.days)), midnight(zone, today))
        this = window_span(self.window, zone, now)
        return before(self.window, zone, this) if self.is_last else this


def parse_span(text: str) -> RelativeSpan:
    """Return the span of this name.

    Raises:
        ValueError: there is none.
    """
    if named := _NAMED.fullmatch(text):
        return RelativeSpan(text, _WINDOWS[named[2]], named[1] == "last")
    days = _DAYS.fullmatch(text)
    if days is None or int(days[1]) > DAYS_MAX:
        raise ValueError(f"{text[:40]!r} is no span: use {SHAPE}, with at most {DAYS_MAX} days")
    return RelativeSpan(text, None, True, int(days[1]))


def window_span(window: Window, zone: tzinfo, at: datetime) -> Span:
    """Return the day, week or month that `at` lies in."""
    span = span_at(window, zone, at)
    assert span is not None, "a window of the calendar"
    return span


def before(window: Window, zone: tzinfo, span: Span) -> Span:
    """Return the day, week or month before `span`."""
    return window_span(window, zone, span.start - _MOMENT)


def just_before(span: Span, zone: tzinfo) -> Span:
    """Return the equally long span that ends where `span` begins.

    As many months before whole months, as many days before whole days, whatever hours those have; else so
    much time.

    Raises:
        ValueError: the calendar does not reach so far back.
    """
    first, last = (at.astimezone(zone).date() for at in (span.start, span.end))
    is_whole = midnight(zone, first) == span.start and midnight(zone, last) == span.end
    try:
        if is_whole and first.day == last.day == 1:
            months = 12 * (last.year - first.year) + last.month - first.month
            year, month = divmod(12 * first.year + first.month - 1 - months, 12)
            return Span(midnight(zone, first.replace(year=year, month=month + 1)), span.start)
        if is_whole:
            return Span(midnight(zone, first - (last - first)), span.start)
        return Span(span.start - (span.end - span.start), span.start)
    except (ValueError, OverflowError):
        raise ValueError("the calendar does not reach back to an equally long time before") from None
