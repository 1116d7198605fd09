"""From `from` and `to` to instants."""

from datetime import datetime, tzinfo

from proxy.admin.api.models import PeriodParams
from proxy.admin.api.problems import Where, invalid
from proxy.store.instants import parse_instant


def instant(where: Where, name: str, text: str | None, zone: tzinfo) -> datetime | None:
    """Return the instant that a value names; a day is its first moment in `zone`.

    Raises:
        Problem: it names none there.
    """
    if text is None:
        return None
    try:
        return parse_instant(text, zone)
    except ValueError as error:
        raise invalid(where, name, str(error)) from None


def period(
    params: PeriodParams, zone: tzinfo, where: Where = "query"
) -> tuple[datetime | None, datetime | None]:
    """Return the instants of `from` and `to`; raises Problem where nothing is between them."""
    first, last = instant(where, "from", params.from_, zone), instant(where, "to", params.to, zone)
    if first is not None and last is not None and last <= first:
        raise invalid(where, "to", "it should be after `from`, which is inside; `to` is not")
    return first, last
