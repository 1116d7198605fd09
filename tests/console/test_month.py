"""The month of the overview, and what it is compared with."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from proxy.console.overview.month import Month, by_day, parse_month

BERLIN, ZULU = ZoneInfo("Europe/Berlin"), ZoneInfo("UTC")
NOW = datetime(2026, 11, 23, 12, 7, tzinfo=UTC)


def test_the_running_month_is_meant_where_none_is() -> None:
    month = parse_month(None, NOW, ZULU)
    assert (month.name, month.is_running, month.before, month.after) == ("2026-11", True, "2026-10", "")
    assert month.span == {"from": "2026-11-01", "to": "2026-12-01"}
    assert (len(month.days()), month.to_close) == (23, "2026-10")
    over = parse_month("2026-02", NOW, ZULU)
    assert (len(over.days()), over.after, over.to_close) == (28, "2026-03", "2026-02")
    assert parse_month("1969-01", NOW, ZULU).before == ""
    with pytest.raises(ValueError, match="no month"):
        parse_month("2026-13", NOW, ZULU)


def test_a_month_that_is_over_is_compared_with_the_one_before() -> None:
    assert parse_month("2026-03", NOW, ZULU).compared() == {
        "from": "2026-03-01",
        "to": "2026-04-01",
        "with_from": "2026-02-01",
        "with_to": "2026-03-01",
    }


@pytest.mark.parametrize(
    ("now", "zone", "to", "with_to"),
    [
        (NOW, ZULU, "2026-11-23T12:00:00Z", "2026-10-23T12:00:00Z"),
        (NOW, BERLIN, "2026-11-23T12:00:00Z", "2026-10-23T11:00:00Z"),  # the same clock on the wall
        (datetime(2026, 3, 31, 9, tzinfo=UTC), ZULU, "2026-03-31T09:00:00Z", "2026-03-01T00:00:00Z"),
        (datetime(2026, 1, 1, 0, 20, tzinfo=UTC), ZULU, "2026-01-01T00:15:00Z", "2025-12-01T00:15:00Z"),
    ],
    ids=str,
)
def test_the_running_month_is_compared_up_to_now(
    now: datetime, zone: ZoneInfo, to: str, with_to: str
) -> None:
    compared = parse_month(None, now, zone).compared()
    assert compared is not None and (compared["to"], compared["with_to"]) == (to, with_to)


def test_a_month_that_has_just_begun_is_not_compared() -> None:
    assert Month("2026-11", datetime(2026, 11, 1, 0, 14, tzinfo=UTC), ZULU).compared() is None
    assert Month("1969-01", NOW, ZULU).compared() is None


def test_days_without_entries_are_there_and_what_lies_ahead_follows() -> None:
    month = Month("2026-11", datetime(2026, 11, 2, tzinfo=UTC), ZULU)
    row = {"cost_nanousd": 5, "responses": 1, "cached_share": "0.5", "unrated_entries": 0}
    days = by_day(month, [{"day": "2026-11-02", **row}, {"day": "2026-11-20", **row}])
    assert [(one["day"], one["cost_nanousd"]) for one in days] == [
        ("2026-11-01", 0),
        ("2026-11-02", 5),
        ("2026-11-20", 5),
    ]
    assert days[1]["next"] == "2026-11-03"
