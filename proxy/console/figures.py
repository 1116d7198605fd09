"""Figures as people read them: rounded, while what they stand for stays exact beside them.

Pure. Amounts are integers in nano-dollars; instants are ISO 8601 in UTC, as the API has them. What is null
is a dash.
"""

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from zoneinfo import ZoneInfo

from proxy.core.money import NANOUSD_PER_USD, format_usd

NOTHING = "–"
SMALL_USD = Decimal("0.01")  # below it an amount is shown with so many digits
SMALL_DIGITS = 2
_CENT = Decimal("0.01")


def usd(nanousd: int | None) -> str:
    """Return an amount rounded for reading: to cents, small ones to two digits that say something."""
    if nanousd is None:
        return NOTHING
    amount = Decimal(nanousd) / NANOUSD_PER_USD
    sign = "−" if amount < 0 else ""
    amount = abs(amount)
    if amount and amount < SMALL_USD:
        places = SMALL_DIGITS - 1 - amount.adjusted()
        return f"{sign}${amount.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN):f}"
    return f"{sign}${amount.quantize(_CENT, ROUND_HALF_EVEN):,}"


def usd_exact(nanousd: int | None) -> str:
    """Return an amount with all nine decimals."""
    return NOTHING if nanousd is None else _signed(nanousd)


def _signed(nanousd: int) -> str:
    text = format_usd(nanousd)
    return f"-${text[1:]}" if text.startswith("-") else f"${text}"


def percent(share: float | int | str | None, digits: int = 1) -> str:
    """Return a share, 1 being all of it."""
    return NOTHING if share is None else f"{float(share) * 100:.{digits}f} %"


def count(number: int | None) -> str:
    """Return a number of things."""
    return NOTHING if number is None else f"{number:,}"


def seconds(number: float | int | None) -> str:
    """Return a length of time: 42 s, 3 min 05 s, 2 h 04 min."""
    if number is None:
        return NOTHING
    whole = round(number)
    minutes, rest = divmod(whole, 60)
    hours, minutes_left = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes_left:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{whole} s"


def instant(text: str | None) -> str:
    """Return an instant for those without JavaScript: in UTC, and saying so."""
    if text is None:
        return NOTHING
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def instant_in(text: str, zone: str) -> str:
    """Return an instant by the clocks of a zone, which stands beside it."""
    return f"{datetime.fromisoformat(text).astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"


def instant_exact(text: str | None) -> str:
    """Return an instant to the second, in UTC."""
    if text is None:
        return NOTHING
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
