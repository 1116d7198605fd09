"""Checks rows against our table of FOCUS columns, and by the rules between the columns that concern us."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from typing import Any

from proxy.exports.focus_columns import COLUMNS, CURRENCY, FocusColumn, Version
from proxy.exports.table import Kind

_EXACT = Context(prec=200)
_TYPES = {
    Kind.TEXT: str,
    Kind.INTEGER: int,
    Kind.DECIMAL: Decimal,
    Kind.INSTANT: datetime,
    Kind.FLAG: bool,
    Kind.JSON: dict,
}
_WITH_PRICE = (
    *("SkuId", "SkuMeter", "SkuPriceDetails", "PricingCategory", "ListUnitPrice", "ContractedUnitPrice"),
    *("PricingQuantity", "PricingUnit", "ConsumedQuantity", "ConsumedUnit"),
)


def faults(version: Version, row: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a row, by the names of columns."""
    columns = COLUMNS[version]
    found = [f"{name}: no column of {version}" for name in row.keys() - {one.name for one in columns}]
    found += [f"{one.name}: {fault}" for one in columns for fault in _faults_of(one, row)]
    return found or _faults_between(row)


def _faults_of(column: FocusColumn, row: Mapping[str, Any]) -> list[str]:
    if column.name not in row:
        return ["missing"]
    value = row[column.name]
    if value is None:
        return [] if column.nullable else ["null"]
    if not isinstance(value, _TYPES[column.kind]):
        return [f"{type(value)}"]
    match value:
        case str() if not value.strip() or not value.isprintable():
            return ["empty, or not printable"]
        case str() if column.allowed and value not in column.allowed:
            return [f"{value!r} is not allowed"]
        case datetime() if value.utcoffset() != timedelta(0) or value.microsecond:
            return ["not a whole second in UTC"]
        case Decimal():
            return _faults_of_number(value, column.non_negative)
        case dict() if not all(v is None or isinstance(v, str | int | bool) for v in value.values()):
            return ["nested"]
    return []


def _faults_of_number(value: Decimal, non_negative: bool) -> list[str]:
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or not -18 <= exponent < 0:
        return [f"{exponent} places"]
    return ["negative"] if non_negative and value < 0 else []


def _faults_between(row: Mapping[str, Any]) -> list[str]:
    is_usage = row["ChargeCategory"] == "Usage"
    is_priced = row["SkuPriceId"] is not None
    rules = {
        "a month": _is_month(row["BillingPeriodStart"], row["BillingPeriodEnd"]),
        "an hour": row["ChargePeriodEnd"] - row["ChargePeriodStart"] == timedelta(hours=1),
        "charged no later than billed": row["ChargePeriodEnd"] <= row["BillingPeriodEnd"],
        "a price with usage only": is_priced == is_usage,
        "all of a price or nothing": all((row[name] is not None) == is_priced for name in _WITH_PRICE),
        "frequency": row["ChargeFrequency"] == ("Usage-Based" if is_usage else "One-Time"),
        "account and its name": (row["SubAccountId"] is None) == (row["SubAccountName"] is None),
        "account and its type": (row["SubAccountId"] is None) == (row["SubAccountType"] is None),
        "one cost": len({row[name] for name in ("ContractedCost", "EffectiveCost", "BilledCost")}) == 1,
        "one currency": all(
            row[name] == row[name.removeprefix("PricingCurrency")]
            for name in row
            if name.startswith("PricingCurrency") and name != "PricingCurrency"
        ),
        "currency": row["BillingCurrency"] == CURRENCY,
        "who is paid sells": row["InvoiceIssuerName"]
        == row.get("ProviderName", row.get("ServiceProviderName")),
        "what is priced like nothing costs what is billed": is_priced or row["ListCost"] == row["BilledCost"],
        "parent": not is_priced or row["SkuPriceId"].startswith(f"{row['SkuId']}/"),
    }
    found = [f"rule: {rule}" for rule, holds in rules.items() if not holds]
    if is_priced:
        for cost, price in (("ListCost", "ListUnitPrice"), ("ContractedCost", "ContractedUnitPrice")):
            product = _EXACT.multiply(row[price], row["PricingQuantity"])
            if abs(product - row[cost]) > Decimal("1E-9"):
                found.append(f"{cost} is not {price} x PricingQuantity")
    return found


def _is_month(start: datetime, end: datetime) -> bool:
    first = datetime(start.year, start.month, 1, tzinfo=UTC)
    return start == first and end == datetime(
        start.year + start.month // 12, start.month % 12 + 1, 1, tzinfo=UTC
    )
