"""Why a cost differs from an earlier one: price, volume and mix, exactly.

Of each thing that was used in both times, at q₀ units for c₀ before and q₁ for c₁ after, where all things of
its unit together were used Q₀ and Q₁:

    volume = c₀ · (Q₁ − Q₀) / Q₀     had everything grown alike, at the old prices
    mix    = c₀ · (q₁/q₀ − Q₁/Q₀)    it grew by more or less than everything
    price  = c₁ − c₀ · q₁/q₀         what was used after, at the new price and not at the old one

These are fractions that sum to c₁ − c₀; each is rounded to a whole nano-dollar so that they still do.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from math import floor


@dataclass(frozen=True, slots=True)
class Side:
    """What was used of something in one time, and what that came to."""

    quantity: int = 0
    nanousd: int = 0


NOTHING = Side()


@dataclass(frozen=True, slots=True)
class Sku:
    """One thing with a price, in both times. Quantities of one `unit` can be added; None: it has none."""

    unit: str | None
    before: Side
    after: Side

    @property
    def difference(self) -> int:
        return self.after.nanousd - self.before.nanousd

    @property
    def is_compared(self) -> bool:
        """Return whether it was used in both times, so that prices can be compared."""
        return self.unit is not None and self.before.quantity > 0 and self.after.quantity > 0


@dataclass(frozen=True, slots=True)
class Effects:
    """What a difference is made of, in nano-dollars; the parts sum to it."""

    price: int = 0
    volume: int = 0
    mix: int = 0
    new: int = 0  # what was not there before
    gone: int = 0  # what is not there any more
    other: int = 0  # amounts without a quantity, such as adjustments; quantities below zero

    @property
    def total(self) -> int:
        return sum(getattr(self, one.name) for one in fields(self))

    def plus(self, other: "Effects") -> "Effects":
        return Effects(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))


def effects(skus: Sequence[Sku]) -> list[Effects]:
    """Return what the difference of each is made of. Volume and mix are relative to all of them."""
    growth = _growth(skus)
    return [
        _compared(sku, growth[sku.unit]) if sku.is_compared and sku.unit is not None else _alone(sku)
        for sku in skus
    ]


def total(parts: Iterable[Effects]) -> Effects:
    """Return what effects come to together."""
    whole = Effects()
    for one in parts:
        whole = whole.plus(one)
    return whole


def _growth(skus: Iterable[Sku]) -> dict[str, Fraction]:
    """Return Q₁/Q₀ of each unit, over what was used in both times."""
    sums: dict[str, tuple[int, int]] = {}
    for sku in skus:
        if sku.is_compared and sku.unit is not None:
            before, after = sums.get(sku.unit, (0, 0))
            sums[sku.unit] = (before + sku.before.quantity, after + sku.after.quantity)
    return {unit: Fraction(after, before) for unit, (before, after) in sums.items()}


def _compared(sku: Sku, growth: Fraction) -> Effects:
    cost = sku.before.nanousd
    own = Fraction(sku.after.quantity, sku.before.quantity)
    price, volume, mix = _whole([sku.after.nanousd - cost * own, cost * (growth - 1), cost * (own - growth)])
    return Effects(price=price, volume=volume, mix=mix)


def _alone(sku: Sku) -> Effects:
    if sku.before == NOTHING and sku.after.quantity > 0:
        return Effects(new=sku.difference)
    if sku.after == NOTHING and sku.before.quantity > 0:
        return Effects(gone=sku.difference)
    return Effects(other=sku.difference)


def _whole(parts: Sequence[Fraction]) -> list[int]:
    """Round fractions whose sum is whole so that they keep it: the largest remainders are rounded up."""
    floors = [floor(part) for part in parts]
    missing = int(sum(parts)) - sum(floors)
    by_rest = sorted(range(len(parts)), key=lambda n: floors[n] - parts[n])
    for n in by_rest[:missing]:
        floors[n] += 1
    return floors
