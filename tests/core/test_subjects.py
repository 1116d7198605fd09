"""Open responses and transcriptions, and the entries they become."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.rating import NO_AMOUNTS, Amounts, Price, RateCard, Terms
from proxy.core.records import Kind
from proxy.core.subjects import SETTLED_MAX, Booker, Response, Transcription, first_usage
from proxy.core.usage import Flag, Meter, Usage
from tests.core.scripts import CARDS, START, facts

INPUT = [meter for meter in Meter if meter.value.endswith(("_in", "_in_cached"))]
CARD = CARDS.find("openai", "talk", START)
SECOND = 64_000


def response(**given: object) -> Response:
    made = Response("r1", "talk", START, Terms(CARD), {Meter.TEXT_IN: 100}, 48_000)
    for name, value in given.items():
        setattr(made, name, value)
    return made


def test_a_response_costs_its_predicted_input_and_what_it_has_said() -> None:
    running = response(audio_chars=SECOND, text_chars=8)
    assert running.usage() == Usage({Meter.TEXT_IN: 100, Meter.AUDIO_OUT: 20, Meter.TEXT_OUT: 2})
    assert running.rated().cost_nanousd == 100 + 200 + 10


@given(
    predicted=st.dictionaries(st.sampled_from(INPUT), st.integers(0, 10_000)),
    audio_chars=st.integers(0, 100_000),
    text_chars=st.integers(0, 1_000),
    priced=st.sets(st.sampled_from(Meter)),
    markup_bp=st.integers(-5_000, 20_000),
)
def test_its_parts_are_charged_what_all_of_it_would_be(
    predicted: dict[Meter, int], audio_chars: int, text_chars: int, priced: set[Meter], markup_bp: int
) -> None:
    """Its input is priced once, and its output at each look: rounded and without a price alike."""
    prices = {meter: Price(number * 37 + 1) for number, meter in enumerate(Meter) if meter in priced}
    terms = Terms(RateCard("c", "openai", "talk", START, prices), markup_bp=markup_bp)
    made = Response("r1", "talk", START, terms, predicted, 48_000, audio_chars=audio_chars)
    made.text_chars = text_chars
    booker = Booker(facts(), CARDS)
    assert booker.charge_of(made) == booker.charge(made.usage(), terms, START)


def test_a_hold_begins_with_two_seconds_and_grows_when_less_than_one_is_left() -> None:
    assert first_usage({Meter.TEXT_IN: 100}, CARD).counts == {Meter.TEXT_IN: 100, Meter.AUDIO_OUT: 40}
    silent = RateCard("c", "p", "m", START, {Meter.TEXT_OUT: Price(1)})
    assert first_usage({}, silent).counts == {Meter.TEXT_OUT: 100}
    assert response().growth(Amounts.same(299), Amounts.same(500)) == NO_AMOUNTS
    assert response().growth(Amounts.same(300), Amounts.same(500)) == Amounts.same(400)
    assert response().growth(Amounts(300, 900), Amounts.same(500)) == Amounts(400, 800)


def test_a_cost_is_looked_at_when_its_hold_has_to_grow() -> None:
    running = response(audio_chars=SECOND)
    running.look_again(Amounts(5_000, 300))  # a second and a half: the tenth token from here uses up the half
    assert running.look_at_chars == SECOND + 451 * 64
    running.look_again(Amounts(201, 5_000))
    assert running.look_at_chars <= SECOND
    for left in (Amounts.same(5_000), None):
        running.look_again(left)
        assert running.look_at_chars == 3 * SECOND


def test_an_estimate_says_why_and_is_marked() -> None:
    booker = Booker(facts(), CARDS, "sess_1")
    entry = booker.estimate(
        response(audio_chars=SECOND), Flag.ESTIMATE_UPSTREAM_LOST, START + timedelta(hours=1)
    )
    assert (entry.estimated, entry.status, entry.flags) == (True, "lost", ("upstream_lost",))
    assert entry.occurred_at == START
    assert entry.cost_nanousd == 300
    assert entry.entry_key == "openai/sess_1/r1/response/0/original"
    item = Transcription("i1", "hear", START, Terms(CARDS.find("openai", "hear", START)), 1_500)
    assert booker.estimate(item, Flag.ESTIMATE_LINGER_PASSED, START).cost_nanousd == 1_500


def test_what_cannot_be_priced_is_flagged_for_what_is_missing() -> None:
    booker = Booker(facts(), CARDS)

    def flags(usage: Usage, model: str | None) -> tuple[str, ...]:
        return booker.entry(Kind.RESPONSE, "r", usage, model=model, at=START, status="completed").flags

    assert flags(Usage({Meter.TEXT_IN: 1}), None) == ("model_unknown",)
    assert flags(Usage({Meter.UNTOLD_IN: 1}), "talk") == ("meter_unpriced",)
    assert flags(Usage(flags=frozenset({Flag.USAGE_MISSING})), "talk") == ("usage_missing",)
    assert flags(Usage(), None) == ()


def test_the_last_few_bills_are_remembered() -> None:
    booker = Booker(facts(), CARDS)
    for n in range(SETTLED_MAX + 1):
        booker.settle(
            booker.entry(Kind.RESPONSE, f"r{n}", Usage(), model="talk", at=START, status="completed")
        )
    assert booker.settled(Kind.RESPONSE, "r0") is None
    assert booker.settled(Kind.TRANSCRIPTION, "r1") is None
    remembered = booker.settled(Kind.RESPONSE, "r1")
    assert remembered is not None
    assert (remembered.model, remembered.opened_at) == ("talk", START)
