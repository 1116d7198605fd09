"""Instants and days as people write them."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from proxy.store import StoreError
from proxy.store.instants import format_instant, parse_instant, parse_zone

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-12-01", datetime(2026, 12, 1, tzinfo=UTC)),
        (" 2026-12-01T08:30:00Z ", datetime(2026, 12, 1, 8, 30, tzinfo=UTC)),
        ("2026-12-01T08:30:00+02:00", datetime(2026, 12, 1, 6, 30, tzinfo=UTC)),
        ("2026-12-01 08:30", datetime(2026, 12, 1, 8, 30, tzinfo=UTC)),
    ],
)
def test_days_and_instants(text: str, at: datetime) -> None:
    assert parse_instant(text) == at
    assert parse_instant(text).tzinfo is UTC


def test_a_day_begins_where_its_people_are() -> None:
    assert parse_instant("2026-07-01", BERLIN) == datetime(2026, 6, 30, 22, tzinfo=UTC)
    assert parse_instant("2026-07-01T00:00:00Z", BERLIN) == datetime(2026, 7, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-13-01", "01.12.2026", "2026-12", "0001-01-01T00:00+14:00"]
)
def test_other_texts_are_told_what_is_expected(text: str) -> None:
    with pytest.raises(ValueError, match="such as 2026-12-01"):
        parse_instant(text)


@pytest.mark.parametrize("text", ["1799-12-31", "9000-01-01", "0001-01-01", "9999-12-31T23:59:59-23:59"])
def test_times_at_the_ends_of_the_calendar(text: str) -> None:
    with pytest.raises(ValueError, match=r"give a year from 1800 to 8999|such as 2026-12-01"):
        parse_instant(text)


@pytest.mark.parametrize("text", ["2026-12-01T08:30:00Z", "2026-12-01T08:30:00.250000Z"])
def test_what_is_written_can_be_read(text: str) -> None:
    assert format_instant(parse_instant(text)) == text


def test_zones() -> None:
    assert parse_zone("Europe/Berlin") == BERLIN
    for name in ("Mars/Olympus", "", "../etc/passwd", "Europe"):
        with pytest.raises(StoreError, match="not a time zone"):
            parse_zone(name)
