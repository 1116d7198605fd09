"""What will have been spent by the end of a window, and how far such a forecast was off before.

With enough history each day that is left costs what its weekday cost on average in the last full weeks;
with less, money is spent on as fast as it was in this window. Days are those of the budget's zone: a day of
23 or 25 hours is one day in an average, and what is left of today counts by today's own length.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from enum import StrEnum
from fractions import Fraction

from proxy.core.windows import Span, Window, midnight, span_at

WINDOWS = (Window.WEEK, Window.MONTH, Window.QUARTER)  # those that days make up
WEEKS_MAX = 4  # of history that an average is taken over
WEEKS_MIN = 2
POINTS_MAX = 6  # earlier windows that the method is tried on
POINTS_MIN = 2
RATE_AFTER = timedelta(days=1)  # in less time a rate says nothing
_ONE_DAY = timedelta(days=1)
_MOMENT = timedelta(microseconds=1)

Days = Mapping[date, int]  # what was spent on each day, in nano-dollars; 0 on those that are missing
_DayCost = Callable[[date], Fraction]


class Method(StrEnum):
    """How a forecast was made."""

    WEEKDAYS = "weekdays"
    RUN_RATE = "run_rate"


@dataclass(frozen=True, slots=True)
class Error:
    """How far off the method was in `points` earlier windows: the mean absolute error, in thousandths."""

    permille: int
    points: int


@dataclass(frozen=True, slots=True)
class Spending:
    """What one budget or tenant has spent: in its window up to `now`, and day by day before that.

    `days` is None where nobody counts them, and so is not known.
    """

    window: Window
    zone: tzinfo
    now: datetime
    spent_nanousd: int
    days: Days | None

    @property
    def span(self) -> Span:
        return _span(self.window, self.zone, self.now)

    @property
    def today(self) -> date:
        return self.now.astimezone(self.zone).date()


@dataclass(frozen=True, slots=True)
class Forecast:
    """What will have been spent at the window's end; None where nothing can be said yet.

    `error` is None with too little history. `exhausted_on` is the day on which the amount will be spent,
    None where that is not in this window.
    """

    nanousd: int | None
    method: Method | None
    error: Error | None
    exhausted_on: date | None


def forecast(spending: Spending, amount_nanousd: int | None = None, *, with_error: bool = True) -> Forecast:
    """Return the forecast for the window that is now, and when `amount_nanousd` will be spent in it.

    Without its error fewer days are looked at: those from `history_start` on without one.
    """
    method, cost_of = _method(spending)
    whole = Fraction(spending.spent_nanousd)
    exhausted_on = None
    if amount_nanousd is not None and whole >= amount_nanousd:
        exhausted_on = spending.today
    if cost_of is None:
        return Forecast(None, None, None, exhausted_on)
    for day, part in _rest(spending):
        whole += cost_of(day) * part
        if amount_nanousd is not None and exhausted_on is None and whole >= amount_nanousd:
            exhausted_on = day
    error = _error(spending) if with_error and method is Method.WEEKDAYS else None
    return Forecast(round(whole), method, error, exhausted_on)


def history_start(window: Window, zone: tzinfo, now: datetime, *, with_error: bool = True) -> date:
    """Return the first day that a forecast looks at. Without its error it is enough to have of those before
    what they came to together, as if it had been spent on the last of them.
    """
    span = _span(window, zone, now)
    for _ in range(POINTS_MAX if with_error else 0):
        span = _before(window, zone, span)
    return _first(span, zone) - WEEKS_MAX * 7 * _ONE_DAY - _ONE_DAY


def _method(spending: Spending) -> tuple[Method | None, _DayCost | None]:
    means = _means(spending.days or {}, spending.today)
    if means is not None:
        return Method.WEEKDAYS, lambda day: means[day.weekday()]
    since = spending.span.start
    if spending.days:
        since = max(since, midnight(spending.zone, min(spending.days)))
    elapsed = spending.now - since
    if elapsed < RATE_AFTER:
        return None, None
    rate = Fraction(spending.spent_nanousd, elapsed // _MOMENT)
    return Method.RUN_RATE, lambda day: rate * (_length(day, spending.zone) // _MOMENT)


def _means(days: Days, today: date) -> Mapping[int, Fraction] | None:
    """Return what each weekday cost on average in the last full weeks before `today`.

    The first day that anything was spent on is left out: it may have begun in the middle.
    """
    if not days:
        return None
    weeks = min(WEEKS_MAX, ((today - min(days)).days - 1) // 7)
    if weeks < WEEKS_MIN:
        return None
    sums = dict.fromkeys(range(7), 0)
    for n in range(1, 7 * weeks + 1):
        day = today - n * _ONE_DAY
        sums[day.weekday()] += days.get(day, 0)
    return {weekday: Fraction(spent, weeks) for weekday, spent in sums.items()}


def _rest(spending: Spending) -> Iterator[tuple[date, Fraction]]:
    """Yield the days that are left of the window, today first, with how much is left of each."""
    today = spending.today
    left = midnight(spending.zone, today + _ONE_DAY) - spending.now
    yield today, Fraction(max(left, timedelta()) // _MOMENT, _length(today, spending.zone) // _MOMENT)
    day, end = today + _ONE_DAY, _end(spending.span, spending.zone)
    while day < end:
        yield day, Fraction(1)
        day += _ONE_DAY


def _length(day: date, zone: tzinfo) -> timedelta:
    return midnight(zone, day + _ONE_DAY) - midnight(zone, day)


# --- How far it was off


def _error(spending: Spending) -> Error | None:
    """Try the method at the same day of earlier windows, with what was known then."""
    days, zone = spending.days or {}, spending.zone
    passed = (spending.today - _first(spending.span, zone)).days
    span = spending.span
    errors: list[Fraction] = []
    for _ in range(POINTS_MAX):
        span = _before(spending.window, zone, span)
        off = _off(days, _first(span, zone), _end(span, zone), passed)
        if off is not None:
            errors.append(off)
    if len(errors) < POINTS_MIN:
        return None
    return Error(round(1_000 * sum(errors) / len(errors)), len(errors))


def _off(days: Days, first: date, end: date, passed: int) -> Fraction | None:
    """Return how far off a forecast was that was made in [first, end), `passed` days after its start."""
    today = first + min(passed, (end - first).days - 1) * _ONE_DAY
    means = _means(days, today)
    whole = [first + n * _ONE_DAY for n in range((end - first).days)]
    actual = sum(days.get(day, 0) for day in whole)
    if means is None or actual <= 0:
        return None
    told = sum(days.get(day, 0) if day < today else means[day.weekday()] for day in whole)
    return abs(Fraction(told) - actual) / actual


# --- Windows as days


def _span(window: Window, zone: tzinfo, at: datetime) -> Span:
    span = span_at(window, zone, at)
    assert span is not None, "a window of the calendar"
    return span


def _before(window: Window, zone: tzinfo, span: Span) -> Span:
    return _span(window, zone, span.start - _MOMENT)


def _first(span: Span, zone: tzinfo) -> date:
    return span.start.astimezone(zone).date()


def _end(span: Span, zone: tzinfo) -> date:
    return span.end.astimezone(zone).date()
