"""The simulator's own prices: known sums, and what has none."""

from decimal import Decimal

import pytest

from proxy.simulator.prices import response_usd, transcription_usd, undated
from proxy.simulator.usage import Counts, Generated, response_usage

USAGE = response_usage(Counts(119, 13, 0), Counts(64, 0, 0), Generated(30, 91))


def test_the_published_sample_costs_what_it_does_by_hand() -> None:
    # 55 × 4 + 64 × 0.40 + 13 × 32 + 30 × 24 + 91 × 64 = 220 + 25.6 + 416 + 720 + 5824 = 7205.6
    assert response_usd("gpt-realtime-2.1", USAGE) == Decimal("0.0072056")


def test_images_and_cached_audio_have_their_own_prices() -> None:
    usage = response_usage(Counts(310, 204, 323), Counts(256, 128, 100), Generated(24, 60))
    # text 54 × 4 + 256 × 0.40; audio 76 × 32 + 128 × 0.40; image 223 × 5 + 100 × 0.50; out 24 × 16 + 60 × 64
    by_hand = Decimal("216") + Decimal("102.4") + 2432 + Decimal("51.2") + 1115 + 50 + 384 + 3840
    assert response_usd("gpt-realtime-1.5", usage) == by_hand / 1_000_000


def test_a_dated_snapshot_costs_what_its_alias_does() -> None:
    assert undated("gpt-realtime-2025-08-28") == "gpt-realtime"
    assert undated("gpt-realtime-2.1-mini") == "gpt-realtime-2.1-mini"
    assert response_usd("gpt-realtime-2.1-2026-06-01", USAGE) == response_usd("gpt-realtime-2.1", USAGE)


def test_an_unknown_model_has_no_price() -> None:
    assert response_usd("gpt-surprise", USAGE) is None
    assert transcription_usd("gpt-surprise", {"type": "duration", "seconds": 1}) is None


def test_transcription_in_tokens() -> None:
    details = {"text_tokens": 2, "audio_tokens": 13}
    usage = {"type": "tokens", "input_token_details": details, "output_tokens": 9}
    # 2 × 2.50 + 13 × 6 + 9 × 10 = 173
    assert transcription_usd("gpt-4o-transcribe", usage) == Decimal("0.000173")
    assert transcription_usd("whisper-1", usage) is None


@pytest.mark.parametrize(
    ("model", "seconds", "usd"),
    [
        ("gpt-realtime-whisper", 3.4, "0.000963333"),  # 3.4 × 0.017 / 60 = 0.00096333…
        ("whisper-1", 60, "0.006"),
        ("gpt-transcribe", 0.002, "0.000000150"),
        ("whisper-1", 0.00001, "0.000000001"),  # exactly 1 nano-dollar
        ("whisper-1", 0.000005, "0"),  # a half goes to the even neighbour
        ("whisper-1", 0.000015, "0.000000002"),
    ],
)
def test_a_duration_is_rounded_once_half_to_even(model: str, seconds: float, usd: str) -> None:
    assert transcription_usd(model, {"type": "duration", "seconds": seconds}) == Decimal(usd)
