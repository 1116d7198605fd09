"""A session's account: parts that sum to the amount, growth, and where the cache broke."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.rating import Price, RateCard, Terms, rate
from proxy.core.records import Kind, Role
from proxy.core.session_account import (
    Because,
    Break,
    Explained,
    Growth,
    Part,
    Share,
    Thing,
    account,
    sums,
)
from proxy.core.usage import CACHED_METERS, INPUT_METERS, Meter, Usage

NOW = datetime(2026, 11, 23, tzinfo=UTC)
PRICES = {
    Meter.TEXT_IN: 4_000,
    Meter.TEXT_IN_CACHED: 400,
    Meter.AUDIO_IN: 32_000,
    Meter.AUDIO_IN_CACHED: 400,
    Meter.IMAGE_IN: 5_000,
    Meter.IMAGE_IN_CACHED: 500,
    Meter.TEXT_OUT: 24_000,
    Meter.AUDIO_OUT: 64_000,
}
CARD = RateCard("c1", "openai", "m", NOW, {meter: Price(price) for meter, price in PRICES.items()})
TERMS = Terms(CARD, markup_bp=1_000)


def thing(id: int, counts: Mapping[Meter, int], *, terms: Terms = TERMS, **facts: Any) -> Thing:
    rated = rate(Usage(counts), terms)
    billed = None
    if rated.cost_nanousd is not None:
        billed = sum(line.billed_nanousd or 0 for line in rated.lines)
    given: dict[str, Any] = {
        "kind": Kind.RESPONSE,
        "role": Role.ORIGINAL,
        "model": "m",
        "estimated": False,
        "corrects": None,
        "lines": rated.lines,
        "cost_nanousd": rated.cost_nanousd,
        "billed_nanousd": billed,
        "terms": terms,
    }
    return Thing(id=id, **given | facts)


def corrections(one: Thing, terms: Terms = TERMS) -> tuple[Thing, Thing]:
    """Return the reversal and the replacement of a thing."""
    lines = [
        msgspec.structs.replace(
            line,
            quantity=-line.quantity,
            cost_nanousd=_minus(line.cost_nanousd),
            billed_nanousd=_minus(line.billed_nanousd),
        )
        for line in one.lines
    ]
    taken_back = replace(
        one,
        id=one.id + 1_000,
        role=Role.REVERSAL,
        corrects=one.id,
        lines=lines,
        cost_nanousd=_minus(one.cost_nanousd),
        billed_nanousd=_minus(one.billed_nanousd),
    )
    again = thing(
        one.id + 2_000,
        {line.meter: line.quantity for line in one.lines},
        terms=terms,
        role=Role.REPLACEMENT,
        corrects=one.id,
    )
    return taken_back, again


def _minus(amount: int | None) -> int | None:
    return None if amount is None else -amount


FIRST = {Meter.TEXT_IN: 700, Meter.AUDIO_IN: 100, Meter.AUDIO_OUT: 50, Meter.TEXT_OUT: 10}


def test_what_a_conversation_is_made_of() -> None:
    """The second response hits the cache in whole blocks; for the third nothing is cached any more."""
    second = {Meter.TEXT_IN: 76, Meter.TEXT_IN_CACHED: 640, Meter.AUDIO_IN: 236, Meter.AUDIO_IN_CACHED: 64}
    third = {Meter.TEXT_IN: 720, Meter.AUDIO_IN: 400, Meter.IMAGE_IN: 300, Meter.IMAGE_IN_CACHED: 5}
    first, heard, then, last = account(
        [
            thing(1, FIRST),
            thing(2, {Meter.AUDIO_IN: 30, Meter.TEXT_OUT: 5}, kind=Kind.TRANSCRIPTION),
            thing(3, second),
            thing(4, third),
        ]
    )
    assert first.parts == {
        Part.FRESH_INPUT: Share(800, 700 * 4_000 + 100 * 32_000),
        Part.AUDIO_OUTPUT: Share(50, 50 * 64_000),
        Part.TEXT_OUTPUT: Share(10, 10 * 24_000),
    }
    assert first.growth == Growth(800, 700 * 4_000 + 100 * 32_000) and first.broke is None
    assert heard.parts == {Part.TRANSCRIPTION: Share(35, 30 * 32_000 + 5 * 24_000)}
    assert (heard.growth, heard.broke) == (None, None)
    assert then.parts[Part.CACHED_INPUT] == Share(704, 704 * 400)
    assert then.growth == Growth(216, 16 * 4_000 + 200 * 32_000) and then.broke is None
    assert last.parts[Part.IMAGE] == Share(300, 300 * 5_000)
    assert last.growth == Growth(4 + 100 + 305, 4 * 4_000 + 100 * 32_000 + 300 * 5_000 + 5 * 500)
    assert last.broke == Break(704 + 256, 704 * (4_000 - 400) + 256 * (32_000 - 400), Because.UNKNOWN)
    assert [one.running_nanousd for one in (first, last)] == [
        first.nanousd,
        sum(one.nanousd or 0 for one in (first, heard, then, last)),
    ]


def test_why_a_cache_broke() -> None:
    cut = {Meter.TEXT_IN: 500}
    assert account([thing(1, FIRST), thing(2, cut)])[1].broke == Break(448, 448 * 3_600, Because.CONTEXT_CUT)
    other = account([thing(1, FIRST), thing(2, FIRST, model="n")])[1].broke
    assert other == Break(704, 640 * 3_600 + 64 * 31_600, Because.MODEL_CHANGED)
    without = Terms(RateCard("c", "openai", "m", NOW, {Meter.TEXT_IN: Price(1)}))
    unpriced = account([thing(1, cut, terms=without), thing(2, cut, terms=without)])[1].broke
    assert unpriced == Break(448, None, Because.UNKNOWN)


def test_what_is_estimated_or_unknown_is_compared_with_nothing() -> None:
    guessed = thing(2, {Meter.TEXT_IN: 9_000}, estimated=True)
    untold = thing(3, {Meter.TEXT_IN: 9_000, Meter.UNTOLD_IN: 1}, terms=Terms(None))
    nothing = thing(4, {})
    last = thing(5, {Meter.TEXT_IN: 60, Meter.TEXT_IN_CACHED: 640, Meter.AUDIO_IN_CACHED: 100})
    explained = account([thing(1, FIRST), guessed, untold, nothing, last])
    assert [(one.growth, one.broke) for one in explained[1:4]] == [(None, None)] * 3
    assert (explained[4].growth, explained[4].broke) == (Growth(0, 0), None)
    total = sums(explained)
    assert (total.unrated, total.estimated_nanousd) == (1, 9_000 * 4_000)
    assert explained[2].nanousd is None
    assert {share.nanousd for share in explained[2].parts.values()} == {None}


def test_a_correction_counts_once_and_at_its_own_prices() -> None:
    later = Terms(replace(CARD, prices={meter: Price(2 * one.nanousd) for meter, one in CARD.prices.items()}))
    second = thing(2, FIRST)
    things = [thing(1, FIRST), second, *corrections(second, later), thing(3, FIRST)]
    first, original, taken_back, again, after = account(things)
    assert original.is_reversed and not again.is_reversed
    assert original.broke == after.broke == Break(704, 640 * 3_600 + 64 * 31_600, Because.UNKNOWN)
    assert taken_back.broke == replace(original.broke, tokens=-704, extra_nanousd=-_extra(original))
    assert again.broke == replace(original.broke, extra_nanousd=2 * _extra(original))
    total = sums([first, original, taken_back, again, after])
    assert (total.broken_tokens, total.extra_nanousd) == (2 * 704, 3 * _extra(original))
    assert total.growth_tokens == 800
    assert total.parts[Part.AUDIO_OUTPUT] == 4 * 50 * 64_000


def _extra(one: Explained) -> int:
    assert one.broke is not None and one.broke.extra_nanousd is not None
    return one.broke.extra_nanousd


def test_what_no_line_accounts_for_is_told() -> None:
    bare = replace(thing(1, {}), cost_nanousd=7, billed_nanousd=9)
    assert account([bare])[0].parts == {Part.OTHER: Share(0, 7)}
    assert account([bare], is_billed=True)[0].parts == {Part.OTHER: Share(0, 9)}


COUNTS = st.dictionaries(st.sampled_from(list(Meter)), st.integers(1, 5_000), max_size=8)
THINGS = st.lists(
    st.tuples(COUNTS, st.sampled_from([Kind.RESPONSE, Kind.TRANSCRIPTION]), st.booleans(), st.booleans()),
    max_size=12,
)


@given(THINGS, st.booleans())
def test_parts_sum_to_each_amount_and_things_to_the_session(things: Any, is_billed: bool) -> None:
    made: list[Thing] = []
    for number, (counts, kind, estimated, is_corrected) in enumerate(things, 1):
        made.append(thing(number, counts, kind=kind, estimated=estimated))
        if is_corrected:
            made += [replace(one, kind=kind) for one in corrections(made[-1])]
    explained = account(made, is_billed=is_billed)
    running = 0
    for one in explained:
        amount = one.thing.billed_nanousd if is_billed else one.thing.cost_nanousd
        assert one.nanousd == amount
        if amount is not None:
            assert sum(share.nanousd or 0 for share in one.parts.values()) == amount
            running += amount
        assert one.running_nanousd == running
        assert sum(share.quantity for share in one.parts.values()) == sum(
            line.quantity for line in one.thing.lines
        )
        if one.growth is not None and one.thing.role is not Role.REVERSAL:
            tokens = {line.meter: line.quantity for line in one.thing.lines if line.meter in INPUT_METERS}
            missed = one.broke.tokens if one.broke else 0
            assert 0 <= one.growth.tokens <= sum(tokens.values())
            assert missed <= sum(n for meter, n in tokens.items() if meter not in CACHED_METERS)
    total = sums(explained)
    assert total.nanousd == running == sum(total.parts.values())
