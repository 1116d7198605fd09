"""A comparison as bars that lead from one cost to the other. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

PARTS: Mapping[str, tuple[str, str]] = {
    "volume": ("Volume", "had everything grown alike, at the old prices"),
    "mix": ("Mix", "what grew by more or less than everything"),
    "price": ("Price", "what was used after, at its new price and not at its old one"),
    "new": ("New", "what was not used before"),
    "gone": ("Gone", "what is not used any more"),
    "other": ("Other", "amounts without a quantity, such as adjustments"),
}
WIDTH = 100


@dataclass(frozen=True, slots=True)
class Step:
    """One bar. `left` and `width` are hundredths; kind: whole, up, down or none."""

    label: str
    said: str
    nanousd: int
    left: float
    width: float
    kind: str


def steps_of(total: Mapping[str, Any]) -> Sequence[Step]:
    """Return the bars of a comparison's total: before, what each part adds or takes, after."""
    before, after = total["before_nanousd"], total["after_nanousd"]
    amounts = [total[f"{name}_nanousd"] for name in PARTS]
    levels = list(accumulate(amounts, initial=before))
    low, high = min(0, after, *levels), max(1, after, *levels)

    def step(label: str, said: str, amount: int, start: int, end: int, kind: str) -> Step:
        left = WIDTH * (min(start, end) - low) / (high - low)
        width = WIDTH * abs(end - start) / (high - low)
        return Step(label, said, amount, round(left, 3), round(width, 3), kind)

    parts = [
        step(label, said, amount, start, start + amount, "up" if amount > 0 else "down" if amount else "none")
        for (label, said), amount, start in zip(PARTS.values(), amounts, levels[:-1], strict=True)
    ]
    return [
        step("Before", "", before, 0, before, "whole"),
        *parts,
        step("After", "", after, 0, after, "whole"),
    ]
