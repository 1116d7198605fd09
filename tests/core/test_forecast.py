"""Forecasts: weekdays, what is left of a day, run rates, when money ends, and how far off it was."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.forecast import WINDOWS, Error, Forecast, Method, Spending, forecast, history_start
from proxy.core.windows import Window, span_at

BERLIN = ZoneInfo("Europe/Berlin")
UTC_ZONE = ZoneInfo("UTC")


def history(first: date, last: date, weekday: int = 100, weekend: int = 10) -> dict[date, int]:
    """Spend so much on each day of the week."""
    return {
        day: weekend if day.weekday() >= 5 else weekday
        for day in (first + timedelta(days=n) for n in range((last - first).days))
    }


def spending(
    now: datetime,
    days: dict[date, int] | None,
    spent: int,
    window: Window = Window.MONTH,
    zone: ZoneInfo = UTC_ZONE,
) -> Spending:
    return Spending(window, zone, now, spent, days)


FRIDAY = datetime(2026, 11, 27, 12, tzinfo=UTC)  # the month ends on Monday


def test_each_day_that_is_left_costs_what_its_weekday_did() -> None:
    days = history(date(2026, 5, 1), date(2026, 11, 27))
    spent = sum(amount for day, amount in days.items() if day.month == 11)
    found = forecast(spending(FRIDAY, days, spent + 30), spent + 30 + 55)
    assert found == Forecast(
        spent + 30 + 50 + 10 + 10 + 100, Method.WEEKDAYS, Error(0, 6), date(2026, 11, 28)
    )
    assert forecast(spending(FRIDAY, days, spent), spent + 171).exhausted_on is None
    assert forecast(spending(FRIDAY, days, spent), spent + 170).exhausted_on == date(2026, 11, 30)
    assert forecast(spending(FRIDAY, days, spent), spent).exhausted_on == date(2026, 11, 27)


def test_only_the_last_four_weeks_count() -> None:
    days = history(date(2026, 5, 1), date(2026, 10, 30), 1_000, 1_000)
    days |= history(date(2026, 10, 30), date(2026, 11, 27))
    found = forecast(spending(FRIDAY, days, 0))
    assert found.nanousd == 50 + 10 + 10 + 100
    assert found.error is not None and found.error.points == 6


def test_what_is_left_of_a_day_counts_by_its_own_length() -> None:
    """25 October has 25 hours in Berlin: at 02:30, standing there the second time, 21 and a half are left."""
    days = history(date(2026, 9, 1), date(2026, 10, 25), 100, 100)
    now = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    found = forecast(spending(now, days, 0, Window.WEEK, BERLIN))
    assert found.nanousd == round(Fraction(100 * 43, 50))


@pytest.mark.parametrize(
    ("passed", "told"),
    [
        (timedelta(hours=23), None),
        (timedelta(days=1), 30 * 100),
        (timedelta(days=10), 3 * 100),
    ],
)
def test_with_little_history_it_goes_on_as_it_went(passed: timedelta, told: int | None) -> None:
    start = datetime(2026, 11, 1, tzinfo=UTC)
    for days in (None, {}, {start.date(): 100}):
        found = forecast(spending(start + passed, days, 100))
        assert (found.nanousd, found.error) == (told, None)
        assert found.method is (None if told is None else Method.RUN_RATE)


def test_a_rate_is_that_of_the_days_since_anything_was_spent() -> None:
    days = {date(2026, 11, 21): 40, date(2026, 11, 22): 60}
    found = forecast(spending(datetime(2026, 11, 23, tzinfo=UTC), days, 100), 150)
    assert (found.nanousd, found.exhausted_on) == (100 + 8 * 50, date(2026, 11, 23))
    in_berlin = datetime(
        2026, 3, 28, 23, tzinfo=UTC
    )  # the next day has 23 hours, and the month ends two after
    spent = forecast(spending(in_berlin, {date(2026, 3, 27): 0}, 48, zone=BERLIN))
    assert spent.nanousd == 48 + 23 + 24 + 24


def test_the_error_is_that_of_earlier_windows_at_the_same_day() -> None:
    """Twice as much in each second week: a forecast on Monday is off by a third, or by half of it."""
    monday = date(2026, 8, 3)
    days = {monday + timedelta(days=n): 100 * (1 + n // 7 % 2) for n in range(-1, 70)}
    now = datetime(2026, 10, 12, tzinfo=UTC)
    found = forecast(spending(now, days, 0, Window.WEEK))
    assert found.nanousd == 7 * 150
    assert found.error == Error(375, 6)  # of 700 or 1,400 dollars always 1,050 were told
    few = {day: amount for day, amount in days.items() if day >= date(2026, 9, 13)}
    short = forecast(spending(now, few, 0, Window.WEEK))
    assert (short.method, short.error) == (Method.WEEKDAYS, Error(417, 2))
    fewer = {day: amount for day, amount in days.items() if day >= date(2026, 9, 20)}
    assert forecast(spending(now, fewer, 0, Window.WEEK)).error is None


INSTANTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/Havana", "Asia/Kathmandu", "Australia/Lord_Howe"])


def summed_up(own: Spending, amount: int) -> Forecast:
    """Return the forecast without its error, by the days that it needs, and those before as one."""
    first = history_start(own.window, own.zone, own.now, with_error=False)
    days = {day: one for day, one in (own.days or {}).items() if day >= first}
    before = [one for day, one in (own.days or {}).items() if day < first]
    if before:
        days[first - timedelta(days=1)] = sum(before)
    return forecast(replace(own, days=days), amount, with_error=False)


@given(
    INSTANTS,
    ZONES,
    st.sampled_from(WINDOWS),
    st.lists(st.integers(0, 10**12), max_size=120),
    st.integers(0, 10**15),
    st.integers(0, 10**15),
)
def test_what_holds_of_every_forecast(
    now: datetime, zone_name: str, window: Window, amounts: list[int], spent: int, amount: int
) -> None:
    zone = ZoneInfo(zone_name)
    today = now.astimezone(zone).date()
    days = {today - timedelta(days=n): one for n, one in enumerate(amounts, 1)}
    own = spending(now, days, spent, window, zone)
    found = forecast(own, amount)
    span = span_at(window, zone, now)
    assert span is not None and own.span == span
    if found.nanousd is not None:
        assert found.nanousd >= spent
        assert (found.exhausted_on is None) == (found.nanousd < amount and spent < amount) or (
            found.nanousd == amount  # reached only by rounding
        )
    if found.exhausted_on is not None:
        assert today <= found.exhausted_on <= span.end.astimezone(zone).date()
    earlier = {day: one for day, one in days.items() if day >= history_start(window, zone, now)}
    assert forecast(spending(now, earlier or days, spent, window, zone), amount).nanousd == found.nanousd
    assert summed_up(own, amount) == replace(found, error=None)
    doubled = {day: 2 * one for day, one in days.items()}
    twice = forecast(spending(now, doubled, 2 * spent, window, zone))
    assert twice.method is found.method
    if twice.nanousd is not None and found.nanousd is not None:
        assert abs(twice.nanousd - 2 * found.nanousd) <= 1
        assert twice.error == found.error
