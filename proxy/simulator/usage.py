"""Token arithmetic: how much of a conversation is billed, and how much of it was cached.

A prompt is a list of segments in the order the model reads them: instructions, tools, then every
item's parts. Two prompts share a prefix as far as their segments are equal.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Modality = Literal["text", "audio", "image"]

TICKS_PER_MS = 24  # a tick is one sample at 24 kHz
USER_TOKEN_MS = 100  # user audio: one token per 100 ms
VOICE_TOKEN_MS = 50  # assistant audio: one token per 50 ms, also when it is read again
CHARACTERS_PER_TOKEN = 4
IMAGE_TOKENS = {"low": 85, "high": 323, "auto": 323}


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of tokens of one modality; equal keys stand for equal content."""

    key: object
    modality: Modality
    tokens: int


@dataclass(frozen=True, slots=True)
class Counts:
    """Tokens per modality."""

    text: int = 0
    audio: int = 0
    image: int = 0

    @property
    def total(self) -> int:
        return self.text + self.audio + self.image


@dataclass(frozen=True, slots=True)
class Generated:
    """Output tokens of one response; `text` includes `reasoning`."""

    text: int = 0
    audio: int = 0
    reasoning: int = 0

    @property
    def total(self) -> int:
        return self.text + self.audio


def text_tokens(text: str) -> int:
    """Return the tokens of a text: four characters each, rounded up; 0 only for no text at all."""
    return math.ceil(len(text) / CHARACTERS_PER_TOKEN)


def user_audio_tokens(ticks: int) -> int:
    """Return the tokens of user audio, a started 100 ms counting whole."""
    return math.ceil(ticks / (USER_TOKEN_MS * TICKS_PER_MS))


def count(segments: Iterable[Segment]) -> Counts:
    """Return the tokens of a prompt per modality."""
    totals = {"text": 0, "audio": 0, "image": 0}
    for segment in segments:
        totals[segment.modality] += segment.tokens
    return Counts(**totals)


def cached(before: Sequence[Segment], now: Sequence[Segment], step: int, minimum: int) -> Counts:
    """Return the tokens of `now` that a cache filled with `before` serves, per modality.

    The common prefix counts in whole steps, and not at all below `minimum`; the tokens of the
    prefix are taken in order, so a step can end within a segment.
    """
    prefix: list[Segment] = []
    for old, new in zip(before, now, strict=False):
        if old != new:
            break
        prefix.append(new)
    shared = sum(segment.tokens for segment in prefix)
    left = shared // step * step if shared >= minimum else 0
    taken: list[Segment] = []
    for segment in prefix:
        tokens = min(left, segment.tokens)
        taken.append(Segment(segment.key, segment.modality, tokens))
        left -= tokens
    return count(taken)


def response_usage(read: Counts, cached: Counts, generated: Generated) -> dict[str, Any]:
    """Return the `usage` object of a `response.done`."""
    output = {"text_tokens": generated.text, "audio_tokens": generated.audio}
    if generated.reasoning:
        output["reasoning_tokens"] = generated.reasoning
    return {
        "total_tokens": read.total + generated.total,
        "input_tokens": read.total,
        "output_tokens": generated.total,
        "input_token_details": {
            "text_tokens": read.text,
            "audio_tokens": read.audio,
            "image_tokens": read.image,
            "cached_tokens": cached.total,
            "cached_tokens_details": {
                "text_tokens": cached.text,
                "audio_tokens": cached.audio,
                "image_tokens": cached.image,
            },
        },
        "output_token_details": output,
    }


def transcription_usage(ticks: int, prompt: str, transcript: str, *, by_duration: bool) -> dict[str, Any]:
    """Return the `usage` object of a finished transcription of `ticks` of audio."""
    if by_duration:
        return {"type": "duration", "seconds": round(ticks / TICKS_PER_MS / 1000, 3)}
    text, audio, output = text_tokens(prompt), user_audio_tokens(ticks), text_tokens(transcript)
    return {
        "type": "tokens",
        "total_tokens": text + audio + output,
        "input_tokens": text + audio,
        "input_token_details": {"text_tokens": text, "audio_tokens": audio},
        "output_tokens": output,
    }
