"""What the simulator's answers cost, worked out a second time.

This table and this arithmetic are written independently of the proxy's rate cards, in `Decimal`
dollars instead of integer nano-dollars, so that a test that compares the two compares two people's
work. USD per million tokens, or per minute.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, NamedTuple

MILLION = Decimal(1_000_000)
NANO = Decimal("0.000000001")


@dataclass(frozen=True, slots=True)
class TokenPrice:
    """USD per million tokens; a modality's cached price applies to the cached part of its input."""

    text_in: Decimal
    text_cached: Decimal
    text_out: Decimal
    audio_in: Decimal
    audio_cached: Decimal
    audio_out: Decimal
    image_in: Decimal
    image_cached: Decimal


@dataclass(frozen=True, slots=True)
class MinutePrice:
    """USD per minute of audio."""

    usd: Decimal


def _tokens(text: str, audio: str, image: str = "0 0") -> TokenPrice:
    """Return a price from `"in cached out"`, `"in cached out"` and `"in cached"`."""
    return TokenPrice(*(Decimal(number) for number in f"{text} {audio} {image}".split()))


_REALTIME_2 = _tokens("4 0.40 24", "32 0.40 64", "5 0.50")
_REALTIME_1 = _tokens("4 0.40 16", "32 0.40 64", "5 0.50")
_REALTIME_MINI = _tokens("0.60 0.06 2.40", "10 0.30 20", "0.80 0.08")

RESPONSE_PRICES: Mapping[str, TokenPrice] = {
    "gpt-realtime-2.1": _REALTIME_2,
    "gpt-realtime-2.1-mini": _REALTIME_MINI,
    "gpt-realtime-2": _REALTIME_2,
    "gpt-realtime-1.5": _REALTIME_1,
    "gpt-realtime": _REALTIME_1,
    "gpt-realtime-mini": _REALTIME_MINI,
    "gpt-4o-realtime-preview": _tokens("5 2.50 20", "40 2.50 80"),
    "gpt-4o-mini-realtime-preview": _tokens("0.60 0.30 2.40", "10 0.30 20"),
}

# The audio-input price of the gpt-4o transcription models is disputed between sources (2.50 or 6,
# 1.25 or 3); only the higher one agrees with the vendor's own estimate per minute.
TRANSCRIPTION_PRICES: Mapping[str, TokenPrice | MinutePrice] = {
    "gpt-4o-transcribe": _tokens("2.50 2.50 10", "6 6 0"),
    "gpt-4o-transcribe-diarize": _tokens("2.50 2.50 10", "6 6 0"),
    "gpt-4o-mini-transcribe": _tokens("1.25 1.25 5", "3 3 0"),
    "gpt-transcribe": MinutePrice(Decimal("0.0045")),
    "gpt-realtime-whisper": MinutePrice(Decimal("0.017")),
    "gpt-live-transcribe": MinutePrice(Decimal("0.017")),
    "whisper-1": MinutePrice(Decimal("0.006")),
}


def undated(model: str) -> str:
    """Return the alias that a dated snapshot (`…-2026-06-01`) belongs to."""
    parts = model.rsplit("-", 3)
    dated = len(parts) == 4 and [len(p) for p in parts[1:]] == [4, 2, 2] and "".join(parts[1:]).isdigit()
    return parts[0] if dated else model


class Part(NamedTuple):
    """One line of a bill: `text input`, `cached audio input`, …; tokens, or seconds of a duration."""

    name: str
    quantity: Decimal
    usd: Decimal


def response_parts(model: str, usage: Mapping[str, Any]) -> list[Part] | None:
    """Return the bill of a full usage object as it stands in `response.done`.

    None for a model without a price.
    """
    price = RESPONSE_PRICES.get(undated(model))
    if price is None:
        return None
    into, out = usage["input_token_details"], usage["output_token_details"]
    cached = into["cached_tokens_details"]
    return [
        _part("text input", into["text_tokens"] - cached["text_tokens"], price.text_in),
        _part("cached text input", cached["text_tokens"], price.text_cached),
        _part("audio input", into["audio_tokens"] - cached["audio_tokens"], price.audio_in),
        _part("cached audio input", cached["audio_tokens"], price.audio_cached),
        _part("image input", into["image_tokens"] - cached["image_tokens"], price.image_in),
        _part("cached image input", cached["image_tokens"], price.image_cached),
        _part("text output", out["text_tokens"], price.text_out),
        _part("audio output", out["audio_tokens"], price.audio_out),
    ]


def response_usd(model: str, usage: Mapping[str, Any]) -> Decimal | None:
    """Return the exact price of a response's usage; None for a model without a price."""
    return _sum(response_parts(model, usage))


def transcription_parts(model: str, usage: Mapping[str, Any]) -> list[Part] | None:
    """Return the bill of a transcription's usage; a duration's price is rounded to the nano-dollar.

    None for a model without a price, or when the unit is not the one that the model is priced in.
    """
    price = TRANSCRIPTION_PRICES.get(undated(model))
    match price, usage["type"]:
        case MinutePrice(usd), "duration":
            seconds = Decimal(str(usage["seconds"]))
            return [Part("duration", seconds, (seconds * usd / 60).quantize(NANO, ROUND_HALF_EVEN))]
        case TokenPrice(), "tokens":
            details = usage["input_token_details"]
            return [
                _part("text input", details["text_tokens"], price.text_in),
                _part("audio input", details["audio_tokens"], price.audio_in),
                _part("text output", usage["output_tokens"], price.text_out),
            ]
        case _:
            return None


def transcription_usd(model: str, usage: Mapping[str, Any]) -> Decimal | None:
    """Return the price of a transcription's usage; None where it has none."""
    return _sum(transcription_parts(model, usage))


def _part(name: str, tokens: int, usd_per_million: Decimal) -> Part:
    return Part(name, Decimal(tokens), tokens * usd_per_million / MILLION)


def _sum(parts: list[Part] | None) -> Decimal | None:
    return None if parts is None else sum((part.usd for part in parts), Decimal(0))
