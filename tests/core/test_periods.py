"""Accounting periods: which month counts, before and after it is closed."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.periods import Periods, month_after, month_before, month_of, parse_period, span_of

AT = datetime(2026, 11, 30, 23, 30, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
ZONES = st.sampled_from([UTC, BERLIN, ZoneInfo("America/Los_Angeles"), ZoneInfo("Pacific/Kiritimati")])
INSTANTS = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))
MONTHS = st.integers(2018 * 12, 2042 * 12 - 1).map(lambda n: f"{n // 12}-{n % 12 + 1:02}")


@pytest.mark.parametrize(
    ("zone", "month"),
    [("UTC", "2026-11"), ("Europe/Berlin", "2026-12"), ("America/Los_Angeles", "2026-11")],
)
def test_a_month_is_one_of_the_zones(zone: str, month: str) -> None:
    assert month_of(AT, ZoneInfo(zone)) == month
    assert Periods(ZoneInfo(zone)).period_of(AT) == month


def test_what_is_no_period() -> None:
    assert parse_period("2026-11") == "2026-11"
    for text in ("", "2026-13", "2026-00", "2026-1", "26-11", "2026-11-01", "9999-12", "1066-10", "২০২৬-11"):
        with pytest.raises(ValueError, match="is no month: write it as 2026-11"):
            parse_period(text)


def test_months_follow_each_other() -> None:
    assert (month_after("2026-12"), month_before("2027-01")) == ("2027-01", "2026-12")
    assert (month_after("2026-01"), month_before("2026-02")) == ("2026-02", "2026-01")


def test_the_span_of_a_month() -> None:
    """March is an hour shorter in Berlin."""
    span = span_of("2026-03", BERLIN)
    assert (span.start, span.end) == (
        datetime(2026, 2, 28, 23, tzinfo=UTC),
        datetime(2026, 3, 31, 22, tzinfo=UTC),
    )


@given(at=INSTANTS, zone=ZONES)
def test_an_instant_lies_in_the_span_of_its_month(at: datetime, zone: ZoneInfo) -> None:
    month = month_of(at, zone)
    span = span_of(month, zone)
    assert span.start <= at < span.end
    assert span.end == span_of(month_after(month), zone).start
    assert month_of(span.start, zone) == month
    assert month_of(span.end - timedelta(microseconds=1), zone) == month


@given(at=INSTANTS, zone=ZONES, closed_through=st.none() | MONTHS)
def test_nothing_is_booked_to_a_closed_period(
    at: datetime, zone: ZoneInfo, closed_through: str | None
) -> None:
    periods = Periods(zone, closed_through)
    period, month = periods.period_of(at), month_of(at, zone)
    assert not periods.is_closed(period)
    if periods.is_closed(month):
        assert period == month_after(str(closed_through))
        assert periods.corrected(at) == month
    else:
        assert period == month
        assert periods.corrected(at) is None


def test_what_a_correction_concerns() -> None:
    """The closed month of what it corrects, first of all."""
    periods = Periods(UTC, "2026-10")
    november, september = AT, datetime(2026, 9, 1, tzinfo=UTC)
    assert periods.corrected(november, "2026-11") is None
    assert periods.corrected(november, "2026-10") == "2026-10"
    assert periods.corrected(september, "2026-10") == "2026-10"
    assert periods.corrected(september, "2026-11") == "2026-09"
    assert Periods(UTC).corrected(september, "2026-09") is None
