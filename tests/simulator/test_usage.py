"""Token arithmetic: sizes, shared prefixes in steps, and the usage objects."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.simulator.usage import (
    Counts,
    Generated,
    Segment,
    cached,
    count,
    response_usage,
    text_tokens,
    transcription_usage,
    user_audio_tokens,
)

INSTRUCTIONS = Segment("instructions", "text", 100)
HEARD = Segment("heard", "audio", 50)
SEEN = Segment("seen", "image", 85)
SAID = Segment("said", "audio", 200)


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2)])
def test_four_characters_a_token(text: str, tokens: int) -> None:
    assert text_tokens(text) == tokens


@pytest.mark.parametrize(("ms", "tokens"), [(0, 0), (1, 1), (100, 1), (101, 2), (2_300, 23)])
def test_a_token_per_100_ms_of_the_user(ms: int, tokens: int) -> None:
    assert user_audio_tokens(ms * 24) == tokens


def test_the_cache_serves_whole_steps_of_the_common_prefix() -> None:
    before, now = [INSTRUCTIONS, HEARD], [INSTRUCTIONS, HEARD, SEEN, SAID]
    # 150 tokens are shared; two steps of 64 are 128: all 100 of the text, 28 of the audio
    assert cached(before, now, 64, 64) == Counts(text=100, audio=28)
    assert count(now) == Counts(text=100, audio=250, image=85)


def test_nothing_is_cached_below_the_minimum() -> None:
    assert cached([INSTRUCTIONS], [INSTRUCTIONS, HEARD], 64, 128) == Counts()
    assert cached([], [INSTRUCTIONS], 64, 0) == Counts()


def test_what_changes_in_front_breaks_the_cache() -> None:
    other = Segment("other instructions", "text", 100)
    assert cached([INSTRUCTIONS, HEARD, SAID], [other, HEARD, SAID], 64, 64) == Counts()


def test_what_is_missing_in_the_middle_ends_the_prefix() -> None:
    before, now = [INSTRUCTIONS, HEARD, SAID], [INSTRUCTIONS, SAID]
    assert cached(before, now, 64, 64) == Counts(text=64)


segments = st.lists(
    st.builds(Segment, st.integers(0, 3), st.sampled_from(["text", "audio", "image"]), st.integers(0, 300))
)


@given(segments, segments, st.integers(1, 256), st.integers(0, 256))
def test_cached_is_never_more_than_read(
    before: list[Segment], now: list[Segment], step: int, least: int
) -> None:
    hit, read = cached(before, now, step, least), count(now)
    assert hit.text <= read.text and hit.audio <= read.audio and hit.image <= read.image
    assert hit.total % step == 0


def test_a_response_usage_adds_up() -> None:
    usage = response_usage(Counts(119, 13, 5), Counts(64, 3, 2), Generated(30, 91, reasoning=12))
    assert usage == {
        "total_tokens": 258,
        "input_tokens": 137,
        "output_tokens": 121,
        "input_token_details": {
            "text_tokens": 119,
            "audio_tokens": 13,
            "image_tokens": 5,
            "cached_tokens": 69,
            "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 3, "image_tokens": 2},
        },
        "output_token_details": {"text_tokens": 30, "audio_tokens": 91, "reasoning_tokens": 12},
    }


def test_transcription_usage_by_tokens_and_by_duration() -> None:
    by_tokens = transcription_usage(24 * 1_250, "hint", "Hello there", by_duration=False)
    assert by_tokens == {
        "type": "tokens",
        "total_tokens": 17,
        "input_tokens": 14,
        "input_token_details": {"text_tokens": 1, "audio_tokens": 13},
        "output_tokens": 3,
    }
    by_duration = transcription_usage(24 * 1_250, "hint", "Hello there", by_duration=True)
    assert by_duration == {"type": "duration", "seconds": 1.25}
