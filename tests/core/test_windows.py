"""Budget windows: calendar boundaries, the days on which clocks change, and that windows fit together."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.windows import Span, Window, span_at

BERLIN = ZoneInfo("Europe/Berlin")
CALENDAR = [window for window in Window if window not in (Window.SESSION, Window.LIFETIME)]
# Clocks that change by half an hour, at midnight, at a quarter to three, across a whole day; offsets of
# three quarters.
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",
    "America/Sao_Paulo",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Chatham",
]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("window", "start", "end"),
    [
        (Window.HOUR, "2026-11-26T12:00", "2026-11-26T13:00"),
        (Window.DAY, "2026-11-25T23:00", "2026-11-26T23:00"),
        (Window.WEEK, "2026-11-22T23:00", "2026-11-29T23:00"),  # Monday to Monday
        (Window.MONTH, "2026-10-31T23:00", "2026-11-30T23:00"),
        (Window.QUARTER, "2026-09-30T22:00", "2026-12-31T23:00"),  # from summer time into winter
    ],
)
def test_windows_begin_where_the_wall_clock_says(window: Window, start: str, end: str) -> None:
    assert span_at(window, BERLIN, utc("2026-11-26T12:34:56")) == Span(utc(start), utc(end))


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-03-30", 24), ("2026-10-25", 25)])
def test_days_on_which_clocks_change_have_23_and_25_hours(day: str, hours: int) -> None:
    span = span_at(Window.DAY, BERLIN, utc(f"{day}T12:00"))
    assert span is not None
    assert span.end - span.start == timedelta(hours=hours)


def test_the_hour_that_comes_twice_is_two_windows() -> None:
    first, second = (span_at(Window.HOUR, BERLIN, utc(f"2026-10-25T0{hour}:30")) for hour in (0, 1))
    assert first == Span(utc("2026-10-25T00:00"), utc("2026-10-25T01:00"))
    assert second == Span(utc("2026-10-25T01:00"), utc("2026-10-25T02:00"))


@pytest.mark.parametrize(
    ("at", "start", "end"),
    [
        ("2026-09-26T13:50", "2026-09-26T13:15", "2026-09-26T14:00"),  # 02:35
        ("2026-09-26T14:05", "2026-09-26T14:00", "2026-09-26T14:15"),  # 03:50: from a quarter to three
        ("2026-04-04T13:50", "2026-04-04T13:15", "2026-04-04T14:00"),  # 03:35, up to a quarter to four
        ("2026-04-04T14:05", "2026-04-04T14:00", "2026-04-04T14:15"),  # 02:50 again
    ],
)
def test_an_hour_within_which_clocks_change_is_shorter(at: str, start: str, end: str) -> None:
    assert span_at(Window.HOUR, ZoneInfo("Pacific/Chatham"), utc(at)) == Span(utc(start), utc(end))


@pytest.mark.parametrize("window", [Window.SESSION, Window.LIFETIME])
def test_some_windows_have_no_place_in_the_calendar(window: Window) -> None:
    assert span_at(window, BERLIN, utc("2026-11-26T12:00")) is None


@given(
    st.sampled_from(CALENDAR),
    st.sampled_from(ZONES).map(ZoneInfo),
    st.datetimes(datetime(2000, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),
    st.floats(0, 1, exclude_max=True),
)
def test_windows_neither_overlap_nor_leave_a_gap(
    window: Window, zone: ZoneInfo, at: datetime, share: float
) -> None:
    span = span_at(window, zone, at)
    assert span is not None
    assert span.start <= at < span.end
    inside = min(span.start + (span.end - span.start) * share, span.end - timedelta(microseconds=1))
    assert span_at(window, zone, inside) == span
    following = span_at(window, zone, span.end)
    assert following is not None
    assert following.start == span.end
