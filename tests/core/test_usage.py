"""Reports taken apart: counts that sum to the provider's totals, and flags for what does not."""

import math
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.usage import (
    COUNT_MAX,
    INPUT_METERS,
    OUTPUT_METERS,
    Flag,
    Meter,
    ReportedSeconds,
    ReportedTokens,
    Usage,
    measure,
)

# The `response.done` sample of the Realtime API (GA).
GA_SAMPLE = ReportedTokens(
    total=253,
    input=132,
    output=121,
    text_in=119,
    audio_in=13,
    image_in=0,
    cached=64,
    cached_text=64,
    cached_audio=0,
    cached_image=0,
    text_out=30,
    audio_out=91,
)

COUNTS = st.integers(0, 200_000)
ANYTHING = st.none() | st.integers() | st.floats() | st.just(10**400)


@st.composite
def consistent_reports(draw: st.DrawFn) -> ReportedTokens:
    """Draw a full report whose parts add up, and whose cached parts lie inside their modality."""
    text, audio, image, text_out, audio_out = (draw(COUNTS) for _ in range(5))
    cached = [draw(st.integers(0, n)) for n in (text, audio, image)]
    return ReportedTokens(
        total=text + audio + image + text_out + audio_out,
        input=text + audio + image,
        output=text_out + audio_out,
        text_in=text,
        audio_in=audio,
        image_in=image,
        cached=sum(cached),
        cached_text=cached[0],
        cached_audio=cached[1],
        cached_image=cached[2],
        text_out=text_out,
        audio_out=audio_out,
    )


ANY_REPORTS = st.builds(ReportedTokens, **{field.name: ANYTHING for field in fields(ReportedTokens)})


def spent(usage: Usage, *meters: Meter) -> int:
    return sum(usage.counts.get(meter, 0) for meter in meters)


def test_every_token_meter_is_input_or_output() -> None:
    assert set(Meter) - {Meter.DURATION_MS} == INPUT_METERS | OUTPUT_METERS
    assert not INPUT_METERS & OUTPUT_METERS


def test_the_ga_sample() -> None:
    usage = measure(GA_SAMPLE)
    assert usage == Usage(
        {
            Meter.TEXT_IN: 55,
            Meter.TEXT_IN_CACHED: 64,
            Meter.AUDIO_IN: 13,
            Meter.TEXT_OUT: 30,
            Meter.AUDIO_OUT: 91,
        }
    )
    assert (usage.input_tokens, usage.output_tokens) == (132, 121)


@given(consistent_reports())
def test_buckets_of_a_consistent_report_sum_to_its_totals(report: ReportedTokens) -> None:
    usage = measure(report)
    assert usage.flags == frozenset()
    assert (usage.input_tokens, usage.output_tokens) == (report.input, report.output)
    assert usage.input_tokens + usage.output_tokens == report.total
    assert spent(usage, Meter.TEXT_IN, Meter.TEXT_IN_CACHED) == report.text_in
    assert spent(usage, Meter.AUDIO_IN, Meter.AUDIO_IN_CACHED) == report.audio_in
    assert spent(usage, Meter.IMAGE_IN, Meter.IMAGE_IN_CACHED) == report.image_in
    cached = spent(usage, Meter.TEXT_IN_CACHED, Meter.AUDIO_IN_CACHED, Meter.IMAGE_IN_CACHED)
    assert cached == report.cached
    assert 0 not in usage.counts.values()


@given(consistent_reports())
def test_without_details_all_is_untold(report: ReportedTokens) -> None:
    bare = ReportedTokens(total=report.total, input=report.input, output=report.output)
    usage = measure(bare)
    assert spent(usage, Meter.UNTOLD_IN) == usage.input_tokens == report.input
    assert spent(usage, Meter.UNTOLD_OUT) == usage.output_tokens == report.output
    assert usage.flags == (frozenset({Flag.DETAILS_MISSING}) if report.total else frozenset())


@given(consistent_reports())
def test_a_total_alone_is_never_free(report: ReportedTokens) -> None:
    usage = measure(ReportedTokens(total=report.total))
    assert spent(usage, Meter.UNTOLD_IN) == report.total
    assert usage.flags == (frozenset({Flag.DETAILS_MISSING}) if report.total else frozenset())


@given(consistent_reports())
def test_a_total_tells_the_direction_that_is_missing(report: ReportedTokens) -> None:
    usage = measure(ReportedTokens(total=report.total, input=report.input))
    assert (usage.input_tokens, usage.output_tokens) == (report.input, report.output)
    usage = measure(ReportedTokens(total=report.total, output=report.output))
    assert (usage.input_tokens, usage.output_tokens) == (report.input, report.output)


@given(consistent_reports(), st.integers(1, 1_000))
def test_parts_that_exceed_the_total_are_taken_and_flagged(report: ReportedTokens, short: int) -> None:
    assert report.input is not None
    usage = measure(replace(report, input=max(report.input - short, 0), total=None))
    assert (usage.input_tokens, usage.output_tokens) == (report.input, report.output)
    assert usage.flags == (frozenset({Flag.TOTALS_DIFFER}) if report.input else frozenset())


@given(consistent_reports(), st.integers(1, 1_000))
def test_a_total_of_its_own_mind_is_flagged(report: ReportedTokens, more: int) -> None:
    assert report.total is not None
    usage = measure(replace(report, total=report.total + more))
    assert usage.flags == frozenset({Flag.TOTALS_DIFFER})
    assert (usage.input_tokens, usage.output_tokens) == (report.input, report.output)


@given(ANY_REPORTS)
def test_any_report_can_be_measured(report: ReportedTokens) -> None:
    usage = measure(report)
    assert all(isinstance(n, int) and 0 < n <= 3 * COUNT_MAX for n in usage.counts.values())


@given(ANY_REPORTS)
def test_nothing_reported_is_lost(report: ReportedTokens) -> None:
    """Whatever a total or a part says, within the limits, is counted in its direction."""
    usage = measure(report)

    def at_least(*numbers: float | None) -> int:
        counts = [n for n in numbers if n is not None and n == n]
        return sum(round(min(max(n, 0), COUNT_MAX)) for n in counts)

    assert usage.input_tokens >= at_least(report.input)
    assert usage.input_tokens >= at_least(report.text_in, report.audio_in, report.image_in)
    assert usage.output_tokens >= at_least(report.output)
    assert usage.output_tokens >= at_least(report.text_out, report.audio_out)


@given(ANY_REPORTS)
def test_cached_never_exceeds_its_input(report: ReportedTokens) -> None:
    usage = measure(report)

    def count(n: float | None) -> int:
        return 0 if n is None or n != n else round(min(max(n, 0), COUNT_MAX))

    assert spent(usage, Meter.TEXT_IN, Meter.TEXT_IN_CACHED) == count(report.text_in)
    assert spent(usage, Meter.AUDIO_IN, Meter.AUDIO_IN_CACHED) == count(report.audio_in)
    assert spent(usage, Meter.IMAGE_IN, Meter.IMAGE_IN_CACHED) == count(report.image_in)


@pytest.mark.parametrize(
    "report",
    [
        None,
        ReportedTokens(),
        ReportedTokens(cached=5),  # cached is inside an input that nobody told
        ReportedTokens(cached_text=5, cached_audio=1),
    ],
)
def test_no_usage_at_all(report: ReportedTokens | None) -> None:
    assert measure(report) == Usage(flags=frozenset({Flag.USAGE_MISSING}))


def test_a_report_of_nothing_is_no_missing_report() -> None:
    assert measure(ReportedTokens(total=0, input=0, output=0)) == Usage()


@pytest.mark.parametrize(
    "report",
    [
        ReportedTokens(input=5, text_in=5),
        ReportedTokens(output=5, text_out=5),
        ReportedTokens(audio_in=3, text_in=2),
    ],
)
def test_a_direction_that_is_not_told_is_flagged(report: ReportedTokens) -> None:
    assert measure(report).flags == frozenset({Flag.DETAILS_MISSING})


def test_less_detail_than_the_total_is_untold() -> None:
    usage = measure(replace(GA_SAMPLE, input=140, total=261))
    assert usage.counts[Meter.UNTOLD_IN] == 8
    assert usage.flags == frozenset({Flag.DETAILS_MISSING})


def cached_case(**changes: int | None) -> tuple[tuple[int, int, int], set[Flag]]:
    """Return the cached counts (text, audio, image) and flags of 100 text, 50 audio, 20 image in."""
    base = ReportedTokens(total=171, input=170, output=1, text_in=100, audio_in=50, image_in=20, text_out=1)
    usage = measure(replace(base, **changes))
    assert usage.input_tokens == 170
    cached = (Meter.TEXT_IN_CACHED, Meter.AUDIO_IN_CACHED, Meter.IMAGE_IN_CACHED)
    text, audio, image = (usage.counts.get(meter, 0) for meter in cached)
    return (text, audio, image), set(usage.flags)


def test_a_cached_total_is_spread_over_text_then_audio_then_images() -> None:
    assert cached_case(cached=64) == ((64, 0, 0), {Flag.CACHED_SPREAD})
    assert cached_case(cached=120) == ((100, 20, 0), {Flag.CACHED_SPREAD})
    assert cached_case(cached=160) == ((100, 50, 10), {Flag.CACHED_SPREAD})
    assert cached_case(cached=0) == ((0, 0, 0), set())


def test_more_cached_than_input_is_clamped() -> None:
    assert cached_case(cached=171) == ((100, 50, 20), {Flag.CACHED_SPREAD, Flag.CACHED_CLAMPED})
    assert cached_case(cached_text=101) == ((100, 0, 0), {Flag.CACHED_CLAMPED})
    assert cached_case(cached=384, cached_text=384) == ((100, 0, 0), {Flag.CACHED_CLAMPED})


def test_cached_details_that_say_less_than_the_cached_total_are_filled_up() -> None:
    assert cached_case(cached=64, cached_text=0, cached_audio=40) == ((24, 40, 0), {Flag.CACHED_SPREAD})
    assert cached_case(cached=64, cached_audio=0) == ((64, 0, 0), {Flag.CACHED_SPREAD})


def test_cached_details_that_say_more_than_the_cached_total_are_taken() -> None:
    assert cached_case(cached=10, cached_text=20) == ((20, 0, 0), {Flag.TOTALS_DIFFER})


def test_cached_tokens_within_untold_input_are_not_too_many() -> None:
    usage = measure(ReportedTokens(total=132, input=132, output=0, cached=64))
    assert usage == Usage({Meter.UNTOLD_IN: 132}, frozenset({Flag.DETAILS_MISSING}))
    usage = measure(ReportedTokens(total=132, input=132, output=0, cached=133))
    assert usage.flags == frozenset({Flag.DETAILS_MISSING, Flag.CACHED_CLAMPED})


@pytest.mark.parametrize(
    ("number", "count"),
    [
        (-1, 0),
        (-0.5, 0),
        (1.5, 2),
        (2.5, 2),
        (COUNT_MAX + 1, COUNT_MAX),
        (10**400, COUNT_MAX),
        (math.inf, COUNT_MAX),
        (-math.inf, 0),
        (math.nan, 0),
    ],
)
def test_counts_that_cannot_be_billed_are_clamped_and_flagged(number: float, count: int) -> None:
    usage = measure(ReportedTokens(output=0, text_out=0, text_in=number))
    assert spent(usage, Meter.TEXT_IN) == count
    assert usage.flags == frozenset({Flag.COUNT_CLAMPED})


@pytest.mark.parametrize("number", [0, 7, 7.0, COUNT_MAX, float(COUNT_MAX), True])
def test_counts_that_can_be_billed_are_not_flagged(number: float) -> None:
    usage = measure(ReportedTokens(output=0, text_out=0, text_in=number))
    assert (spent(usage, Meter.TEXT_IN), usage.flags) == (int(number), frozenset())


@pytest.mark.parametrize(
    ("seconds", "milliseconds", "flags"),
    [
        (3.4, 3_400, set()),
        (0, 0, set()),
        (0.0004, 0, set()),
        (1.1006, 1_101, set()),
        (60, 60_000, set()),
        (-1.0, 0, {Flag.COUNT_CLAMPED}),
        (math.nan, 0, {Flag.COUNT_CLAMPED}),
        (math.inf, COUNT_MAX, {Flag.COUNT_CLAMPED}),
        (1e308, COUNT_MAX, {Flag.COUNT_CLAMPED}),
        (10**400, COUNT_MAX, {Flag.COUNT_CLAMPED}),
    ],
)
def test_seconds_become_milliseconds(seconds: float, milliseconds: int, flags: set[Flag]) -> None:
    usage = measure(ReportedSeconds(seconds))
    assert (spent(usage, Meter.DURATION_MS), usage.flags) == (milliseconds, frozenset(flags))
    assert (usage.input_tokens, usage.output_tokens) == (0, 0)


@given(ANYTHING.filter(lambda n: n is not None))
def test_any_seconds_can_be_measured(seconds: float) -> None:
    assert 0 <= spent(measure(ReportedSeconds(seconds)), Meter.DURATION_MS) <= COUNT_MAX
