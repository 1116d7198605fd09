"""What is unusual: robust against odd weeks, silent about who is new, and exact."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.anomaly import (
    WEEKS,
    WEEKS_MIN,
    Anomaly,
    Sensitivity,
    find_anomaly,
    full_hours,
    median,
    same_hours,
    spread,
)
from proxy.core.windows import Span, Window, span_at

USD = 10**9
NORMAL = Sensitivity(5 * USD, 5)
EXACT = Sensitivity(0, 5)
BERLIN = ZoneInfo("Europe/Berlin")

amounts = st.integers(0, 10**13)
histories = st.lists(amounts, min_size=WEEKS_MIN, max_size=WEEKS)


def test_an_hour_far_above_the_usual() -> None:
    earlier = [10 * USD, 11 * USD, 9 * USD, 10 * USD, 12 * USD]
    assert find_anomaly(17 * USD, earlier, NORMAL) is None
    limit = 10 * USD + 5 * USD * 14_826 // 10_000
    assert find_anomaly(limit, earlier, NORMAL) is None
    assert find_anomaly(limit + 1, earlier, NORMAL) == Anomaly(limit + 1, 10 * USD, limit, 5)


def test_small_sums_and_new_tenants_are_not_unusual() -> None:
    assert find_anomaly(5 * USD, [0] * WEEKS, NORMAL) is None, "less than the floor"
    assert find_anomaly(5 * USD + 1, [0] * WEEKS, NORMAL) is not None
    for weeks in range(WEEKS_MIN):
        assert find_anomaly(10**6 * USD, [0] * weeks, NORMAL) is None


@given(usual=amounts, odd=st.lists(amounts, max_size=3), spent=amounts)
def test_a_few_odd_weeks_change_nothing(usual: int, odd: list[int], spent: int) -> None:
    """Of eight weeks fewer than half can hold anything: neither hide a spike nor make one."""
    earlier = [*odd, *[usual] * (WEEKS - len(odd))]
    found = find_anomaly(spent, earlier, NORMAL)
    assert (found is not None) == (spent > usual + max(Fraction(5 * USD), Fraction(usual, 2)))
    assert found is None or found.median_nanousd == usual


@given(spent=amounts, earlier=histories, times=st.integers(1, 1_000), random=st.randoms())
def test_order_and_unit_do_not_matter(spent: int, earlier: list[int], times: int, random: object) -> None:
    found = find_anomaly(spent, earlier, EXACT)
    random.shuffle(mixed := list(earlier))  # type: ignore[attr-defined]
    assert find_anomaly(spent, mixed, EXACT) == found
    scaled = find_anomaly(spent * times, [one * times for one in earlier], EXACT)
    assert (scaled is None) == (found is None)


@given(spent=amounts, earlier=histories, more=amounts)
def test_dearer_is_never_less_unusual(spent: int, earlier: list[int], more: int) -> None:
    found = find_anomaly(spent, earlier, NORMAL)
    if found is not None:
        assert find_anomaly(spent + more, earlier, NORMAL) is not None
        assert found.median_nanousd <= found.limit_nanousd <= spent
        assert spent - median(earlier) > NORMAL.floor_nanousd
        assert spent - median(earlier) > NORMAL.deviations * spread(earlier)


@given(values=st.lists(amounts, min_size=1))
def test_the_median_has_as_many_below_as_above(values: list[int]) -> None:
    middle = median(values)
    below, above = sum(one < middle for one in values), sum(one > middle for one in values)
    assert abs(below - above) <= sum(one == middle for one in values)
    assert min(values) <= middle <= max(values)


def hour(text: str, zone: ZoneInfo = BERLIN) -> Span:
    found = span_at(Window.HOUR, zone, datetime.fromisoformat(text).replace(tzinfo=UTC))
    assert found is not None
    return found


def test_the_same_hour_is_that_on_the_wall() -> None:
    found = same_hours(hour("2026-11-02T08:00"), BERLIN)  # nine o'clock; until 25 October that was seven UTC
    assert [span.start.hour for span in found] == [8, *[7] * 7]
    assert {span.start.weekday() for span in found} == {0}


def test_an_hour_that_clocks_left_out_is_not_compared() -> None:
    found = same_hours(hour("2026-04-05T00:30"), BERLIN)  # half past two; on 29 March there was none
    assert len(found) == WEEKS - 1
    assert found[0].start == datetime(2026, 3, 22, 1, tzinfo=UTC)


def test_both_hours_that_have_one_name_are_compared_with_earlier_ones() -> None:
    first, second = (same_hours(hour(f"2026-10-25T0{n}:00"), BERLIN) for n in (0, 1))
    assert first == second and len(first) == WEEKS


@given(
    at=st.datetimes(datetime(2005, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),
    hours=st.integers(0, 50),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu"]),
)
def test_full_hours_have_no_gap(at: datetime, hours: int, zone: str) -> None:
    place, until = ZoneInfo(zone), at + timedelta(hours=hours)
    found = full_hours(at, until, place)
    assert all(one.end == other.start for one, other in pairwise(found))
    assert all(at <= one.start < one.end <= until for one in found)
    assert hours - 2 <= len(found) <= hours + 1
    assert full_hours(until, until, place) == []


@pytest.mark.parametrize("earlier", [[1, 2, 3, 4], [0, 0, 0, 1, 10**12]])
def test_nothing_is_rounded_before_it_is_compared(earlier: list[int]) -> None:
    most = median(earlier) + 5 * spread(earlier)
    edge = int(most)
    assert find_anomaly(edge, earlier, EXACT) is None
    assert find_anomaly(edge + 1, earlier, EXACT) is not None
