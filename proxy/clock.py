"""The clock of a process: everything that needs an instant is given this function, or one of a test."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return this instant."""
    return datetime.now(UTC)
