"""From `from` and `to` to instants."""

from datetime import datetime, tzinfo

from proxy.admin.api.models import PeriodParams
from proxy.admin.api.problems import Where, invalid
from proxy.store import StoreError
from proxy.store.filters import month_from
from proxy.store.instants import parse_instant


def instant(
    where: Where, name: str, text: str | None, zone: tzinfo, months_of: tzinfo | None = None
) -> datetime | None:
    """Return the instant that a value names; a day is its first moment in `zone`.

    With `months_of` it is the first moment of a month in that zone.

    Raises:
        Problem: it names none there.
    """
    if text is None:
        return None
    try:
        at = parse_instant(text, zone)
        if months_of is not None:
            month_from(at, months_of)
        return at
    except (ValueError, StoreError) as error:
        raise invalid(where, name, str(error)) from None


def period(
    params: PeriodParams, zone: tzinfo, where: Where = "query", months_of: tzinfo | None = None
) -> tuple[datetime | None, datetime | None]:
    """Return the instants of `from` and `to`; raises Problem where nothing is between them."""
    first = instant(where, "from", params.from_, zone, months_of)
    last = instant(where, "to", params.to, zone, months_of)
    if first is not None and last is not None and last <= first:
        raise invalid(where, "to", "it should be after `from`, which is inside; `to` is not")
    return first, last
