"""Accounting periods: calendar months in the ledger's time zone, closed in their order and for good.

What is booked belongs to the month in which it occurred, as long as that is open. Later it belongs to the
oldest open one, where it is a *correction*: a closed period never changes.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, tzinfo

from proxy.core.windows import Span

_SHAPE = re.compile(r"(?:1969|19[7-9]\d|[2-8]\d{3})-(?:0[1-9]|1[0-2])", re.ASCII)


def parse_period(text: str) -> str:
    """Return `text` if it is a period, such as 2026-11. Raises ValueError."""
    if not _SHAPE.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no month: write it as 2026-11")
    return text


def month_of(at: datetime, zone: tzinfo) -> str:
    """Return the calendar month of an instant in `zone`, as YYYY-MM. Their text sorts as they do."""
    local = at.astimezone(zone)
    return f"{local.year:04}-{local.month:02}"


def month_after(period: str) -> str:
    """Return the month that follows."""
    return _moved(period, 1)


def month_before(period: str) -> str:
    """Return the month before."""
    return _moved(period, -1)


def _moved(period: str, by: int) -> str:
    year, month = divmod(int(period[:4]) * 12 + int(period[5:]) - 1 + by, 12)
    return f"{year:04}-{month + 1:02}"


def span_of(period: str, zone: tzinfo) -> Span:
    """Return the instants of a month in `zone`."""
    return Span(_first_of(period, zone), _first_of(month_after(period), zone))


def _first_of(period: str, zone: tzinfo) -> datetime:
    first = date(int(period[:4]), int(period[5:]), 1)
    return datetime.combine(first, time(), zone).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Periods:
    """How far the books are closed: everything up to and including `closed_through`, None for nothing."""

    zone: tzinfo
    closed_through: str | None = None

    def is_closed(self, period: str) -> bool:
        return self.closed_through is not None and period <= self.closed_through

    def period_of(self, at: datetime) -> str:
        """Return the period of what occurred at an instant and is booked now."""
        month = month_of(at, self.zone)
        if self.closed_through is not None and month <= self.closed_through:
            return month_after(self.closed_through)
        return month

    def corrected(self, at: datetime, period_of_corrected: str | None = None) -> str | None:
        """Return the closed period that something booked now concerns, None if it concerns open ones only.

        It occurred at `at`. What it corrects, if anything, is in `period_of_corrected`: that counts first.
        """
        concerned = (period_of_corrected, month_of(at, self.zone))
        return next((month for month in concerned if month is not None and self.is_closed(month)), None)
