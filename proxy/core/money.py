"""Money: integer nano-dollars (10⁻⁹ USD) everywhere, `Decimal` where a person types or reads."""

from decimal import Context, Decimal, Inexact, InvalidOperation, localcontext
from typing import NewType

NanoUsd = NewType("NanoUsd", int)

NANOUSD_PER_USD = 1_000_000_000
NANOUSD_PER_CENT = 10_000_000
AMOUNT_NANOUSD_MAX = 2**63 - 1  # what a BIGINT column holds: about 9.2 billion dollars

_USD_MAX = Decimal(AMOUNT_NANOUSD_MAX).scaleb(-9)
# A default context would quietly round what has too many digits, and a whole amount would come out.
_EXACT = Context(prec=40, traps=[Inexact])


def parse_usd(text: str) -> NanoUsd:
    """Return the amount that a person wrote in dollars, such as "12.50".

    Raises:
        ValueError: not a number, finer than a nano-dollar, or too large for the ledger.
    """
    try:
        dollars = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r} is not an amount in dollars") from None
    if not dollars.is_finite() or dollars.copy_abs() > _USD_MAX:
        raise ValueError(f"{text!r} is not an amount that the ledger can hold")
    with localcontext(_EXACT):
        try:
            return NanoUsd(int((dollars * NANOUSD_PER_USD).to_integral_exact()))
        except Inexact:
            raise ValueError(f"{text!r} is finer than a nano-dollar (nine decimals)") from None


def format_usd(amount: int) -> str:
    """Return `amount` nano-dollars as dollars with nine decimals, such as "0.007205600"."""
    dollars, nanos = divmod(abs(amount), NANOUSD_PER_USD)
    return f"{'-' if amount < 0 else ''}{dollars}.{nanos:09d}"


def usd(name: str, amount: int | None) -> dict[str, int | str | None]:
    """Return an amount as integer nano-dollars and, beside it, in dollars: `NAME_nanousd`, `NAME_usd`."""
    return {f"{name}_nanousd": amount, f"{name}_usd": None if amount is None else format_usd(amount)}


def to_cents(amount: int) -> int:
    """Return `amount` nano-dollars in cents, rounded to the nearest, a tie to the even one."""
    return divide_half_even(amount, NANOUSD_PER_CENT)


def format_cents(cents: int) -> str:
    """Return `cents` as dollars with two decimals, such as "12.50"."""
    dollars, rest = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}{dollars}.{rest:02d}"


def divide_half_even(numerator: int, denominator: int) -> int:
    """Return the quotient rounded to the nearest integer, a tie to the even one (`denominator` > 0)."""
    quotient, remainder = divmod(numerator, denominator)
    doubled = 2 * remainder
    if doubled > denominator or (doubled == denominator and quotient % 2):
        quotient += 1
    return quotient
