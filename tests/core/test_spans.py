"""Relative spans: days, weeks and months of a zone, and how they fit together."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.spans import just_before, parse_span
from proxy.core.windows import Span

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 10, 27, 12, tzinfo=UTC)  # a Tuesday, two days after clocks were set back
NAMES = ("this-day", "this-week", "this-month", "last-day", "last-week", "last-month")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("this-day", "2026-10-26T23:00", "2026-10-27T23:00"),
        ("last-day", "2026-10-25T23:00", "2026-10-26T23:00"),
        ("this-week", "2026-10-25T23:00", "2026-11-01T23:00"),
        ("last-week", "2026-10-18T22:00", "2026-10-25T23:00"),  # of 169 hours
        ("this-month", "2026-09-30T22:00", "2026-10-31T23:00"),
        ("last-month", "2026-08-31T22:00", "2026-09-30T22:00"),
        ("last-1-days", "2026-10-25T23:00", "2026-10-26T23:00"),
        ("last-7-days", "2026-10-19T22:00", "2026-10-26T23:00"),
    ],
)
def test_spans(text: str, start: str, end: str) -> None:
    assert parse_span(text).at(NOW, BERLIN) == Span(utc(start), utc(end))


@pytest.mark.parametrize(
    "text", ["", "last-year", "this-7-days", "last-0-days", "last-367-days", "last-٣-days", "last-day\n"]
)
def test_what_is_no_span(text: str) -> None:
    with pytest.raises(ValueError, match="no span"):
        parse_span(text)


@given(
    at=st.datetimes(datetime(2000, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC)),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/Havana", "Pacific/Apia", "Asia/Kathmandu"]),
)
def test_the_last_one_ends_where_this_one_begins(at: datetime, zone: str) -> None:
    place = ZoneInfo(zone)
    for name in ("day", "week", "month"):
        this, last = (parse_span(f"{which}-{name}").at(at, place) for which in ("this", "last"))
        assert last.start < last.end == this.start <= at < this.end
    assert parse_span("last-1-days").at(at, place).end == parse_span("this-day").at(at, place).start
    days = parse_span("last-30-days").at(at, place)
    assert abs(days.end - days.start - timedelta(days=30)) <= timedelta(days=1)


@pytest.mark.parametrize(
    ("start", "end", "before"),
    [
        (
            "2026-10-31T23:00",
            "2026-11-30T23:00",
            "2026-09-30T22:00",
        ),  # a month, of 30 days, before it one of 31
        ("2026-02-28T23:00", "2026-05-31T22:00", "2025-11-30T23:00"),  # three months
        ("2026-10-25T23:00", "2026-11-01T23:00", "2026-10-18T22:00"),  # seven days, before them 169 hours
        ("2026-10-31T23:00", "2026-11-10T12:00", "2026-10-22T10:00"),  # no whole days
    ],
)
def test_the_time_before_is_equally_long(start: str, end: str, before: str) -> None:
    assert just_before(Span(utc(start), utc(end)), BERLIN) == Span(utc(before), utc(start))


def test_there_is_no_time_before_the_calendar() -> None:
    for end in ("0002-01-01T00:00", "0003-06-05T07:00"):
        with pytest.raises(ValueError, match="does not reach back"):
            just_before(Span(utc("0001-01-01T00:00"), utc(end)), ZoneInfo("UTC"))
