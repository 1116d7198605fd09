"""The provider's bill, put beside our meters."""

from datetime import date
from decimal import Decimal

import pytest

from proxy.core.bill import Cell, Charge, Charged, Count, bill
from proxy.core.line_items import LineItems, Rule
from proxy.core.usage import Meter
from tests.bill_rules import DEFAULTS

ON = date(2026, 11, 22)
ITEMS = LineItems([*DEFAULTS, Rule("gpt-4o*", None)])
MODEL = "gpt-realtime-2.1"


def cell(
    meter: Meter | None = Meter.AUDIO_IN, model: str | None = MODEL, line_item: str | None = None
) -> Cell:
    return Cell(ON, "proj_a", model, meter, line_item)


def charge(
    line_item: str | None,
    nanousd: int = 5,
    key: str | None = None,
    quantity: str | None = None,
    unit: str | None = "tokens",
) -> Charge:
    number = None if quantity is None else Decimal(quantity)
    return Charge(ON, "proj_a", key, line_item, nanousd, number, unit)


def test_keys_and_snapshots_are_summed() -> None:
    charges = [
        charge(f"{MODEL}, audio input", 5, "key_1", "10"),
        charge(f"{MODEL}-2026-06-01, audio input", 7, "key_2", "20"),
        charge(f"{MODEL}, audio input", 1, "key_1"),
    ]
    assert bill(charges, [], ITEMS, []) == {cell(): Charged(13, 30, {"key_1": 6, "key_2": 7})}


def test_what_no_rule_means_is_a_row_of_its_own_and_what_is_not_ours_is_none() -> None:
    charges = [charge("a surprise", 5), charge(None, 7), charge("gpt-4o, input", 9)]
    assert bill(charges, [], ITEMS, []) == {
        cell(None, None, "a surprise"): Charged(5),
        cell(None, None, "(no line item)"): Charged(7),
    }


@pytest.mark.parametrize(
    ("line_item", "quantity", "unit", "expected"),
    [
        ("audio input", "2.5", "1000_tokens", 2_500),
        ("audio input", "2.5", "images", None),
        ("audio input", "2.5", "duration_seconds", None),
        ("duration", "2.5", "duration_seconds", 2_500),
        ("duration", "0.5", "duration_minutes", 30_000),
        ("duration", "2", "duration_hours", 7_200_000),
        ("duration", "2", "tokens", None),
        ("duration", "2", None, None),
    ],
)
def test_units(line_item: str, quantity: str, unit: str | None, expected: int | None) -> None:
    (charged,) = bill([charge(f"{MODEL}, {line_item}", 5, None, quantity, unit)], [], ITEMS, []).values()
    assert charged.quantity == expected


def test_tokens_are_as_counted_and_times_as_charged_for() -> None:
    counts = [
        Count(ON, "proj_a", f"{MODEL}-2026-06-01", {Meter.AUDIO_IN: 7, Meter.AUDIO_OUT: 3}),
        Count(ON, "proj_a", MODEL, {Meter.AUDIO_IN: 1}),
        Count(ON, "proj_a", "whisper-1", {Meter.DURATION_MS: 3_000}),
        Count(ON, "proj_b", MODEL, {Meter.TEXT_IN: 9}),
    ]
    heard = cell(Meter.DURATION_MS, "whisper-1")
    charges = [
        charge(f"{MODEL}, audio input", 5, None, "100"),
        charge("whisper-1, duration", 5, None, "3.4", "duration_seconds"),
    ]
    ours = [cell(Meter.AUDIO_OUT), cell(None)]
    assert bill(charges, counts, ITEMS, ours) == {
        cell(): Charged(5, 8),
        heard: Charged(5, 3_400),
        cell(Meter.AUDIO_OUT): Charged(0, 3),
    }
    assert bill([], counts, ITEMS, [heard]) == {heard: Charged(0, 3_000)}


def test_projects_can_be_renamed() -> None:
    found = bill([charge(f"{MODEL}, audio input")], [], ITEMS, [], lambda project: f"the {project}")
    assert [one.project for one in found] == ["the proj_a"]
