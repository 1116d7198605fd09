"""Estimates of output and transcription from what has passed."""

from datetime import UTC, datetime

import pytest

from proxy.core.estimate import audio_ms, output, text_tokens, transcription
from proxy.core.rating import Price, RateCard
from proxy.core.usage import Meter

AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("chars", "bytes_per_s", "ms"),
    [(64_000, 48_000, 1_000), (6_400, 48_000, 100), (10_668, 8_000, 1_000), (0, 48_000, 0)],
)
def test_base64_has_a_length_in_time(chars: int, bytes_per_s: int, ms: int) -> None:
    """24 kHz PCM is 48,000 bytes a second, 64,000 characters of base64; G.711 is 8,000."""
    assert audio_ms(chars, bytes_per_s) == ms


def test_a_started_token_is_a_token() -> None:
    assert [text_tokens(chars) for chars in (0, 1, 4, 5)] == [0, 1, 1, 2]
    assert output(101, 9) == {Meter.AUDIO_OUT: 3, Meter.TEXT_OUT: 3}


def test_a_transcription_is_estimated_in_the_unit_its_model_is_priced_in() -> None:
    by_time = RateCard("c1", "openai", "whisper-1", AT, {Meter.DURATION_MS: Price(6_000_000, 60_000)})
    by_token = RateCard(
        "c2", "openai", "t", AT, {Meter.AUDIO_IN: Price(1), Meter.DURATION_MS: Price(1, 60_000)}
    )
    assert transcription(2_500, by_time) == {Meter.DURATION_MS: 2_500}
    assert transcription(2_501, by_token) == {Meter.AUDIO_IN: 26, Meter.TEXT_OUT: 11}
    assert transcription(2_500, None) == {Meter.AUDIO_IN: 25, Meter.TEXT_OUT: 10}
