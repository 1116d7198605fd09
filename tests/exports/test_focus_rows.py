"""Entries as rows of FOCUS: every row keeps to the table, and no nano-dollar is lost on the way."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.rating import BASIS_POINTS, PER_MINUTE, Price, RateCard, Terms, rate
from proxy.core.rating import Line as Rated
from proxy.core.usage import Meter, Usage
from proxy.exports.focus_columns import COLUMNS, Version
from proxy.exports.focus_rows import View, billing_month, rows_of
from proxy.store.ledger import Booked, Line
from tests.exports.focus_checks import faults

AT = datetime(2026, 10, 31, 23, 59, 59, 999_999, tzinfo=UTC)
OPERATOR, TENANT = View(), View("Voice Ltd")
METERS = [meter for meter in Meter if not meter.startswith("untold")]


def card(id: str, nanousd: int = 32_000) -> RateCard:
    prices = {meter: Price(nanousd, PER_MINUTE if meter is Meter.DURATION_MS else 1) for meter in METERS}
    return RateCard(id, "openai", "gpt-realtime", AT, prices)


def entry(counts: Mapping[Meter, int], terms: Terms | None = None, **more: Any) -> Booked:
    terms = terms or Terms(card("own"))
    rated = rate(Usage(counts), terms)
    lines = [_line(line) for line in rated.lines]
    amounts = {
        name: sum(getattr(line, name) for line in lines)
        for name in ("cost_nanousd", "billed_nanousd", "list_nanousd")
    }
    values: dict[str, Any] = {
        "id": 7,
        "occurred_at": AT,
        "posted_at": AT,
        "end_user_id": None,
        "provider": "openai",
        "account": "org-1",
        "tenant_id": "t1",
        "tenant": "acme",
        "project_id": "p1",
        "project": "web",
        "api_key_id": "k1",
        "session_id": "s1",
        "upstream_session_id": "sess_1",
        "model": "gpt-realtime",
        "kind": "response",
        "role": "original",
        "subject_id": "r1",
        "status": "completed",
        "status_reason": None,
        "estimated": False,
        "flags": (),
        "period": "2026-10",
        "public_card_id": terms.public.id if terms.public else None,
        "agreed_card_id": terms.agreed.id if terms.agreed else None,
        "markup_bp": terms.markup_bp,
        "tags": {},
        "corrects": None,
        "corrects_period": None,
        "archive": None,
    }
    return Booked(**values | amounts | {"lines": lines} | more)


def _line(line: Rated) -> Line:
    unit = "ms" if line.meter is Meter.DURATION_MS else "token"
    values = {name: getattr(line, name) for name in Rated.__struct_fields__}
    return Line(**values | {"meter": str(line.meter), "unit": unit})


def adjusted(kind: str, cost: int, billed: int) -> Booked:
    return replace(
        entry({}, kind=kind, model=None, session_id=None, api_key_id=None, account=None),
        cost_nanousd=cost,
        billed_nanousd=billed,
        list_nanousd=0,
        status_reason="=so it is",
    )


def written(
    booked: Booked, view: View = OPERATOR, version: Version = Version.V1_2, *cards: RateCard, **more: Any
) -> list[dict[str, Any]]:
    """Return rows with all columns of a version, as a file would have them. Each keeps to the rules."""
    names = [column.name for column in COLUMNS[version]]
    found = list(rows_of(booked, {one.id: one for one in cards}, view, **more))
    rows = [{name: row.get(name) for name in names} for row in found]
    assert [faults(version, row) for row in rows] == [[]] * len(rows)
    return rows


def told(row: Mapping[str, Any], *names: str) -> list[Any]:
    """Return values as they are written."""
    return [format(row[name], "f") if isinstance(row[name], Decimal) else row[name] for name in names]


def test_a_line_is_a_row_priced_by_the_million() -> None:
    (row,) = written(entry({Meter.AUDIO_IN_CACHED: 12_345}))
    assert told(row, "ConsumedQuantity", "ConsumedUnit") == ["12345.0", "Tokens"]
    assert told(row, "PricingQuantity", "PricingUnit") == ["0.012345", "1000000 Tokens"]
    assert told(row, "ListUnitPrice", "ContractedUnitPrice") == ["32.0", "32.0"]
    assert told(row, "ListCost", "ContractedCost", "EffectiveCost", "BilledCost") == ["0.395040000"] * 4
    assert told(row, "ChargeCategory", "ChargeClass", "ChargeFrequency") == ["Usage", None, "Usage-Based"]
    assert row["ChargeDescription"] == "gpt-realtime: audio input tokens, cached"
    assert told(row, "BillingPeriodStart", "BillingPeriodEnd") == [
        datetime(2026, 10, 1, tzinfo=UTC),
        datetime(2026, 11, 1, tzinfo=UTC),
    ]
    assert told(row, "ChargePeriodStart", "ChargePeriodEnd") == [
        datetime(2026, 10, 31, 23, tzinfo=UTC),
        datetime(2026, 11, 1, tzinfo=UTC),
    ]


def test_cached_input_is_another_price_of_the_same_thing() -> None:
    fresh, cached = written(entry({Meter.AUDIO_IN: 1, Meter.AUDIO_IN_CACHED: 1}))
    assert fresh["SkuId"] == cached["SkuId"] == "openai/gpt-realtime/audio_in"
    assert fresh["SkuMeter"] == cached["SkuMeter"] == "Audio Input Tokens"
    assert fresh["SkuPriceId"] == "openai/gpt-realtime/audio_in/standard"
    assert cached["SkuPriceId"] == "openai/gpt-realtime/audio_in/cached"
    assert cached["SkuPriceDetails"] == {"x_Modality": "audio", "x_Direction": "input", "x_Cached": True}


def test_a_duration_is_consumed_in_seconds_and_priced_by_the_minute() -> None:
    (row,) = written(entry({Meter.DURATION_MS: 1_000}, Terms(card("own", 6_000_000))))
    assert told(row, "ConsumedQuantity", "ConsumedUnit") == ["1.000", "Seconds"]
    assert told(row, "PricingQuantity", "PricingUnit") == ["0.016666666666666667", "Minutes"]
    assert told(row, "ListUnitPrice", "ListCost") == ["0.006", "0.000100000"]
    assert row["SkuMeter"] == "Audio Duration"


def test_us_the_provider_charges_by_contract_beside_its_list() -> None:
    terms = Terms(card("contract", 20_000), public=card("public", 32_000), markup_bp=5_000)
    (row,) = written(entry({Meter.TEXT_OUT: 10}, terms), OPERATOR, Version.V1_4, card("public", 32_000))
    assert told(row, "ListUnitPrice", "ListCost") == ["32.0", "0.000320000"]
    assert told(row, "ContractedUnitPrice", "ContractedCost", "BilledCost") == ["20.0", *["0.000200000"] * 2]
    assert told(row, "InvoiceIssuerName", "ServiceProviderName", "HostProviderName") == ["OpenAI"] * 3
    assert told(row, "BillingAccountId", "BillingAccountType") == ["openai:org-1", "Organization"]
    assert told(row, "SubAccountId", "SubAccountName", "SubAccountType") == ["t1", "acme", "Tenant"]
    assert row["x_RateCardId"] == "contract"


def test_tenants_see_what_they_owe_to_the_operator_and_nothing_else() -> None:
    terms = Terms(card("contract", 20_000), public=card("public", 32_000), markup_bp=5_000)
    (row,) = written(
        entry({Meter.TEXT_OUT: 10}, terms), TENANT, Version.V1_2, card("public"), invoice="2026-10-0001"
    )
    assert told(row, "ListUnitPrice", "ContractedUnitPrice") == ["30.0", "30.0"]
    assert told(row, "ListCost", "ContractedCost", "EffectiveCost", "BilledCost") == ["0.000300000"] * 4
    assert told(row, "InvoiceIssuerName", "ProviderName", "PublisherName") == ["Voice Ltd"] * 2 + ["OpenAI"]
    assert told(row, "BillingAccountId", "BillingAccountName", "BillingAccountType") == [
        "t1",
        "acme",
        "Tenant",
    ]
    assert told(row, "SubAccountId", "SubAccountName", "SubAccountType") == ["p1", "web", "Project"]
    assert told(row, "InvoiceId", "x_RateCardId") == ["2026-10-0001", None]


def test_an_agreed_price_is_the_tenants_even_if_it_is_nothing() -> None:
    terms = Terms(card("own"), agreed=card("agreed", 0))
    (row,) = written(entry({Meter.TEXT_OUT: 10}, terms), TENANT, Version.V1_2, card("agreed", 0))
    assert told(row, "ContractedUnitPrice", "BilledCost") == ["0.0", "0.000000000"]


@pytest.mark.parametrize(("kind", "category"), [("adjustment", "Adjustment"), ("credit", "Credit")])
def test_adjustments_and_credits_are_rows_of_their_own(kind: str, category: str) -> None:
    (row,) = written(adjusted(kind, 0, -5_000_000_001), TENANT)
    assert told(row, "ChargeCategory", "ChargeFrequency") == [category, "One-Time"]
    assert told(row, "ListCost", "ContractedCost", "EffectiveCost", "BilledCost") == ["-5.000000001"] * 4
    assert row["ChargeDescription"] == "=so it is"


def test_what_moves_nothing_in_a_view_is_not_in_it() -> None:
    assert written(adjusted("credit", 0, -5), OPERATOR) == []
    assert written(adjusted("adjustment", 9, 0), TENANT) == []
    assert written(entry({})) == []


def test_a_reversal_in_an_open_month_is_a_plain_row_below_nothing() -> None:
    booked = entry({Meter.TEXT_IN: 10}, role="reversal", corrects=3)
    amount = -320_000
    taken_back = replace(
        booked.lines[0], quantity=-10, list_nanousd=amount, cost_nanousd=amount, billed_nanousd=amount
    )
    (row,) = written(replace(booked, lines=[taken_back], cost_nanousd=amount))
    assert told(row, "ChargeCategory", "ChargeClass", "BilledCost") == ["Usage", None, "-0.000320000"]
    assert told(row, "ConsumedQuantity", "ListUnitPrice", "x_CorrectsEntryId") == ["-10.0", "32.0", 3]


def test_what_concerns_a_closed_month_is_a_correction_billed_in_the_open_one() -> None:
    late = entry({Meter.TEXT_IN: 1}, corrects_period="2026-10", period="2026-12")
    assert billing_month(late) == "2026-12"
    (row,) = written(late)
    assert told(row, "ChargeClass", "x_CorrectsPeriod") == ["Correction", "2026-10"]
    assert row["BillingPeriodStart"] == datetime(2026, 12, 1, tzinfo=UTC)
    assert row["ChargePeriodStart"] == datetime(2026, 10, 31, 23, tzinfo=UTC)


def test_nothing_is_billed_before_it_is_charged() -> None:
    """In a zone behind UTC a correction can be accounted in October that is made in November there."""
    early = entry({Meter.TEXT_IN: 1}, corrects_period="2026-08", period="2026-09")
    assert billing_month(early) == "2026-10"
    assert billing_month(entry({}, period="2026-11")) == "2026-10"  # a zone ahead of UTC


def test_tags_are_as_they_were_given_and_null_without() -> None:
    (row,) = written(entry({Meter.TEXT_IN: 1}, tags={"team": "a", "call": "42"}))
    assert row["Tags"] == {"team": "a", "call": "42"}
    assert written(entry({Meter.TEXT_IN: 1}))[0]["Tags"] is None


def test_accounts_that_nobody_named_have_the_providers_name() -> None:
    (row,) = written(entry({Meter.TEXT_IN: 1}, account=None, provider="xai"))
    assert told(row, "BillingAccountId", "BillingAccountName", "PublisherName") == ["xai"] * 3


prices = st.integers(0, 10**9)
counts = st.dictionaries(st.sampled_from(METERS), st.integers(1, 10**9), min_size=1, max_size=4)


@given(
    counts,
    prices,
    prices,
    st.none() | prices,
    st.integers(-BASIS_POINTS, 100 * BASIS_POINTS),
    st.sampled_from(Version),
)
def test_rows_of_anything_keep_to_the_table_and_sum_to_the_ledger(
    used: Mapping[Meter, int], own: int, public: int, agreed: int | None, markup_bp: int, version: Version
) -> None:
    cards = [card("public", public), *([card("agreed", agreed)] if agreed is not None else [])]
    terms = Terms(card("own", own), cards[0], cards[1] if len(cards) > 1 else None, markup_bp)
    booked = entry(used, terms)
    for view, listed, cost in (
        (OPERATOR, booked.list_nanousd, booked.cost_nanousd),
        (TENANT, booked.billed_nanousd, booked.billed_nanousd),
    ):
        rows = written(booked, view, version, *cards)
        assert sum(row["ListCost"] for row in rows) * 10**9 == listed
        assert sum(row["BilledCost"] for row in rows) * 10**9 == cost
