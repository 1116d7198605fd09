"""Money in, money out, and the one rounding rule."""

from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.money import (
    AMOUNT_NANOUSD_MAX,
    NANOUSD_PER_USD,
    divide_half_even,
    format_cents,
    format_usd,
    parse_usd,
    to_cents,
)

AMOUNTS = st.integers(min_value=-AMOUNT_NANOUSD_MAX, max_value=AMOUNT_NANOUSD_MAX)


@given(AMOUNTS)
def test_what_is_written_is_read_back(amount: int) -> None:
    assert parse_usd(format_usd(amount)) == amount


@given(AMOUNTS)
def test_nine_decimals_always(amount: int) -> None:
    dollars, _, nanos = format_usd(amount).lstrip("-").partition(".")
    assert dollars.isdecimal() and nanos.isdecimal() and len(nanos) == 9
    assert Fraction(format_usd(amount)) == Fraction(amount, NANOUSD_PER_USD)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("12.50", 12_500_000_000),
        ("0.007205600", 7_205_600),
        ("0.000000001", 1),
        ("-3", -3_000_000_000),
        ("0", 0),
        ("-0.0", 0),
        ("1e-9", 1),
        ("1." + "0" * 200, 1_000_000_000),
        ("9223372036.854775807", AMOUNT_NANOUSD_MAX),
    ],
)
def test_amounts_that_people_write(text: str, amount: int) -> None:
    assert parse_usd(text) == amount


def test_an_amount_is_an_int_and_never_a_decimal() -> None:
    assert type(parse_usd("1.5")) is int


@pytest.mark.parametrize("text", ["", "ten", "$5", "1,50", "1.2.3", "0x10"])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match="is not an amount in dollars"):
        parse_usd(text)


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "sNaN",
        "inf",
        "-Infinity",
        "9223372036.854775808",
        "1e30",
        "1e999999",
        "-1e999999999999999999",
        "9" * 500,
    ],
)
def test_what_the_ledger_cannot_hold(text: str) -> None:
    with pytest.raises(ValueError, match="is not an amount that the ledger can hold"):
        parse_usd(text)


@pytest.mark.parametrize(
    "text",
    [
        "0.0000000001",
        "1.0000000005",
        "1e-10",
        "1e-999999",
        "1e-999999999999999999",
        "1." + "0" * 40 + "1",  # more digits than a default Decimal keeps: still not a dollar
        "1." + "0" * 200 + "1",
    ],
)
def test_what_is_finer_than_a_nano_dollar(text: str) -> None:
    with pytest.raises(ValueError, match="is finer than a nano-dollar"):
        parse_usd(text)


@given(st.text(max_size=40))
def test_parsing_raises_value_errors_only(text: str) -> None:
    try:
        amount = parse_usd(text)
    except ValueError as error:
        assert repr(text) in str(error)
    else:
        assert abs(amount) <= AMOUNT_NANOUSD_MAX


@pytest.mark.parametrize(
    ("numerator", "denominator", "quotient"),
    [(5, 2, 2), (7, 2, 4), (-5, 2, -2), (-7, 2, -4), (1, 3, 0), (2, 3, 1), (0, 7, 0), (9, 3, 3), (-1, 2, 0)],
)
def test_a_tie_goes_to_the_even_neighbour(numerator: int, denominator: int, quotient: int) -> None:
    assert divide_half_even(numerator, denominator) == quotient


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**12))
def test_division_agrees_with_fractions(numerator: int, denominator: int) -> None:
    assert divide_half_even(numerator, denominator) == round(Fraction(numerator, denominator))


@given(st.integers(-(10**20), 10**20), st.sampled_from([1, 2, 4, 5, 8, 10, 16, 1_000, 60_000 // 3, 10_000]))
def test_division_agrees_with_decimal(numerator: int, denominator: int) -> None:
    with localcontext(prec=80):
        exact = Decimal(numerator) / Decimal(denominator)
        assert divide_half_even(numerator, denominator) == exact.to_integral_value(ROUND_HALF_EVEN)


@pytest.mark.parametrize(
    ("amount", "cents", "text"),
    [
        (0, 0, "0.00"),
        (5_000_000, 0, "0.00"),
        (15_000_000, 2, "0.02"),
        (15_000_001, 2, "0.02"),
        (-5_000_001, -1, "-0.01"),
        (-1_234_567_890_000, -123_457, "-1234.57"),
    ],
)
def test_whole_cents(amount: int, cents: int, text: str) -> None:
    assert to_cents(amount) == cents
    assert format_cents(cents) == text
