"""Formats, loudness, and the tone: lengths that agree with tokens to the byte."""

import base64

import pytest

from proxy.simulator.audio import FORMATS, PCM, PCMA, PCMU, TONE_PEAK, Format, peak, silence, spoken, tone

EACH_FORMAT = pytest.mark.parametrize("fmt", FORMATS.values(), ids=list(FORMATS))


@EACH_FORMAT
def test_a_second_has_its_bytes(fmt: Format) -> None:
    per_second = 48_000 if fmt is PCM else 8_000
    assert len(tone(1_000, fmt)) == len(silence(1_000, fmt)) == per_second
    assert fmt.ticks(per_second) == 24_000
    assert fmt.size(24_000) == per_second


def test_half_a_sample_lasts_nothing() -> None:
    assert PCM.ticks(4_801) == 2_400


@EACH_FORMAT
def test_a_token_of_speech_is_50_ms(fmt: Format) -> None:
    assert base64.b64decode(spoken(3, fmt)) == tone(150, fmt)


@EACH_FORMAT
def test_the_tone_is_loud_and_silence_is_not(fmt: Format) -> None:
    assert TONE_PEAK * 0.9 < peak(tone(20, fmt), fmt) < TONE_PEAK * 1.1
    assert peak(silence(20, fmt), fmt) < 128
    assert peak(b"", fmt) == 0


def test_peaks_at_the_ends_of_the_scales() -> None:
    assert peak((-32_768).to_bytes(2, "little", signed=True), PCM) == 32_768
    # G.711: both laws reach 32,124 and 32,256; the table keeps steps of 128
    assert peak(b"\x00", PCMU) == peak(b"\x80", PCMU) == 32_124 // 128 * 128
    assert peak(b"\x2a", PCMA) == peak(b"\xaa", PCMA) == 32_256 // 128 * 128
