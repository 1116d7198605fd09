"""Timetables: days on which clocks change, months of all lengths; no occurrence is lost or doubled."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.timetable import (
    Every,
    Timetable,
    catch_up,
    format_on,
    on_the_wall,
    parse_on,
    parse_time,
)

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",
    "America/Sao_Paulo",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def following(table: Timetable, at: str, count: int) -> list[str]:
    found, after = [], utc(at)
    for _ in range(count):
        after = table.next_after(after)
        found.append(after.isoformat(timespec="minutes").removesuffix("+00:00"))
    return found


def test_each_day_at_a_time_on_the_wall() -> None:
    eight = Timetable(Every.DAY, time(8), BERLIN)
    assert following(eight, "2026-10-23T12:00", 3) == [
        "2026-10-24T06:00",
        "2026-10-25T07:00",  # clocks were set back at three
        "2026-10-26T07:00",
    ]
    assert following(eight, "2026-10-24T06:00", 1) == ["2026-10-25T07:00"], "not the one that is now"


def test_a_time_that_does_not_exist_and_one_that_comes_twice() -> None:
    half_past_two = Timetable(Every.DAY, time(2, 30), BERLIN)
    assert following(half_past_two, "2026-03-28T12:00", 2) == ["2026-03-29T01:30", "2026-03-30T00:30"]
    assert following(half_past_two, "2026-10-24T12:00", 2) == ["2026-10-25T00:30", "2026-10-26T01:30"]


def test_weekdays_and_days_of_the_month() -> None:
    friday = Timetable(Every.WEEK, time(17, 5), ZoneInfo("UTC"), 4)
    assert following(friday, "2026-11-27T17:04", 2) == ["2026-11-27T17:05", "2026-12-04T17:05"]
    last = Timetable(Every.MONTH, time(), ZoneInfo("UTC"), 31)
    assert following(last, "2027-01-31T00:00", 3) == [
        "2027-02-28T00:00",
        "2027-03-31T00:00",
        "2027-04-30T00:00",
    ]
    assert following(Timetable(Every.MONTH, time(9), BERLIN, 1), "2026-12-31T00:00", 1) == [
        "2027-01-01T08:00"
    ]


def test_a_day_that_a_country_left_out() -> None:
    """Samoa went from 29 to 31 December 2011: what was due on the 30th and the 31st is one instant."""
    found = following(Timetable(Every.DAY, time(9), ZoneInfo("Pacific/Apia")), "2011-12-28T12:00", 3)
    assert found == ["2011-12-28T19:00", "2011-12-29T19:00", "2011-12-30T19:00"]


timetables = st.builds(
    lambda every, minutes, zone, week_day, month_day: Timetable(
        every,
        time(*divmod(minutes, 60)),
        ZoneInfo(zone),
        {Every.DAY: None, Every.WEEK: week_day, Every.MONTH: month_day}[every],
    ),
    st.sampled_from(Every),
    st.integers(0, 1_439),
    st.sampled_from(ZONES),
    st.integers(0, 6),
    st.integers(1, 31),
)
instants = st.datetimes(datetime(2005, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))


def plainly_due(table: Timetable, start: date, days: int) -> list[datetime]:
    """Return, from a look at each single day, when it is due."""
    found = set()
    for day in (start + timedelta(days=n) for n in range(days)):
        is_last = (day + timedelta(days=1)).day == 1
        meant = {
            Every.DAY: True,
            Every.WEEK: day.weekday() == table.on,
            Every.MONTH: day.day == table.on or (is_last and day.day < (table.on or 1)),
        }
        if meant[table.every]:
            found.add(on_the_wall(table.zone, day, table.at))
    return sorted(found)


@given(table=timetables, at=instants)
def test_what_is_due_is_what_a_look_at_each_day_finds(table: Timetable, at: datetime) -> None:
    expected = [due for due in plainly_due(table, at.date() - timedelta(days=3), 110) if due > at][:3]
    found, after = [], at
    for _ in range(3):
        after = table.next_after(after)
        found.append(after)
    assert found == expected
    longest = {
        Every.DAY: timedelta(hours=26),
        Every.WEEK: timedelta(days=8, hours=2),
        Every.MONTH: timedelta(days=33),
    }
    assert all(
        timedelta() < later - sooner <= longest[table.every] for sooner, later in pairwise([at, *found][1:])
    )


@given(table=timetables, at=instants, down=st.timedeltas(timedelta(), timedelta(days=90)))
def test_after_a_pause_the_latest_is_due_and_each_other_is_skipped(
    table: Timetable, at: datetime, down: timedelta
) -> None:
    first = table.next_after(at)
    now = first + down
    due = catch_up(table, first, now)
    assert first <= due.latest <= now < due.following == table.next_after(due.latest)
    count, step = 0, first
    while step < due.latest:
        step, count = table.next_after(step), count + 1
    assert (step, count) == (due.latest, due.skipped)


@pytest.mark.parametrize("text", ["", "8:30", "24:00", "08:60", "08-30", "0８:30", "08:30 ", "+8:30"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"no time|must be in"):
        parse_time(text)


def test_days_by_their_names() -> None:
    assert parse_time("08:30") == time(8, 30)
    assert [parse_on(Every.WEEK, name) for name in (None, "Sunday")] == [0, 6]
    assert [parse_on(Every.MONTH, name) for name in (None, "31")] == [1, 31]
    assert parse_on(Every.DAY, None) is None
    for every, text in ((Every.DAY, "1"), (Every.WEEK, "1"), (Every.MONTH, "monday"), (Every.MONTH, "32")):
        with pytest.raises(ValueError, match="day"):
            parse_on(every, text)
    for every, text in ((Every.WEEK, "friday"), (Every.MONTH, "15")):
        assert format_on(every, parse_on(every, text)) == text
    assert format_on(Every.DAY, None) is None
