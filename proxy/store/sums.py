"""Sums over the ledger that are exact on both databases.

SQLite's SUM of BIGINTs fails beyond 2⁶³, and PostgreSQL's is a NUMERIC. Summed in two halves of 32
bits, more than two milliard amounts of any size fit, and Python joins the halves.
"""

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Integer, case, func, literal

from proxy.core.records import Kind, Role
from proxy.store.schema import ledger_entry

_BITS = 32
_LOW = (1 << _BITS) - 1


def parts(amount: ColumnElement[Any], label: str) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """Return the sums of the high and the low halves of `amount`; nulls count as nothing.

    A shift keeps the sign, so that high × 2³² + low is the amount for negative ones too.
    """
    high = func.sum(amount.bitwise_rshift(literal(_BITS, Integer)))
    low = func.sum(amount.bitwise_and(literal(_LOW, BigInteger)))
    return high.label(f"{label}_high"), low.label(f"{label}_low")


def exact(row: Any, label: str) -> int:
    """Return the sum whose halves `parts` selected under `label`."""
    high, low = getattr(row, f"{label}_high"), getattr(row, f"{label}_low")
    return (int(high or 0) << _BITS) + int(low or 0)


# Entries that count as a response: corrections of one are not another.
RESPONSES = func.sum(
    case(((ledger_entry.c.kind == Kind.RESPONSE) & (ledger_entry.c.role == Role.ORIGINAL), 1), else_=0)
).label("responses")

# Entries without a cost; the reversal of one takes it away again.
UNRATED = func.sum(
    case(
        (ledger_entry.c.cost_nanousd.is_not(None), 0),
        (ledger_entry.c.role == Role.REVERSAL, -1),
        else_=1,
    )
).label("unrated")
