"""What the simulator's answers cost, worked out a second time.

This table and this arithmetic are written independently of the proxy's rate cards, in `Decimal`
dollars instead of integer nano-dollars, so that a test that compares the two compares two people's
work. USD per million tokens, or per minute.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

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


def response_usd(model: str, usage: Mapping[str, Any]) -> Decimal | None:
    """Return the exact price of a full usage object as it stands in `response.done`.

    None for a model without a price.
    """
    price = RESPONSE_PRICES.get(undated(model))
    if price is None:
        return None
    into, out = usage["input_token_details"], usage["output_token_details"]
    cached = into["cached_tokens_details"]
    dollars: Decimal = (
        (into["text_tokens"] - cached["text_tokens"]) * price.text_in
        + cached["text_tokens"] * price.text_cached
        + (into["audio_tokens"] - cached["audio_tokens"]) * price.audio_in
        + cached["audio_tokens"] * price.audio_cached
        + (into["image_tokens"] - cached["image_tokens"]) * price.image_in
        + cached["image_tokens"] * price.image_cached
        + out["text_tokens"] * price.text_out
        + out["audio_tokens"] * price.audio_out
    )
    return dollars / MILLION


def transcription_usd(model: str, usage: Mapping[str, Any]) -> Decimal | None:
    """Return the price of a transcription's usage; a duration is rounded to the nano-dollar.

    None for a model without a price, or when the unit is not the one that the model is priced in.
    """
    price = TRANSCRIPTION_PRICES.get(undated(model))
    match price, usage["type"]:
        case MinutePrice(usd), "duration":
            seconds = Decimal(str(usage["seconds"]))
            return (seconds * usd / 60).quantize(NANO, ROUND_HALF_EVEN)
        case TokenPrice(), "tokens":
            details = usage["input_token_details"]
            dollars: Decimal = (
                details["text_tokens"] * price.text_in
                + details["audio_tokens"] * price.audio_in
                + usage["output_tokens"] * price.text_out
            )
            return dollars / MILLION
        case _:
            return None
