"""Local time in SQL: compared with zoneinfo, through every change of the clocks."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Engine, literal, select

from proxy.store.calendar import (
    DAY,
    HOUR,
    day_text,
    hour_text,
    local_micros,
    month_of,
    offset_changes,
    offset_of,
)
from proxy.store.columns import to_micros
from proxy.store.database import reading

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"]
START, END = datetime(2024, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)


def test_the_clocks_of_berlin_change_twice_a_year() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    changes = offset_changes(berlin, datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    assert changes == [
        (datetime(2026, 3, 29, 1, tzinfo=UTC), timedelta(hours=2)),
        (datetime(2026, 10, 25, 1, tzinfo=UTC), timedelta(hours=1)),
    ]


@given(
    st.sampled_from(ZONES), st.datetimes(datetime(2024, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))
)
def test_every_change_is_found_wherever_the_search_begins(name: str, start: datetime) -> None:
    zone = ZoneInfo(name)
    changes = offset_changes(zone, start, END)
    expected = [change for change in offset_changes(zone, START, END) if change[0] > start]
    assert changes == expected
    for at, offset in changes:
        assert (
            at.astimezone(zone).utcoffset()
            == offset
            != (at - timedelta(seconds=1)).astimezone(zone).utcoffset()
        )


@pytest.mark.parametrize("name", ZONES)
def test_days_hours_and_months_are_those_of_the_zone(database: Engine, name: str) -> None:
    zone = ZoneInfo(name)
    instants = [START + timedelta(hours=7 * n, microseconds=n) for n in range(1, 40)]
    for changed_at, _ in offset_changes(zone, START, END):
        instants += [changed_at, changed_at - timedelta(microseconds=1)]
    with reading(database) as connection:
        for at in instants:
            column = literal(to_micros(at), BigInteger)
            offset = offset_of(column, zone, START, END)
            local = local_micros(column, offset)
            month = month_of(local, connection.dialect.name)
            row = connection.execute(select(local // DAY, local // HOUR, offset, month)).one()
            wall = at.astimezone(zone)
            assert day_text(row[0]) == f"{wall:%Y-%m-%d}"
            assert hour_text(row[1], row[2]) == f"{wall:%Y-%m-%dT%H}:00{wall.isoformat()[-6:]}"
            assert row[3] == f"{wall:%Y-%m}"


def test_the_hour_that_comes_twice_is_two_hours(database: Engine) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    texts = []
    with reading(database) as connection:
        for hour in (0, 1):
            column = literal(to_micros(datetime(2026, 10, 25, hour, 30, tzinfo=UTC)), BigInteger)
            offset = offset_of(column, berlin, START, END)
            local = local_micros(column, offset) // HOUR
            texts.append(hour_text(*connection.execute(select(local, offset)).one()))
    assert texts == ["2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00"]
