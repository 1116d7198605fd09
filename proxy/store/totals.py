"""What a group of entries comes to: the figures of one row of a report."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from proxy.core.estimate import MODEL_AUDIO_MS_PER_TOKEN
from proxy.core.money import divide_half_even, format_usd
from proxy.core.usage import CACHED_METERS, INPUT_METERS, Meter

_MINUTE_MS = 60_000
_SHARE_DIGITS = 4

Figure = str | int | None


@dataclass(slots=True)
class Totals:
    """Sums over some entries, or of what one meter or modality has of them. Nano-dollars.

    `sessions` is None where they were not counted. Unrated entries are counted and add to no amount.
    """

    sessions: int | None = None
    responses: int = 0
    entries: int = 0
    unrated: int = 0
    list_nanousd: int = 0
    cost_nanousd: int = 0
    billed_nanousd: int = 0
    estimated_nanousd: int = 0
    estimated_billed_nanousd: int = 0
    quantities: dict[str, int] = field(default_factory=dict)  # by meter

    def add(self, other: "Totals") -> None:
        """Add all but sessions: one session can be in both."""
        for name in _ADDED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for meter, quantity in other.quantities.items():
            self.quantities[meter] = self.quantities.get(meter, 0) + quantity

    def take(self, other: "Totals") -> None:
        """Take away what `other` has, but for sessions."""
        for name in _ADDED:
            setattr(self, name, getattr(self, name) - getattr(other, name))
        for meter, quantity in other.quantities.items():
            self.quantities[meter] = self.quantities.get(meter, 0) - quantity

    def as_owed(self) -> "Totals":
        """Return these figures as a tenant may see them: its cost is what it owes."""
        owed = self.billed_nanousd
        return replace(
            self, list_nanousd=owed, cost_nanousd=owed, estimated_nanousd=self.estimated_billed_nanousd
        )

    def as_row(self) -> Mapping[str, Figure]:
        """Return the figures as reports show them."""
        return {
            "sessions": self.sessions,
            "responses": self.responses,
            "entries": self.entries,
            "cost_nanousd": self.cost_nanousd,
            "cost_usd": format_usd(self.cost_nanousd),
            "list_nanousd": self.list_nanousd,
            "billed_nanousd": self.billed_nanousd,
            "billed_usd": format_usd(self.billed_nanousd),
            "estimated_nanousd": self.estimated_nanousd,
            "unrated_entries": self.unrated,
            "cached_share": self._cached_share(),
            "cost_per_session_usd": _per(self.cost_nanousd, self.sessions or 0),
            "cost_per_spoken_minute_usd": _per(self.cost_nanousd * _MINUTE_MS, self._spoken_ms()),
            **{meter.value: self.quantities.get(meter.value, 0) for meter in Meter},
        }

    def _cached_share(self) -> str | None:
        """Return which part of all input tokens came from the provider's cache, such as 0.8125."""
        cached = sum(self.quantities.get(meter, 0) for meter in CACHED_METERS)
        tokens = sum(self.quantities.get(meter, 0) for meter in INPUT_METERS)
        if tokens <= 0:
            return None
        whole, part = divmod(divide_half_even(cached * 10**_SHARE_DIGITS, tokens), 10**_SHARE_DIGITS)
        return f"{whole}.{part:0{_SHARE_DIGITS}d}"

    def _spoken_ms(self) -> int:
        """Return how long the models spoke."""
        return self.quantities.get(Meter.AUDIO_OUT, 0) * MODEL_AUDIO_MS_PER_TOKEN


_ADDED = (
    "responses",
    "entries",
    "unrated",
    "list_nanousd",
    "cost_nanousd",
    "billed_nanousd",
    "estimated_nanousd",
    "estimated_billed_nanousd",
)


def _per(amount: int, units: int) -> str | None:
    return format_usd(divide_half_even(amount, units)) if units > 0 else None


FIGURES = tuple(Totals().as_row())
OF_QUANTITIES = ("cached_share", "cost_per_spoken_minute_usd", *(meter.value for meter in Meter))


Key = tuple[Any, ...]  # the values of all columns that are grouped by
TotalsBy = dict[Key, Totals]
