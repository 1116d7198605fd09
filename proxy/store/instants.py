"""Instants and days as people and programs write them."""

from datetime import UTC, date, datetime, time, tzinfo
from zoneinfo import ZoneInfo

from proxy.store import StoreError

YEAR_MIN, YEAR_MAX = 1800, 8999  # so that a zone, or a window around it, is still in the calendar
_SHAPE = "write a day such as 2026-12-01 or an instant such as 2026-12-01T08:30:00Z"


def parse_instant(text: str, zone: tzinfo = UTC) -> datetime:
    """Return the instant that `text` names, in UTC. A day means its first moment in `zone`.

    Raises:
        ValueError: it is neither a day nor an instant, or of a year that nothing can be of.
    """
    text = text.strip()
    try:
        if len(text) == len("2026-12-01"):
            at = datetime.combine(date.fromisoformat(text), time(), zone)
        else:
            at = datetime.fromisoformat(text)
            at = at if at.tzinfo else at.replace(tzinfo=zone)
        at = at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{text[:40]!r} is not a time: {_SHAPE}") from None
    if not YEAR_MIN <= at.year <= YEAR_MAX:
        raise ValueError(f"{text[:40]!r} is too far away: give a year from {YEAR_MIN} to {YEAR_MAX}")
    return at


def format_instant(at: datetime) -> str:
    """Return `at` in UTC, such as 2026-12-01T08:30:00.250000Z; without a fraction when it has none."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def parse_zone(name: str) -> ZoneInfo:
    """Return the IANA time zone.

    Raises:
        StoreError: there is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise StoreError(
            f"{name[:60]!r} is not a time zone: use a name such as Europe/Berlin or UTC."
        ) from None
