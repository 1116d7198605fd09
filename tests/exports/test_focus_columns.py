"""Our table of columns says the same as the models that the standard publishes."""

import pytest
from focus_data_toolkit.model.validator import load_model

from proxy.exports.focus_columns import COLUMNS, FocusColumn, Level, Version
from proxy.exports.table import Kind

_MODEL = load_model()["datasets"]["Cost and Usage"]["columns"]
_TYPES = {"String": Kind.TEXT, "Decimal": Kind.DECIMAL, "Date/Time": Kind.INSTANT, "JSON": Kind.JSON}

# Of the published model of 1.2: what must always be there.
_MANDATORY_1_2 = {
    *("BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodStart"),
    *("BillingPeriodEnd", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodStart"),
    *("ChargePeriodEnd", "ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost"),
    *("PricingQuantity", "PricingUnit", "ProviderName", "PublisherName", "ServiceCategory", "ServiceName"),
}


def own(version: Version) -> dict[str, FocusColumn]:
    return {column.name: column for column in COLUMNS[version]}


def test_all_that_is_mandatory_is_there() -> None:
    mandatory = {
        version: {name for name, one in own(version).items() if one.level is Level.MANDATORY}
        for version in Version
    }
    assert mandatory[Version.V1_2] == _MANDATORY_1_2
    assert mandatory[Version.V1_4] == {
        name for name, one in _MODEL.items() if one["feature_level"] == "Mandatory"
    }


def test_the_versions_differ_in_who_is_named_and_in_what_a_validator_asks_for() -> None:
    old, new = own(Version.V1_2), own(Version.V1_4)
    only_old = {name for name in old if not name.startswith("PricingCurrency")} - new.keys()
    assert only_old == {"ProviderName", "PublisherName", "CommitmentDiscountStatus"}
    assert new.keys() - old.keys() == {"ServiceProviderName", "HostProviderName"}


@pytest.mark.parametrize("name", [name for name in own(Version.V1_4) if not name.startswith("x_")])
def test_a_column_of_1_4_is_no_looser_than_the_standard(name: str) -> None:
    ours, theirs = own(Version.V1_4)[name], _MODEL[name]
    assert ours.kind is _TYPES[theirs["data_type"]]
    assert theirs["allows_nulls"] or not ours.nullable
    if theirs["allowed_values"] is not None:
        assert ours.allowed and set(ours.allowed) <= set(theirs["allowed_values"])
    assert ours.non_negative or "non-negative" not in theirs["value_format"]


def test_names_are_unique_and_our_own_are_told_from_the_standards() -> None:
    for version in Version:
        names = [column.name for column in COLUMNS[version]]
        assert len(set(names)) == len(names)
        for column in COLUMNS[version]:
            assert (column.level is Level.OWN) == column.name.startswith("x_")
