"""What an hour usually costs, and whether this one costs unusually much.

The usual is the median of the same hour of earlier weeks, and the spread the median absolute deviation from
it (MAD). Both stay as they are when a few of those weeks were odd themselves, which a mean and a standard
deviation do not. All is whole numbers and fractions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from fractions import Fraction

from proxy.core.money import divide_half_even
from proxy.core.windows import Span, Window, span_at

WEEKS = 8  # at most so many earlier weeks are looked at
WEEKS_MIN = 4  # with fewer nothing is said: who is new is not unusual

_MAD_TO_DEVIATION = Fraction(14_826, 10_000)  # makes a MAD what a standard deviation is, of a normal spread
_SPREAD_MIN = Fraction(1, 10)  # of the usual: a spread of nothing would make each cent an alarm


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """By how much an hour has to be dearer than usual: `deviations` of the spread, and `floor_nanousd`."""

    floor_nanousd: int
    deviations: int


@dataclass(frozen=True, slots=True)
class Anomaly:
    """An hour that cost more than `limit_nanousd`, the most that is usual after `weeks` weeks."""

    spent_nanousd: int
    median_nanousd: int
    limit_nanousd: int
    weeks: int


def find_anomaly(spent: int, earlier: Sequence[int], sensitivity: Sensitivity) -> Anomaly | None:
    """Return what is unusual about an hour that cost `spent`; `earlier` is what it cost in earlier weeks."""
    if len(earlier) < WEEKS_MIN:
        return None
    usual = median(earlier)
    most = usual + max(Fraction(sensitivity.floor_nanousd), sensitivity.deviations * spread(earlier))
    if spent <= most:
        return None
    return Anomaly(spent, _whole(usual), _whole(most), len(earlier))


def median(values: Sequence[int | Fraction]) -> Fraction:
    """Return the middle of at least one value, or what lies between the two middle ones."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return Fraction(ordered[half] + ordered[-half - 1]) / 2


def spread(values: Sequence[int]) -> Fraction:
    """Return how much such values usually differ: by their MAD, and a tenth of the usual at least."""
    usual = median(values)
    deviation = median([abs(value - usual) for value in values]) * _MAD_TO_DEVIATION
    return max(deviation, abs(usual) * _SPREAD_MIN)


def same_hours(hour: Span, zone: tzinfo) -> list[Span]:
    """Return the same hour on the wall in the weeks before, the last one first.

    A week whose clocks left that hour out has none; of one that came twice the first counts.
    """
    local = hour.start.astimezone(zone)
    found = []
    for weeks in range(1, WEEKS + 1):
        wall = local - timedelta(weeks=weeks)  # on the wall: the same time, whatever the offset
        start = wall.astimezone(UTC)
        span = span_at(Window.HOUR, zone, start)
        if span is not None and start.astimezone(zone).replace(tzinfo=None) == wall.replace(tzinfo=None):
            found.append(span)
    return found


def full_hours(since: datetime, until: datetime, zone: tzinfo) -> list[Span]:
    """Return the hours on the wall that begin at or after `since` and are over at `until`."""
    found = []
    span = _hour(zone, since)
    while span.end <= until:
        if span.start >= since:
            found.append(span)
        span = _hour(zone, span.end)
    return found


def _hour(zone: tzinfo, at: datetime) -> Span:
    span = span_at(Window.HOUR, zone, at)
    assert span is not None, "an hour has its place in the calendar"
    return span


def _whole(amount: Fraction) -> int:
    return divide_half_even(amount.numerator, amount.denominator)
