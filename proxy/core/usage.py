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


METER_LABELS: Mapping[str, str] = {
    Meter.TEXT_IN: "Text input",
    Meter.TEXT_IN_CACHED: "Text input, cached",
    Meter.AUDIO_IN: "Audio input",
    Meter.AUDIO_IN_CACHED: "Audio input, cached",
    Meter.IMAGE_IN: "Image input",
    Meter.IMAGE_IN_CACHED: "Image input, cached",
    Meter.TEXT_OUT: "Text output",
    Meter.AUDIO_OUT: "Audio output",
    Meter.DURATION_MS: "Duration",
    Meter.UNTOLD_IN: "Input, kind unknown",
    Meter.UNTOLD_OUT: "Output, kind unknown",
}


def meter_label(meter: str) -> str:
    """Return what people call a meter; one that is no meter keeps its name."""
    return METER_LABELS.get(meter, meter)


class Modality(StrEnum):
    """What kind of content a meter counts."""

    TEXT = "text"
    AUDIO = "audio"  # its duration too
    IMAGE = "image"
    UNTOLD = "untold"


MODALITIES = {
    meter: Modality.AUDIO if meter is Meter.DURATION_MS else Modality(meter.partition("_")[0])
    for meter in Meter
}
CACHED_METERS = frozenset({Meter.TEXT_IN_CACHED, Meter.AUDIO_IN_CACHED, Meter.IMAGE_IN_CACHED})
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

    USAGE_MISSING = "usage_missing"  # the provider reported none at all; or nothing to estimate by
    DETAILS_MISSING = "details_missing"  # totals without modalities: counted as untold; or no figure at all
    TOTALS_DIFFER = "totals_differ"  # the parts are not what the total says; the parts were taken
    CACHED_SPREAD = "cached_spread"  # a cached total beyond its modalities: text first, audio, image
    CACHED_CLAMPED = "cached_clamped"  # more cached than input: clamped to the input
    COUNT_CLAMPED = "count_clamped"  # a negative, fractional or absurd count was clamped
    NEVER_OPENED = "never_opened"  # finished without having been seen to start
    BILLED_AGAIN = "billed_again"  # another bill for something booked already: an alarm, never booked
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

    @property
    def input_told(self) -> bool:
        return not (
            self.input is None and self.text_in is None and self.audio_in is None and self.image_in is None
        )

    @property
    def output_told(self) -> bool:
        return not (self.output is None and self.text_out is None and self.audio_out is None)


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
        return self._usage({Meter.DURATION_MS: self._count(seconds * 1_000, whole=False)})

    def tokens(self, reported: ReportedTokens) -> Usage:
        if not (reported.total is not None or reported.input_told or reported.output_told):
            return Usage(flags=frozenset({Flag.USAGE_MISSING}))
        text, audio, image = (
            self._count(n) for n in (reported.text_in, reported.audio_in, reported.image_in)
        )
        text_out, audio_out = self._count(reported.text_out), self._count(reported.audio_out)
        untold_in = self._untold(reported.input, text + audio + image)
        untold_out = self._untold(reported.output, text_out + audio_out)
        counted = text + audio + image + untold_in + text_out + audio_out + untold_out
        rest_in, rest_out = self._rest(reported, counted)
        untold_in += rest_in
        cached_text, cached_audio, cached_image = self._cached(reported, (text, audio, image), untold_in)
        return self._usage(
            {
                Meter.TEXT_IN: text - cached_text,
                Meter.TEXT_IN_CACHED: cached_text,
                Meter.AUDIO_IN: audio - cached_audio,
                Meter.AUDIO_IN_CACHED: cached_audio,
                Meter.IMAGE_IN: image - cached_image,
                Meter.IMAGE_IN_CACHED: cached_image,
                Meter.UNTOLD_IN: untold_in,
                Meter.TEXT_OUT: text_out,
                Meter.AUDIO_OUT: audio_out,
                Meter.UNTOLD_OUT: untold_out + rest_out,
            }
        )

    def _count(self, number: float | None, *, whole: bool = True) -> int:
        """Return a count that can be billed: whole, not negative, not absurd."""
        if number is None:
            return 0
        if number != number:  # NaN
            self.flags.add(Flag.COUNT_CLAMPED)
            return 0
        clamped = min(max(number, 0), COUNT_MAX)
        count = round(clamped)
        if clamped != number or (whole and count != number):
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

    def _rest(self, reported: ReportedTokens, counted: int) -> tuple[int, int]:
        """Return the input and output tokens that only the grand total accounts for.

        They are those of a direction that was not told. If both were, the grand total is compared
        and not billed.
        """
        both_told = reported.input_told and reported.output_told
        rest = 0 if reported.total is None else self._count(reported.total) - counted
        if rest < 0 or (rest and both_told):
            self.flags.add(Flag.TOTALS_DIFFER)
            return 0, 0
        if rest or (reported.total is None and not both_told):
            self.flags.add(Flag.DETAILS_MISSING)
        return (0, rest) if reported.input_told else (rest, 0)

    def _cached(
        self, reported: ReportedTokens, inputs: tuple[int, int, int], untold: int
    ) -> tuple[int, int, int]:
        """Return the cached part of each modality, never more than its input.

        What a cached total says beyond its modalities is spread over text, then audio, then images:
        a cache hit is a prefix, and instructions and tools stand at the front of every conversation.
        What lies in `untold` input is cached there, without a meter of its own.
        """
        told = [self._count(n) for n in (reported.cached_text, reported.cached_audio, reported.cached_image)]
        total = sum(told) if reported.cached is None else self._count(reported.cached)
        if sum(told) > total:
            self.flags.add(Flag.TOTALS_DIFFER)
        unplaced = max(total - sum(told), 0)
        cached = []
        for asked, available in zip(told, inputs, strict=True):
            spread = min(unplaced, max(available - asked, 0))
            unplaced -= spread
            cached.append(min(asked, available) + spread)
            if spread:
                self.flags.add(Flag.CACHED_SPREAD)
        if max(total, sum(told)) - sum(cached) > untold:
            self.flags.add(Flag.CACHED_CLAMPED)
        text, audio, image = cached
        return text, audio, image

    def _usage(self, counts: dict[Meter, int]) -> Usage:
        return Usage({meter: n for meter, n in counts.items() if n}, frozenset(self.flags))
