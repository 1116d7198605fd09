"""Reading LiteLLM's and genai-prices' files: real excerpts, exactness, and what is no such file."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.rating import PER_MINUTE, Price
from proxy.core.usage import Meter
from proxy.store import StoreError
from proxy.store.published_prices import Published, Source, read_published, source_of

FILES = Path(__file__).parent / "published"
LITELLM = (FILES / "litellm.json").read_text()
GENAI = (FILES / "genai-prices.json").read_text()


def models(text: str, source: Source, provider: str = "openai") -> dict[str, Published]:
    return {one.model: one for one in read_published(text, source, provider)}


def of_litellm(**facts: Any) -> Published:
    text = json.dumps({"m": {"litellm_provider": "openai", **facts}})
    return models(text, "litellm")["m"]


def exactly(member: str, usd: Decimal) -> Published:
    """Return a model with one price, written as it is."""
    facts = {"m": {"litellm_provider": "openai", member: "…"}}
    return models(json.dumps(facts).replace('"\\u2026"', f"{usd:f}"), "litellm")["m"]


def test_a_realtime_model_of_litellm() -> None:
    one = models(LITELLM, "litellm")["gpt-realtime-2.1"]
    assert one == Published(
        "gpt-realtime-2.1",
        True,
        {
            Meter.TEXT_IN: Price(4_000),
            Meter.TEXT_IN_CACHED: Price(400),
            Meter.AUDIO_IN: Price(32_000),
            Meter.AUDIO_IN_CACHED: Price(400),
            Meter.IMAGE_IN: Price(5_000),
            Meter.IMAGE_IN_CACHED: Price(500),
            Meter.TEXT_OUT: Price(24_000),
            Meter.AUDIO_OUT: Price(64_000),
        },
    )


def test_seconds_are_prices_a_minute_and_only_where_there_are_no_tokens() -> None:
    found = models(LITELLM, "litellm")
    assert found["whisper-1"].prices == {Meter.DURATION_MS: Price(6_000_000, PER_MINUTE)}
    assert found["gpt-realtime-whisper"].prices == {Meter.DURATION_MS: Price(17_000_000, PER_MINUTE)}
    assert Meter.DURATION_MS not in found["gpt-4o-transcribe"].prices
    assert found["gpt-4o-transcribe"].is_voice and not found["gpt-4o"].is_voice


def test_another_provider_has_its_own_models() -> None:
    assert list(models(LITELLM, "litellm", "azure")) == ["gpt-realtime-2025-08-28"]
    assert "sample_spec" not in models(LITELLM, "litellm")


def test_prices_that_depend_on_the_length_are_named() -> None:
    (why,) = models(LITELLM, "litellm")["gpt-6-astra"].left_out
    assert "_above_" in why and "one price for each meter" in why


def test_a_realtime_model_of_genai_prices_by_all_its_names() -> None:
    found = models(GENAI, "genai-prices")
    assert found["gpt-realtime"].prices[Meter.AUDIO_OUT] == Price(64_000)
    assert found["gpt-realtime"].prices[Meter.AUDIO_IN_CACHED] == Price(400)
    for name in ("gpt-realtime-1.5", "gpt-realtime-2025-08-28"):
        assert found[name].prices == found["gpt-realtime"].prices
    assert found["gpt-realtime-2"].prices[Meter.TEXT_OUT] == Price(24_000)
    assert found["gpt-4o-mini-transcribe"].is_voice


def test_prices_of_genai_prices_that_depend_on_something_are_named() -> None:
    tiered = models(GENAI, "genai-prices")["gpt-5.4"]
    assert Meter.TEXT_IN not in tiered.prices
    assert tiered.left_out[0] == "input_mtok: it has tiers, and a card has one price for each meter"
    timed = models(GENAI, "genai-prices", "deepseek")["deepseek-chat"]
    assert timed.prices == {} and "depend on the time" in timed.left_out[0]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (1.5e-10, "finer than a nano-dollar"),
        (-1e-6, "not between 0"),
        (2.0, "not between 0 and one dollar"),
        ("free", "'free' is not an amount"),
        (True, "'True' is not an amount"),
        ([], "is not an amount"),
    ],
)
def test_a_price_that_cannot_be_is_left_out_and_named(value: object, why: str) -> None:
    one = of_litellm(input_cost_per_token=value, output_cost_per_token=1e-6)
    assert one.prices == {Meter.TEXT_OUT: Price(1_000)}
    assert one.left_out[0].startswith("input_cost_per_token: ") and why in one.left_out[0]


@pytest.mark.parametrize(
    "number", ["1e999999999", "1e-999999999", "0." + "3" * 40, "12345678901234567890123"]
)
def test_numbers_beyond_all_measure_cost_nothing_to_refuse(number: str) -> None:
    facts = '{"m": {"litellm_provider": "openai", "input_cost_per_token": %s, "input_cost_per_second": %s}}'
    one = models(facts % (number, number), "litellm")["m"]
    assert one.prices == {} and len(one.left_out) == 2


@given(st.integers(0, 1_000_000_000), st.integers(12, 15))
def test_a_price_a_minute_survives_being_written_a_second(nanousd: int, places: int) -> None:
    second = (Decimal(nanousd).scaleb(-9) / 60).quantize(Decimal(1).scaleb(-places))
    prices = exactly("input_cost_per_second", second).prices
    assert prices == {Meter.DURATION_MS: Price(nanousd, PER_MINUTE)}


@given(st.integers(0, 10**9))
def test_a_price_a_token_is_never_rounded(nanousd: int) -> None:
    exact = exactly("input_cost_per_token", Decimal(nanousd).scaleb(-9))
    assert exact.prices == {Meter.TEXT_IN: Price(nanousd)}
    finer = exactly("input_cost_per_token", Decimal(nanousd).scaleb(-9) + Decimal("0.0000000001"))
    assert finer.prices == {} and finer.left_out


@pytest.mark.parametrize(
    ("text", "source", "why"),
    [
        ("", "litellm", "not JSON"),
        ("{", "genai-prices", "not JSON"),
        ('{"m": {"x": NaN}}', "litellm", "NaN is no number"),
        ("[" * 100_000, "genai-prices", "not JSON"),
        ("[]", "litellm", "one object, with an object for each model"),
        ('{"m": 1}', "litellm", "one object, with an object for each model"),
        ("{}", "litellm", "no models of 'openai'"),
        ("{}", "genai-prices", "a list, with an object for each provider"),
        ("[1]", "genai-prices", "a list, with an object for each provider"),
        ('[{"id": "openai", "models": [1]}]', "genai-prices", "a model of it is no object"),
        ('[{"id": "openai", "models": 1}]', "genai-prices", "no models of 'openai'"),
        (" " * (8 * 1024 * 1024 + 1), "litellm", "more than 8,388,608 characters"),
    ],
)
def test_what_is_no_such_file_is_told(text: str, source: Source, why: str) -> None:
    with pytest.raises(StoreError, match=why):
        read_published(text, source, "openai")


def test_a_published_file_is_recognised() -> None:
    assert source_of(LITELLM) == "litellm"
    assert source_of(GENAI) == "genai-prices"
    assert source_of('{"format": "talkmeter-rate-cards/1"}') is None
    assert source_of("provider,model") is None
