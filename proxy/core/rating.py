"""Rate cards, terms and markups, and what usage costs on them."""

import bisect
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, TypeVar

import msgspec

from proxy.core.money import divide_half_even
from proxy.core.usage import INPUT_METERS, OUTPUT_METERS, Flag, Meter, Usage

_SNAPSHOT = re.compile(r"-20\d\d-\d\d-\d\d$")

PER_TOKEN = 1
PER_MINUTE = 60_000  # the unit of a duration is a millisecond
BASIS_POINTS = 10_000  # in the whole

# Whose prices a card has, where they are not a tenant's.
PUBLIC = "public"
CONTRACT = "contract"


@dataclass(frozen=True, slots=True)
class Price:
    """Integer nano-dollars for every `per` units: `PER_TOKEN` or `PER_MINUTE`."""

    nanousd: int
    per: int = PER_TOKEN

    def of(self, quantity: int) -> int:
        """Return what so many units cost, in nano-dollars, rounded half to even."""
        return divide_half_even(quantity * self.nanousd, self.per)


@dataclass(frozen=True, slots=True)
class RateCard:
    """The prices of one model from an instant on. Never edited: a new card supersedes it."""

    id: str
    provider: str
    model: str
    effective_from: datetime  # UTC, inclusive
    prices: Mapping[Meter, Price]
    source: str = ""
    owner: str = PUBLIC  # whose prices: the public's, the contract's, or a tenant's by its id


@dataclass(frozen=True, slots=True)
class Terms:
    """The prices of one model for one tenant at an instant; where nothing was agreed, all one card's.

    `card` is what the upstream charges us, None where it has no price. `public` is the public card, where
    that is another one. `agreed` has prices agreed with the tenant; what it does not price is billed at
    our cost with a markup, a discount where that is negative, in basis points.
    """

    card: RateCard | None
    public: RateCard | None = None
    agreed: RateCard | None = None
    markup_bp: int = 0

    @property
    def billing(self) -> "Billing | None":
        """Return what an entry keeps of it, beside the card of each line."""
        if self.public is None and self.agreed is None and not self.markup_bp:
            return None
        return Billing(
            public_card_id=self.public.id if self.public else None,
            agreed_card_id=self.agreed.id if self.agreed else None,
            markup_bp=self.markup_bp,
        )

    def amounts(self, meter: Meter, quantity: int) -> tuple[int, int, int] | None:
        """Return what so much of a meter is on the public card, costs us and is billed, in nano-dollars.

        None where it has no price. Where the public card has none, our cost stands for it.
        """
        price = self.card.prices.get(meter) if self.card else None
        if price is None:
            return None
        cost = price.of(quantity)
        public = self.public.prices.get(meter) if self.public else None
        agreed = self.agreed.prices.get(meter) if self.agreed else None
        billed = agreed.of(quantity) if agreed else with_markup(cost, self.markup_bp)
        return public.of(quantity) if public else cost, cost, billed


def with_markup(cost_nanousd: int, markup_bp: int) -> int:
    """Return a cost with so many basis points on top, rounded half to even."""
    if not markup_bp:
        return cost_nanousd
    return divide_half_even(cost_nanousd * (BASIS_POINTS + markup_bp), BASIS_POINTS)


class Billing(msgspec.Struct, frozen=True, kw_only=True):
    """By what an entry's three amounts differ: the cards that `Terms` has beside the one of each line."""

    public_card_id: str | None = None
    agreed_card_id: str | None = None
    markup_bp: int = 0


class Amounts(NamedTuple):
    """What something costs us, and what its tenant is billed for it, in nano-dollars."""

    cost_nanousd: int
    billed_nanousd: int

    @classmethod
    def same(cls, nanousd: int) -> "Amounts":
        return cls(nanousd, nanousd)

    def plus(self, other: "Amounts") -> "Amounts":
        return Amounts(self.cost_nanousd + other.cost_nanousd, self.billed_nanousd + other.billed_nanousd)

    def minus(self, other: "Amounts") -> "Amounts":
        return Amounts(self.cost_nanousd - other.cost_nanousd, self.billed_nanousd - other.billed_nanousd)

    def at_least(self, other: "Amounts") -> "Amounts":
        """Return the larger of each."""
        return Amounts(*map(max, self, other))


NO_AMOUNTS = Amounts(0, 0)


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


def rate(usage: Usage, terms: Terms) -> Rated:
    """Return what `usage` costs on these terms, in nano-dollars, line by line.

    A used meter without a price makes the result unrated: a bill that is silently short is worse
    than one that says what it does not know. So does a missing report; a report of nothing is free,
    and needs no card to say so.
    """
    if Flag.USAGE_MISSING in usage.flags:
        return Rated((), None)
    lines = tuple(_line(meter, n, terms) for meter, n in sorted(usage.counts.items()) if n)
    costs = [line.cost_nanousd for line in lines if line.cost_nanousd is not None]
    return Rated(lines, sum(costs) if len(costs) == len(lines) else None)


def rating_flags(rated: Rated, card: RateCard | None) -> frozenset[Flag]:
    """Return why something is unrated, for its entry's flags; nothing when it is rated."""
    if rated.cost_nanousd is not None:
        return frozenset()
    if card is None:
        return frozenset({Flag.MODEL_UNKNOWN})
    return frozenset({Flag.METER_UNPRICED}) if rated.lines else frozenset()


def amounts(usage: Usage, terms: Terms) -> Amounts | None:
    """Return what `rate` would say that `usage` costs, without its lines: this is asked while it runs."""
    if Flag.USAGE_MISSING in usage.flags:
        return None
    cost = billed = 0
    for meter, quantity in usage.counts.items():
        if quantity:
            each = terms.amounts(meter, quantity)
            if each is None:
                return None
            cost += each[1]
            billed += each[2]
    return Amounts(cost, billed)


def _line(meter: Meter, quantity: int, terms: Terms) -> Line:
    each = terms.amounts(meter, quantity)
    if each is None or terms.card is None:
        return Line(meter=meter, quantity=quantity)
    price = terms.card.prices[meter]
    return Line(
        meter=meter,
        quantity=quantity,
        price_nanousd=price.nanousd,
        price_per=price.per,
        list_nanousd=each[0],
        cost_nanousd=each[1],
        billed_nanousd=each[2],
        rate_card_id=terms.card.id,
    )


def without_date(model: str) -> str:
    """Return the model that a dated snapshot (`gpt-realtime-2025-08-28`) is one of."""
    return _SNAPSHOT.sub("", model)


@dataclass(frozen=True, slots=True)
class Markup:
    """What is added to our cost for one tenant's bill, or for everybody's, from an instant on."""

    tenant_id: str | None  # None: all tenants that have none of their own
    effective_from: datetime
    basis_points: int  # a discount below 0


class CardBook:
    """All prices of this installation; answers which of them hold for a model at an instant."""

    def __init__(
        self,
        cards: Iterable[RateCard] = (),
        aliases: Mapping[str, str] | None = None,
        markups: Iterable[Markup] = (),
    ) -> None:
        """`aliases` maps a deployment name to the model it runs."""
        self._aliases = dict(aliases or {})
        self.replace(cards, markups)

    def replace(self, cards: Iterable[RateCard], markups: Iterable[Markup] = ()) -> None:
        """Hold these prices from now on; from any thread. Who keeps the book rates with them at once."""
        by_model: dict[tuple[str, str, str], list[RateCard]] = {}
        for card in sorted(cards, key=lambda c: (c.effective_from, c.id)):
            by_model.setdefault((card.owner, card.provider, card.model), []).append(card)
        by_tenant: dict[str | None, list[Markup]] = {}
        for markup in sorted(markups, key=lambda m: m.effective_from):
            by_tenant.setdefault(markup.tenant_id, []).append(markup)
        owners = frozenset(owner for owner, _, _ in by_model)
        self._prices = by_model, by_tenant, owners

    def find(self, provider: str, model: str | None, at: datetime, owner: str = PUBLIC) -> RateCard | None:
        """Return this owner's card for `model` at `at`, or None.

        A dated snapshot (`gpt-realtime-2025-08-28`) without a card of its own has its model's.
        """
        _, _, owners = self._prices
        if model is None or owner not in owners:  # few tenants have prices of their own
            return None
        model = self._aliases.get(model, model)
        return self._at(owner, provider, model, at) or self._at(owner, provider, without_date(model), at)

    def cost_card(self, provider: str, model: str | None, at: datetime) -> RateCard | None:
        """Return by which card the upstream charges us: the contract's, else the public one."""
        return self.find(provider, model, at, CONTRACT) or self.find(provider, model, at)

    def terms(self, provider: str, model: str | None, at: datetime, tenant_id: str) -> Terms:
        """Return the prices of `model` for a tenant at `at`."""
        public, contract = self.find(provider, model, at), self.find(provider, model, at, CONTRACT)
        agreed = self.find(provider, model, at, tenant_id)
        return Terms(contract or public, public if contract else None, agreed, self._markup_bp(tenant_id, at))

    def _markup_bp(self, tenant_id: str, at: datetime) -> int:
        _, markups, _ = self._prices
        if not markups:
            return 0
        found = _last(markups.get(tenant_id, ()), at) or _last(markups.get(None, ()), at)
        return found.basis_points if found else 0

    def dearest_nanousd(self, provider: str, usage: Usage, at: datetime) -> int:
        """Return what `usage` costs at most: each meter at its dearest price among the provider's models."""
        by_model, _, _ = self._prices
        cards = [
            self._at(owner, of, model, at)
            for owner, of, model in by_model
            if of == provider and owner in (PUBLIC, CONTRACT)
        ]
        return sum(_dearest(meter, quantity, cards) for meter, quantity in usage.counts.items())

    def _at(self, owner: str, provider: str, model: str, at: datetime) -> RateCard | None:
        by_model, _, _ = self._prices
        return _last(by_model.get((owner, provider, model), ()), at)


Dated = TypeVar("Dated", RateCard, Markup)


def _last(dated: Sequence[Dated], at: datetime) -> Dated | None:
    """Return the last of these, which are sorted, that holds at `at`."""
    index = bisect.bisect_right(dated, at, key=lambda one: one.effective_from)
    return dated[index - 1] if index else None


_UNTOLD = {Meter.UNTOLD_IN: INPUT_METERS, Meter.UNTOLD_OUT: OUTPUT_METERS}


def _dearest(meter: Meter, quantity: int, cards: Iterable[RateCard | None]) -> int:
    meters = _UNTOLD.get(meter, {meter})
    prices = [price for card in cards if card for one, price in card.prices.items() if one in meters]
    return max((price.of(quantity) for price in prices), default=0)
