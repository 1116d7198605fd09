"""What was counted: a provider's report turned into counts per meter.

Providers nest their figures: cached tokens are inside input tokens, per modality, and reasoning
tokens are inside text output. They are taken apart here and nowhere else. A report that does not
add up is clamped and flagged, never refused: the money was spent whatever the report says.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

COUNT_MAX = 1_000_000_000  # tokens or milliseconds in one report; more is a broken report


class Meter(StrEnum):
    """A thing that is counted and has a price. Tokens, but for `duration_ms`."""

    TEXT_IN = "text_in"
    TEXT_IN_CACHED = "text_in_cached"
    AUDIO_IN = "audio_in"
    AUDIO_IN_CACHED = "audio_in_cached"
    IMAGE_IN = "image_in"
    IMAGE_IN_CACHED = "image_in_cached"
    TEXT_OUT = "text_out"
    AUDIO_OUT = "audio_out"
    DURATION_MS = "duration_ms"
    # Tokens whose modality the provider did not tell. No rate card prices them, so they make an
    # entry unrated instead of cheap.
    UNTOLD_IN = "untold_in"
    UNTOLD_OUT = "untold_out"


INPUT_METERS = frozenset(
    {
        Meter.TEXT_IN,
        Meter.TEXT_IN_CACHED,
        Meter.AUDIO_IN,
        Meter.AUDIO_IN_CACHED,
        Meter.IMAGE_IN,
        Meter.IMAGE_IN_CACHED,
        Meter.UNTOLD_IN,
    }
)
OUTPUT_METERS = frozenset({Meter.TEXT_OUT, Meter.AUDIO_OUT, Meter.UNTOLD_OUT})


class Flag(StrEnum):
    """Something about a report that a reviewer of its entry should know."""

    USAGE_MISSING = "usage_missing"  # the provider reported no usage at all
    DETAILS_MISSING = "details_missing"  # totals without modalities: counted as untold
    TOTALS_DIFFER = "totals_differ"  # the parts are more than the total; the parts were taken
    CACHED_SPREAD = "cached_spread"  # cached total without modalities: text first, audio, image
    CACHED_CLAMPED = "cached_clamped"  # more cached than input: clamped to the input
    COUNT_CLAMPED = "count_clamped"  # a negative, fractional or absurd count was clamped
    NEVER_OPENED = "never_opened"  # finished without having been seen to start
    MODEL_UNKNOWN = "model_unknown"  # no rate card for the model, or no model was ever named
    METER_UNPRICED = "meter_unpriced"  # the rate card has no price for a used meter
    ESTIMATE_UPSTREAM_LOST = "upstream_lost"  # estimated: the upstream went away first
    ESTIMATE_LINGER_PASSED = "linger_passed"  # estimated: the upstream did not finish in time
    ESTIMATE_CRASH = "crash"  # estimated: this instance died while it was open


@dataclass(frozen=True, slots=True)
class Usage:
    """Counts per meter (zeros left out) and what was odd about the report they come from."""

    counts: Mapping[Meter, int] = field(default_factory=dict)
    flags: frozenset[Flag] = frozenset()

    @property
    def input_tokens(self) -> int:
        return sum(n for meter, n in self.counts.items() if meter in INPUT_METERS)

    @property
    def output_tokens(self) -> int:
        return sum(n for meter, n in self.counts.items() if meter in OUTPUT_METERS)


@dataclass(frozen=True, slots=True)
class ReportedTokens:
    """A provider's report as it stood on the wire; None is a field that was absent or null.

    Totals include cached tokens, and text output includes reasoning tokens.
    """

    total: float | None = None
    input: float | None = None
    output: float | None = None
    text_in: float | None = None
    audio_in: float | None = None
    image_in: float | None = None
    cached: float | None = None
    cached_text: float | None = None
    cached_audio: float | None = None
    cached_image: float | None = None
    text_out: float | None = None
    audio_out: float | None = None


@dataclass(frozen=True, slots=True)
class ReportedSeconds:
    """A report in seconds of audio."""

    seconds: float


Reported = ReportedTokens | ReportedSeconds


def measure(reported: Reported | None) -> Usage:
    """Return the counts that `reported` stands for; the parts always sum to its totals.

    Where the provider gave a total and less detail, the rest is counted as untold, so that
    `input_tokens` and `output_tokens` are never less than what was reported.
    """
    match reported:
        case None:
            return Usage(flags=frozenset({Flag.USAGE_MISSING}))
        case ReportedSeconds(seconds):
            return _Measuring().seconds(seconds)
        case ReportedTokens():
            return _Measuring().tokens(reported)


class _Measuring:
    """One report on its way to counts, with the flags gathered so far."""

    def __init__(self) -> None:
        self.flags: set[Flag] = set()

    def seconds(self, seconds: float) -> Usage:
        return self._usage({Meter.DURATION_MS: self._count(seconds * 1_000)})

    def tokens(self, reported: ReportedTokens) -> Usage:
        if reported == ReportedTokens():
            return Usage(flags=frozenset({Flag.USAGE_MISSING}))
        text, audio, image = (
            self._count(n) for n in (reported.text_in, reported.audio_in, reported.image_in)
        )
        output_text, output_audio = self._count(reported.text_out), self._count(reported.audio_out)
        untold_out = self._untold(reported.output, output_text + output_audio)
        untold_in = self._untold(reported.input, text + audio + image)
        self._check_total(
            reported, text + audio + image + untold_in + output_text + output_audio + untold_out
        )
        cached_text, cached_audio, cached_image = self._cached(reported, text, audio, image)
        return self._usage(
            {
                Meter.TEXT_IN: text - cached_text,
                Meter.TEXT_IN_CACHED: cached_text,
                Meter.AUDIO_IN: audio - cached_audio,
                Meter.AUDIO_IN_CACHED: cached_audio,
                Meter.IMAGE_IN: image - cached_image,
                Meter.IMAGE_IN_CACHED: cached_image,
                Meter.UNTOLD_IN: untold_in,
                Meter.TEXT_OUT: output_text,
                Meter.AUDIO_OUT: output_audio,
                Meter.UNTOLD_OUT: untold_out,
            }
        )

    def _count(self, number: float | None) -> int:
        """Return a count that can be billed: whole, not negative, not absurd."""
        if number is None:
            return 0
        if number != number:  # NaN
            self.flags.add(Flag.COUNT_CLAMPED)
            return 0
        count = round(min(max(number, 0), COUNT_MAX))
        if isinstance(number, int) and count != number or not 0 <= number <= COUNT_MAX:
            self.flags.add(Flag.COUNT_CLAMPED)
        return count

    def _untold(self, total: float | None, parts: int) -> int:
        """Return the tokens of `total` that no modality accounts for."""
        if total is None:
            return 0
        rest = self._count(total) - parts
        if rest < 0:
            self.flags.add(Flag.TOTALS_DIFFER)
        elif rest > 0:
            self.flags.add(Flag.DETAILS_MISSING)
        return max(rest, 0)

    def _check_total(self, reported: ReportedTokens, parts: int) -> None:
        if reported.total is not None and self._count(reported.total) != parts:
            self.flags.add(Flag.TOTALS_DIFFER)

    def _cached(self, reported: ReportedTokens, text: int, audio: int, image: int) -> tuple[int, int, int]:
        """Return the cached part of each modality, never more than its input.

        A cached total without modalities is spread over text, then audio, then images: a cache hit
        is a prefix, and instructions and tools stand at the front of every conversation.
        """
        told = (reported.cached_text, reported.cached_audio, reported.cached_image)
        inputs = (text, audio, image)
        if any(n is not None for n in told):
            return self._clamp_each([self._count(n) for n in told], inputs)
        rest = self._count(reported.cached)
        if rest:
            self.flags.add(Flag.CACHED_SPREAD)
        return self._spread(rest, inputs)

    def _clamp_each(self, cached: list[int], inputs: tuple[int, int, int]) -> tuple[int, int, int]:
        if any(c > n for c, n in zip(cached, inputs, strict=True)):
            self.flags.add(Flag.CACHED_CLAMPED)
        first, second, third = (min(c, n) for c, n in zip(cached, inputs, strict=True))
        return first, second, third

    def _spread(self, rest: int, inputs: tuple[int, int, int]) -> tuple[int, int, int]:
        spread = []
        for available in inputs:
            spread.append(min(rest, available))
            rest -= spread[-1]
        if rest:
            self.flags.add(Flag.CACHED_CLAMPED)
        first, second, third = spread
        return first, second, third

    def _usage(self, counts: dict[Meter, int]) -> Usage:
        return Usage({meter: n for meter, n in counts.items() if n}, frozenset(self.flags))
