"""Times that people ask about again and again, as days in an address. Pure.

Days are those of a zone; `to` is the first day that is not inside any more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo

from proxy.core.spans import parse_span
from proxy.core.windows import midnight
from proxy.store import StoreError
from proxy.store.instants import parse_instant, parse_zone

_NAMED = (
    ("Today", "this-day"),
    ("This week", "this-week"),
    ("This month", "this-month"),
    ("Last month", "last-month"),
    ("Last 30 days", "last-30-days"),
)
_MONTHS = ("this-month", "last-month", None)  # what accounting months can be asked by
SPANS = (
    *((span, label) for label, span in _NAMED),
    ("last-day", "Yesterday"),
    ("last-week", "Last week"),
    ("last-7-days", "Last 7 days"),
    ("last-90-days", "Last 90 days"),
)


@dataclass(frozen=True, slots=True)
class Quick:
    """A time: what it is called, its days, and what it is called in a saved report, if it can be in one."""

    label: str
    start: str
    end: str
    span: str | None

    @property
    def params(self) -> Mapping[str, str]:
        return {"from": self.start, "to": self.end}


def quick_spans(now: datetime, zone: tzinfo, *, by_month: bool = False) -> list[Quick]:
    """Return the times to offer; `by_month` only those of whole months."""
    found = []
    for label, name in _NAMED:
        span = parse_span(name).at(now, zone)
        found.append(Quick(label, _day(span.start, zone), _day(span.end, zone), name))
    year = now.astimezone(zone).year
    found.append(Quick("This year", f"{year:04}-01-01", f"{year + 1:04}-01-01", None))
    return [one for one in found if not by_month or one.span in _MONTHS]


def zone_named(name: str, default: tzinfo) -> tzinfo:
    """Return the zone of a question; the default where there is none of this name: the API says so."""
    try:
        return parse_zone(name) if name else default
    except StoreError:
        return default


@dataclass(frozen=True, slots=True)
class Preset:
    """Two times to compare."""

    label: str
    params: Mapping[str, str]


def presets(now: datetime, zone: tzinfo) -> Sequence[Preset]:
    """Return the comparisons to offer. Of this month those days count that are over; on the first one, it."""
    today = now.astimezone(zone).date()
    first = today.replace(day=1)
    last = (first - timedelta(days=1)).replace(day=1)
    before = (last - timedelta(days=1)).replace(day=1)
    until = max(today, first + timedelta(days=1))
    same = min(last + (until - first), first)
    return (
        Preset("This month so far, with the same days of last month", _two(first, until, last, same)),
        Preset("Last month, with the month before", _two(last, first, before, last)),
    )


def _two(start: date, end: date, with_start: date, with_end: date) -> Mapping[str, str]:
    days = (start, end, with_start, with_end)
    return dict(zip(("from", "to", "with_from", "with_to"), (day.isoformat() for day in days), strict=True))


def narrower(given: str, own: str, zone: tzinfo, *, is_start: bool) -> str:
    """Return which of two starts is the later, or of two ends the earlier; `given` may be empty."""
    if not given:
        return own
    first, second = parse_instant(given, zone), parse_instant(own, zone)
    return given if (first > second if is_start else first < second) else own


def as_instant(text: str, zone: tzinfo) -> str:
    """Return a day as its first moment in `zone`, so that it means the same in every zone."""
    return parse_instant(text, zone).astimezone(UTC).isoformat().replace("+00:00", "Z")


def _day(at: datetime, zone: tzinfo) -> str:
    return at.astimezone(zone).date().isoformat()


def span_text(start: str, end: str, zone: tzinfo) -> str:
    """Return what is between two instants for reading: days, the last one included, or times in `zone`."""
    first, last = (parse_instant(text).astimezone(zone) for text in (start, end))
    if all(is_midnight(at, zone) for at in (first, last)):
        until = last.date() - timedelta(days=1)
        return f"{first:%Y-%m-%d}" if until <= first.date() else f"{first:%Y-%m-%d} to {until:%Y-%m-%d}"
    return f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}, {zone}"


def as_day(instant: str, zone: tzinfo) -> str:
    """Return an instant as an address has it: as a day, where it is the first moment of one in `zone`."""
    at = parse_instant(instant).astimezone(zone)
    return f"{at:%Y-%m-%d}" if is_midnight(at, zone) else instant


def is_midnight(at: datetime, zone: tzinfo) -> bool:
    """Tell whether a day begins then, even where clocks jump over midnight."""
    return midnight(zone, at.astimezone(zone).date()) == at
