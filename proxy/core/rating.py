"""Rate cards, and what usage costs on them."""

import bisect
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec

from proxy.core.money import divide_half_even
from proxy.core.usage import INPUT_METERS, OUTPUT_METERS, Flag, Meter, Usage

_SNAPSHOT = re.compile(r"-20\d\d-\d\d-\d\d$")

PER_TOKEN = 1
PER_MINUTE = 60_000  # the unit of a duration is a millisecond


@dataclass(frozen=True, slots=True)
class Price:
    """Integer nano-dollars for every `per` units: `PER_TOKEN` or `PER_MINUTE`."""

    nanousd: int
    per: int = PER_TOKEN


@dataclass(frozen=True, slots=True)
class RateCard:
    """The prices of one model from an instant on. Never edited: a new card supersedes it."""

    id: str
    provider: str
    model: str
    effective_from: datetime  # UTC, inclusive
    prices: Mapping[Meter, Price]
    source: str = ""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One meter's part of a billed thing. Price and amounts are None where no card has a price.

    The three amounts, in nano-dollars: `list` by the public card, `cost` what the upstream charges
    us, `billed` what the tenant owes. They are equal until a contract or a markup is configured.
    """

    meter: Meter
    quantity: int
    price_nanousd: int | None = None
    price_per: int | None = None
    list_nanousd: int | None = None
    cost_nanousd: int | None = None
    billed_nanousd: int | None = None
    rate_card_id: str | None = None


@dataclass(frozen=True, slots=True)
class Rated:
    """Usage with its price. `cost_nanousd` is None when a used meter has no price."""

    lines: tuple[Line, ...]
    cost_nanousd: int | None


def rate(usage: Usage, card: RateCard | None) -> Rated:
    """Return what `usage` costs on `card`, in nano-dollars, line by line.

    A used meter without a price makes the result unrated: a bill that is silently short is worse
    than one that says what it does not know. So does a missing report; a report of nothing is free,
    and needs no card to say so.
    """
    if Flag.USAGE_MISSING in usage.flags:
        return Rated((), None)
    lines = tuple(_line(meter, n, card) for meter, n in sorted(usage.counts.items()) if n)
    costs = [line.cost_nanousd for line in lines if line.cost_nanousd is not None]
    return Rated(lines, sum(costs) if len(costs) == len(lines) else None)


def rating_flags(rated: Rated, card: RateCard | None) -> frozenset[Flag]:
    """Return why something is unrated, for its entry's flags; nothing when it is rated."""
    if rated.cost_nanousd is not None:
        return frozenset()
    if card is None:
        return frozenset({Flag.MODEL_UNKNOWN})
    return frozenset({Flag.METER_UNPRICED}) if rated.lines else frozenset()


def cost_nanousd(usage: Usage, card: RateCard | None) -> int | None:
    """Return what `rate` would say that `usage` costs, without its lines: this is asked while it runs."""
    if Flag.USAGE_MISSING in usage.flags:
        return None
    cost = 0
    for meter, quantity in usage.counts.items():
        if quantity:
            price = card.prices.get(meter) if card else None
            if price is None:
                return None
            cost += _amount(quantity, price)
    return cost


def _amount(quantity: int, price: Price) -> int:
    return divide_half_even(quantity * price.nanousd, price.per)


def _line(meter: Meter, quantity: int, card: RateCard | None) -> Line:
    price = card.prices.get(meter) if card else None
    if card is None or price is None:
        return Line(meter=meter, quantity=quantity)
    amount = _amount(quantity, price)
    return Line(
        meter=meter,
        quantity=quantity,
        price_nanousd=price.nanousd,
        price_per=price.per,
        list_nanousd=amount,
        cost_nanousd=amount,
        billed_nanousd=amount,
        rate_card_id=card.id,
    )


def without_date(model: str) -> str:
    """Return the model that a dated snapshot (`gpt-realtime-2025-08-28`) is one of."""
    return _SNAPSHOT.sub("", model)


class CardBook:
    """All rate cards of this installation; answers which one holds for a model at an instant."""

    def __init__(self, cards: Iterable[RateCard] = (), aliases: Mapping[str, str] | None = None) -> None:
        """`aliases` maps a deployment name to the model it runs."""
        self._aliases = dict(aliases or {})
        self.replace(cards)

    def replace(self, cards: Iterable[RateCard]) -> None:
        """Hold these cards from now on; from any thread. Who keeps the book rates with them at once."""
        by_model: dict[tuple[str, str], list[RateCard]] = {}
        for card in sorted(cards, key=lambda c: (c.effective_from, c.id)):
            by_model.setdefault((card.provider, card.model), []).append(card)
        self._cards = by_model

    def find(self, provider: str, model: str | None, at: datetime) -> RateCard | None:
        """Return the card for `model` at `at`, or None.

        A dated snapshot (`gpt-realtime-2025-08-28`) without a card of its own has its model's.
        """
        if model is None:
            return None
        model = self._aliases.get(model, model)
        return self._at(provider, model, at) or self._at(provider, without_date(model), at)

    def dearest_nanousd(self, provider: str, usage: Usage, at: datetime) -> int:
        """Return what `usage` costs at most: each meter at its dearest price among the provider's models."""
        cards = [self._at(of, model, at) for of, model in self._cards if of == provider]
        return sum(_dearest(meter, quantity, cards) for meter, quantity in usage.counts.items())

    def _at(self, provider: str, model: str, at: datetime) -> RateCard | None:
        cards = self._cards.get((provider, model), [])
        index = bisect.bisect_right(cards, at, key=lambda card: card.effective_from)
        return cards[index - 1] if index else None


_UNTOLD = {Meter.UNTOLD_IN: INPUT_METERS, Meter.UNTOLD_OUT: OUTPUT_METERS}


def _dearest(meter: Meter, quantity: int, cards: Iterable[RateCard | None]) -> int:
    meters = _UNTOLD.get(meter, {meter})
    prices = [price for card in cards if card for one, price in card.prices.items() if one in meters]
    return max((_amount(quantity, price) for price in prices), default=0)
