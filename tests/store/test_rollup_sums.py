"""Which cells a time is made of: every quarter hour in it once, none outside, and as few as may be."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.store.rollup_sums import DAYS, MONTHS, QUARTERS, Length, Segment, _cover
from proxy.store.schema import rollup_day, rollup_month, rollup_quarter

LENGTHS = (MONTHS, DAYS, QUARTERS)
QUARTER = timedelta(minutes=15)
START = datetime(2026, 3, 1, tzinfo=UTC)  # before the clocks change
QUARTERS_MAX = 100 * 96
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"]
UTC_ZONE = ZoneInfo("UTC")


def spread(zone: ZoneInfo, segments: list[Segment]) -> dict[datetime, int]:
    """Return how often each quarter hour is counted by these cells."""
    lengths = {length.table: length for length in LENGTHS}
    found: dict[datetime, int] = {}
    for one in segments:
        length, at = lengths[one.table], one.start
        while at < one.end:
            end = length.start(zone, at + length.over) if length is not QUARTERS else at + QUARTER
            while at < end:
                found[at] = found.get(at, 0) + one.sign
                at += QUARTER
    return {at: count for at, count in found.items() if count}


@given(
    st.sampled_from(ZONES),
    st.integers(0, QUARTERS_MAX),
    st.integers(0, QUARTERS_MAX),
    st.sampled_from([LENGTHS, LENGTHS[1:], LENGTHS[2:]]),
)
def test_each_quarter_hour_is_counted_once(
    name: str, first: int, second: int, lengths: tuple[Length, ...]
) -> None:
    zone = ZoneInfo(name)
    start, end = (START + number * QUARTER for number in sorted((first, second)))
    segments = list(_cover(lengths, zone, start, end, 1))
    expected = {start + n * QUARTER: 1 for n in range(abs(second - first))}
    assert spread(zone, segments) == expected
    for one in segments:
        assert one.start < one.end and one.sign in (1, -1)


def cells(segments: list[Segment]) -> dict[str, int]:
    """Return how many lengths of time are read, by the table."""
    days = {rollup_month: timedelta(days=28), rollup_day: timedelta(days=1), rollup_quarter: QUARTER}
    found: dict[str, int] = {}
    for one in segments:
        found[one.table.name] = found.get(one.table.name, 0) + (one.end - one.start) // days[one.table]
    return found


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (datetime(2026, 3, 1), datetime(2026, 4, 1), {"rollup_month": 1}),
        (datetime(2026, 3, 1), datetime(2026, 3, 30), {"rollup_month": 1, "rollup_day": 2}),
        (datetime(2026, 3, 1), datetime(2026, 3, 4), {"rollup_day": 3}),
        (
            datetime(2026, 3, 1),
            datetime(2026, 3, 29, 22),
            {"rollup_month": 1, "rollup_day": 2, "rollup_quarter": 8},
        ),
        (datetime(2026, 3, 5, 1), datetime(2026, 3, 5, 23), {"rollup_day": 1, "rollup_quarter": 8}),
        (datetime(2026, 3, 5, 1), datetime(2026, 3, 5, 4), {"rollup_quarter": 12}),
        (datetime(2026, 3, 5), datetime(2026, 3, 5), {}),
    ],
    ids=["a month", "less two days", "three days", "less two days and hours", "a day", "hours", "nothing"],
)
def test_the_rest_of_a_cell_is_taken_away_where_that_is_less(
    start: datetime, end: datetime, expected: dict[str, int]
) -> None:
    segments = list(_cover(LENGTHS, UTC_ZONE, start.replace(tzinfo=UTC), end.replace(tzinfo=UTC), 1))
    assert cells(segments) == expected
