"""The columns of FOCUS cost-and-usage that we write, for each version: the standard's rules as a table.

FOCUS is the FinOps Open Cost and Usage Specification. The two versions differ in who is named: 1.2 has a
provider and a publisher, 1.4 a service provider and a host provider. Columns of our own begin with `x_`.
The validator of 1.2 asks whoever publishes prices for more: prices in the currency of pricing, which is that
of billing, and a commitment, which there is none of.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from proxy.exports.table import Column, Kind

DECIMALS_MAX = 18  # of what is no finite decimal: a third of a minute, say


class Version(StrEnum):
    """A version of FOCUS that can be written."""

    V1_2 = "1.2"
    V1_4 = "1.4"


class Level(StrEnum):
    """How much the standard wants of a column: that it is there always, or where something applies to us."""

    MANDATORY = "mandatory"
    CONDITIONAL = "conditional"
    RECOMMENDED = "recommended"
    OWN = "own"


@dataclass(frozen=True, slots=True)
class FocusColumn:
    """A column and what its values may be. `allowed` is empty where anything of the kind is."""

    name: str
    kind: Kind = Kind.TEXT
    level: Level = Level.MANDATORY
    nullable: bool = False
    allowed: tuple[str, ...] = ()
    non_negative: bool = False

    @property
    def column(self) -> Column:
        return Column(self.name, self.kind, DECIMALS_MAX)


CURRENCY = "USD"
CORRECTION = "Correction"
USAGE, ADJUSTMENT, CREDIT = "Usage", "Adjustment", "Credit"
USAGE_BASED, ONE_TIME = "Usage-Based", "One-Time"
STANDARD = "Standard"
SERVICE_CATEGORY, SERVICE_SUBCATEGORY = "AI and Machine Learning", "Generative AI"
TOKENS, MILLION_TOKENS, SECONDS, MINUTES = "Tokens", "1000000 Tokens", "Seconds", "Minutes"

_DECIMAL, _INSTANT, _JSON = Kind.DECIMAL, Kind.INSTANT, Kind.JSON
_CONDITIONAL, _RECOMMENDED, _OWN = Level.CONDITIONAL, Level.RECOMMENDED, Level.OWN

_PERIODS = (
    FocusColumn("BillingPeriodStart", _INSTANT),
    FocusColumn("BillingPeriodEnd", _INSTANT),
    FocusColumn("ChargePeriodStart", _INSTANT),
    FocusColumn("ChargePeriodEnd", _INSTANT),
)
_WHO = (
    FocusColumn("BillingAccountId"),
    FocusColumn("BillingAccountName", nullable=True),
    FocusColumn("BillingAccountType", level=_CONDITIONAL),
    FocusColumn("SubAccountId", level=_CONDITIONAL, nullable=True),
    FocusColumn("SubAccountName", level=_CONDITIONAL, nullable=True),
    FocusColumn("SubAccountType", level=_CONDITIONAL, nullable=True),
    FocusColumn("InvoiceIssuerName"),
    FocusColumn("InvoiceId", level=_RECOMMENDED, nullable=True),
)
_ORIGIN = {
    Version.V1_2: (FocusColumn("ProviderName"), FocusColumn("PublisherName")),
    Version.V1_4: (FocusColumn("ServiceProviderName"), FocusColumn("HostProviderName", nullable=True)),
}
_SERVICE = (
    FocusColumn("ServiceName"),
    FocusColumn("ServiceCategory", allowed=(SERVICE_CATEGORY,)),
    FocusColumn("ServiceSubcategory", level=_RECOMMENDED, allowed=(SERVICE_SUBCATEGORY,)),
)
_CHARGE = (
    FocusColumn("ChargeCategory", allowed=(USAGE, "Purchase", "Tax", CREDIT, ADJUSTMENT)),
    FocusColumn("ChargeClass", nullable=True, allowed=(CORRECTION,)),
    FocusColumn("ChargeDescription", nullable=True),
    FocusColumn("ChargeFrequency", level=_RECOMMENDED, allowed=(ONE_TIME, "Recurring", USAGE_BASED)),
)
_SKU = (
    FocusColumn("SkuId", level=_CONDITIONAL, nullable=True),
    FocusColumn("SkuMeter", level=_CONDITIONAL, nullable=True),
    FocusColumn("SkuPriceId", level=_CONDITIONAL, nullable=True),
    FocusColumn("SkuPriceDetails", _JSON, _CONDITIONAL, nullable=True),
)
_QUANTITIES = (
    FocusColumn("ConsumedQuantity", _DECIMAL, _CONDITIONAL, nullable=True),
    FocusColumn("ConsumedUnit", level=_CONDITIONAL, nullable=True, allowed=(TOKENS, SECONDS)),
    FocusColumn("PricingQuantity", _DECIMAL, nullable=True),
    FocusColumn("PricingUnit", nullable=True, allowed=(MILLION_TOKENS, MINUTES)),
    FocusColumn(
        "PricingCategory",
        level=_CONDITIONAL,
        nullable=True,
        allowed=(STANDARD, "Dynamic", "Committed", "Other"),
    ),
)
_MONEY = (
    FocusColumn("BillingCurrency", allowed=(CURRENCY,)),
    FocusColumn("ListUnitPrice", _DECIMAL, _CONDITIONAL, nullable=True, non_negative=True),
    FocusColumn("ListCost", _DECIMAL),
    FocusColumn("ContractedUnitPrice", _DECIMAL, _CONDITIONAL, nullable=True, non_negative=True),
    FocusColumn("ContractedCost", _DECIMAL),
    FocusColumn("EffectiveCost", _DECIMAL),
    FocusColumn("BilledCost", _DECIMAL),
)
_TAGS = (FocusColumn("Tags", _JSON, _CONDITIONAL, nullable=True),)
_ASKED_FOR = {
    Version.V1_2: (
        FocusColumn("PricingCurrency", level=_CONDITIONAL, allowed=(CURRENCY,)),
        FocusColumn("PricingCurrencyListUnitPrice", _DECIMAL, _CONDITIONAL, nullable=True, non_negative=True),
        FocusColumn(
            "PricingCurrencyContractedUnitPrice", _DECIMAL, _CONDITIONAL, nullable=True, non_negative=True
        ),
        FocusColumn("PricingCurrencyEffectiveCost", _DECIMAL, _CONDITIONAL),
        FocusColumn(
            "CommitmentDiscountStatus", level=_CONDITIONAL, nullable=True, allowed=("Used", "Unused")
        ),
    ),
    Version.V1_4: (),
}
_OURS = (
    FocusColumn("x_EntryId", Kind.INTEGER, _OWN),
    FocusColumn("x_EntryKind", level=_OWN),
    FocusColumn("x_EntryRole", level=_OWN),
    FocusColumn("x_Estimated", Kind.FLAG, _OWN),
    FocusColumn("x_CorrectsEntryId", Kind.INTEGER, _OWN, nullable=True),
    FocusColumn("x_CorrectsPeriod", level=_OWN, nullable=True),
    FocusColumn("x_SessionId", level=_OWN, nullable=True),
    FocusColumn("x_ProjectName", level=_OWN, nullable=True),
    FocusColumn("x_ApiKeyId", level=_OWN, nullable=True),
    FocusColumn("x_RateCardId", level=_OWN, nullable=True),
)

COLUMNS: Mapping[Version, Sequence[FocusColumn]] = {
    version: (
        *_PERIODS,
        *_WHO,
        *_ORIGIN[version],
        *_SERVICE,
        *_CHARGE,
        *_SKU,
        *_QUANTITIES,
        *_MONEY,
        *_ASKED_FOR[version],
        *_TAGS,
        *_OURS,
    )
    for version in Version
}
