"""What a ledger entry is in FOCUS: a row for each of its lines, or one for an adjustment or a credit.

Pure. Two views of the same entries: what the provider charges us, whose lists and contracts count, and what
the tenants owe to an issuer, where nothing tells what the provider charges. Nothing is a float, and an amount
is never computed from a price again: it is the ledger's.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache
from typing import Any

from proxy.core.periods import month_of, span_of
from proxy.core.rating import BASIS_POINTS, PER_MINUTE, Price, RateCard
from proxy.core.records import Kind
from proxy.core.usage import CACHED_METERS, INPUT_METERS, MODALITIES, OUTPUT_METERS, Meter
from proxy.exports import focus_columns as focus
from proxy.store.ledger import Booked, Line

Cards = Mapping[str, RateCard]
Values = Mapping[str, object]  # by the names of columns; what is left out is null

_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)  # more digits than any product of what the ledger holds
_NANO = Decimal("1E-9")
_MILLION = 1_000_000
_HOUR = timedelta(hours=1)
_PUBLISHERS = {"openai": "OpenAI"}
_ADJUSTMENTS = {Kind.ADJUSTMENT: focus.ADJUSTMENT, Kind.CREDIT: focus.CREDIT}


@dataclass(frozen=True, slots=True)
class View:
    """Whose costs: with an `issuer` what the tenants owe to it, without one what the provider charges us."""

    issuer: str | None = None

    @property
    def is_tenants(self) -> bool:
        return self.issuer is not None

    def amount(self, of: Booked | Line) -> int | None:
        """Return what an entry or a line comes to, in nano-dollars."""
        return of.billed_nanousd if self.is_tenants else of.cost_nanousd


@dataclass(frozen=True, slots=True)
class Sku:
    """What a meter is to those who buy: the cached part of an input is another price of the same thing."""

    name: str
    meter: str
    price: str
    details: Mapping[str, object]

    @classmethod
    def of(cls, meter: Meter) -> "Sku":
        direction = "input" if meter in INPUT_METERS else "output" if meter in OUTPUT_METERS else None
        is_cached = meter in CACHED_METERS
        details: dict[str, object] = {"x_Modality": MODALITIES[meter].value}
        if direction is None:
            return cls(meter.value, "Audio Duration", "standard", details)
        said = f"{MODALITIES[meter].title()} {direction.title()} Tokens"
        details |= {"x_Direction": direction, "x_Cached": is_cached}
        return cls(meter.removesuffix("_cached"), said, "cached" if is_cached else "standard", details)


_SKUS = {meter.value: Sku.of(meter) for meter in Meter}


def billing_month(entry: Booked) -> str:
    """Return the UTC month that an entry is billed in, as YYYY-MM.

    What concerns a month that was closed before belongs to the one that it is accounted in.
    """
    month = month_of(entry.occurred_at, UTC)
    return max(month, entry.period) if entry.corrects_period else month


def rows_of(entry: Booked, cards: Cards, view: View, invoice: str | None = None) -> Iterator[Values]:
    """Yield the rows of a rated entry: none where nothing is charged and nothing was used.

    `cards` has the cards that the entry names; `invoice` is the number of the statement that it stands on.
    """
    common = {**_common(entry, view), "InvoiceId": invoice}
    if (category := _ADJUSTMENTS.get(Kind(entry.kind))) is not None:
        if amount := view.amount(entry):
            yield {**common, **_adjusted(entry, category, _usd(amount))}
        return
    for line in entry.lines:
        yield {**common, **_used(entry, line, cards, view)}


def _common(entry: Booked, view: View) -> dict[str, object]:
    month = span_of(billing_month(entry), UTC)
    hour = entry.occurred_at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    publisher = _PUBLISHERS.get(entry.provider, entry.provider)
    issuer = view.issuer or publisher
    return {
        **_times(month.start, month.end, hour),
        **(_tenants_accounts(entry) if view.is_tenants else _our_accounts(entry)),
        "InvoiceIssuerName": issuer,
        "ProviderName": issuer,  # who sells: the standard wants 0 billed where somebody else is paid
        "PublisherName": publisher,
        "ServiceProviderName": issuer,
        "HostProviderName": publisher,
        "ServiceName": f"{publisher} Realtime API",
        "ServiceCategory": focus.SERVICE_CATEGORY,
        "ServiceSubcategory": focus.SERVICE_SUBCATEGORY,
        "ChargeClass": focus.CORRECTION if entry.corrects_period else None,
        "BillingCurrency": focus.CURRENCY,
        "PricingCurrency": focus.CURRENCY,
        "Tags": dict(entry.tags) or None,
        "x_EntryId": entry.id,
        "x_EntryKind": entry.kind,
        "x_EntryRole": entry.role,
        "x_Estimated": entry.estimated,
        "x_CorrectsEntryId": entry.corrects,
        "x_CorrectsPeriod": entry.corrects_period,
        "x_SessionId": entry.session_id,
        "x_ProjectName": entry.project,
        "x_ApiKeyId": entry.api_key_id,
    }


def _times(start: datetime, end: datetime, hour: datetime) -> dict[str, object]:
    return {
        "BillingPeriodStart": start,
        "BillingPeriodEnd": end,
        "ChargePeriodStart": hour,
        "ChargePeriodEnd": hour + _HOUR,
    }


def _our_accounts(entry: Booked) -> dict[str, object]:
    account = f"{entry.provider}:{entry.account}" if entry.account else entry.provider
    return {
        "BillingAccountId": account,
        "BillingAccountName": entry.account or _PUBLISHERS.get(entry.provider, entry.provider),
        "BillingAccountType": "Organization",
        "SubAccountId": entry.tenant_id,
        "SubAccountName": entry.tenant,
        "SubAccountType": "Tenant",
    }


def _tenants_accounts(entry: Booked) -> dict[str, object]:
    return {
        "BillingAccountId": entry.tenant_id,
        "BillingAccountName": entry.tenant,
        "BillingAccountType": "Tenant",
        "SubAccountId": entry.project_id,
        "SubAccountName": entry.project,
        "SubAccountType": "Project" if entry.project_id else None,
    }


def _adjusted(entry: Booked, category: str, amount: Decimal) -> dict[str, object]:
    """The standard has all four costs of what stands behind no price be what is billed."""
    return {
        "ChargeCategory": category,
        "ChargeFrequency": focus.ONE_TIME,
        "ChargeDescription": entry.status_reason,
        **_costs(amount, amount),
    }


def _used(entry: Booked, line: Line, cards: Cards, view: View) -> dict[str, object]:
    sku, is_time = _SKUS[line.meter], line.meter == Meter.DURATION_MS
    name = f"{entry.provider}/{entry.model}/{sku.name}"
    quantity = _minutes(line.quantity) if is_time else _decimal(line.quantity, 6)
    amount = _usd(view.amount(line))
    listed = amount if view.is_tenants else _usd(line.list_nanousd)
    contracted, list_price = _unit_prices(entry, line, cards, view)
    cached = ", cached" if line.meter in CACHED_METERS else ""
    return {
        "ChargeCategory": focus.USAGE,
        "ChargeFrequency": focus.USAGE_BASED,
        "ChargeDescription": f"{entry.model}: {sku.meter.lower()}{cached}",
        "SkuId": name,
        "SkuMeter": sku.meter,
        "SkuPriceId": f"{name}/{sku.price}",
        "SkuPriceDetails": sku.details,
        "ConsumedQuantity": _decimal(line.quantity, 3) if is_time else _decimal(line.quantity * 10, 1),
        "ConsumedUnit": focus.SECONDS if is_time else focus.TOKENS,
        "PricingQuantity": quantity,
        "PricingUnit": focus.MINUTES if is_time else focus.MILLION_TOKENS,
        "PricingCategory": focus.STANDARD,
        **_prices(_fitting(list_price, quantity, listed), _fitting(contracted, quantity, amount)),
        **_costs(listed, amount),
        "x_RateCardId": None if view.is_tenants else line.rate_card_id,
    }


def _prices(listed: Decimal, contracted: Decimal) -> dict[str, object]:
    return {
        "ListUnitPrice": listed,
        "ContractedUnitPrice": contracted,
        "PricingCurrencyListUnitPrice": listed,
        "PricingCurrencyContractedUnitPrice": contracted,
    }


def _costs(listed: Decimal, amount: Decimal) -> dict[str, object]:
    return {
        "ListCost": listed,
        "ContractedCost": amount,
        "EffectiveCost": amount,
        "PricingCurrencyEffectiveCost": amount,
        "BilledCost": amount,
    }


def _unit_prices(entry: Booked, line: Line, cards: Cards, view: View) -> tuple[Decimal, Decimal]:
    """Return what a unit of pricing costs by the contract, and by the list."""
    assert line.price_nanousd is not None and line.price_per is not None, "what is rated has a price"
    own = Price(line.price_nanousd, line.price_per)
    if view.is_tenants:
        agreed = _on_card(cards, entry.agreed_card_id, line.meter)
        price = _unit_price(agreed) if agreed else _unit_price(own, entry.markup_bp or 0)
        return price, price
    return _unit_price(own), _unit_price(_on_card(cards, entry.public_card_id, line.meter) or own)


def _on_card(cards: Cards, card_id: str | None, meter: str) -> Price | None:
    card = cards.get(card_id) if card_id is not None else None
    return card.prices.get(Meter(meter)) if card is not None else None


@lru_cache(maxsize=10_000)
def _unit_price(price: Price, markup_bp: int = 0) -> Decimal:
    """Return the price of a million tokens or of a minute, in dollars."""
    units = 1 if price.per == PER_MINUTE else _MILLION
    return _places(_decimal(price.nanousd * units * (BASIS_POINTS + markup_bp), 13))


def _fitting(price: Decimal, quantity: Decimal, amount: Decimal) -> Decimal:
    """Return the price, unless rounding made another amount of it: then what was paid for a unit.

    Amounts are whole nano-dollars. A duration's cost is rounded, and rounded again with its markup.
    """
    if _EXACT.abs(_EXACT.subtract(_EXACT.multiply(price, quantity), amount)) <= _NANO:
        return price
    return _places(_EXACT.divide(amount, quantity))


def _minutes(ms: int) -> Decimal:
    return _places(_EXACT.divide(Decimal(ms), Decimal(PER_MINUTE)))


def _places(number: Decimal) -> Decimal:
    """Return a number with at least one decimal, and at most as many as there have to be.

    Readers that guess types take a column of whole numbers for integers.
    """
    short = _EXACT.quantize(number, Decimal(1).scaleb(-focus.DECIMALS_MAX)).normalize(_EXACT)
    return short if _exponent(short) < 0 else _EXACT.quantize(short, Decimal("0.1"))


def _exponent(number: Decimal) -> Any:
    return number.as_tuple().exponent


def _usd(nanousd: int | None) -> Decimal:
    assert nanousd is not None, "what is rated has amounts"
    return _decimal(nanousd, 9)


def _decimal(number: int, places: int) -> Decimal:
    return Decimal(number).scaleb(-places, _EXACT)
