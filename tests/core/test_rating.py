"""Usage priced on rate cards: figures worked out by hand, and which card holds when."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.rating import (
    CONTRACT,
    PER_MINUTE,
    PER_TOKEN,
    Amounts,
    Billing,
    CardBook,
    Line,
    Markup,
    Price,
    RateCard,
    Rated,
    Terms,
    amounts,
    rate,
    with_markup,
)
from proxy.core.usage import Flag, Meter, ReportedSeconds, ReportedTokens, Usage, measure

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)

# Dollars per million tokens × 1,000 = nano-dollars per token.
REALTIME_2_1 = RateCard(
    id="rc_realtime",
    provider="openai",
    model="gpt-realtime-2.1",
    effective_from=EPOCH,
    prices={
        Meter.TEXT_IN: Price(4_000),
        Meter.TEXT_IN_CACHED: Price(400),
        Meter.TEXT_OUT: Price(24_000),
        Meter.AUDIO_IN: Price(32_000),
        Meter.AUDIO_IN_CACHED: Price(400),
        Meter.AUDIO_OUT: Price(64_000),
        Meter.IMAGE_IN: Price(5_000),
        Meter.IMAGE_IN_CACHED: Price(500),
    },
)
WHISPER = RateCard(
    id="rc_whisper",
    provider="openai",
    model="gpt-realtime-whisper",
    effective_from=EPOCH,
    prices={Meter.DURATION_MS: Price(17_000_000, PER_MINUTE)},  # $0.017 a minute
)


def per_minute(nanousd: int) -> RateCard:
    return RateCard("rc_minute", "openai", "m", EPOCH, {Meter.DURATION_MS: Price(nanousd, PER_MINUTE)})


def card(model: str, at: datetime, card_id: str = "rc", provider: str = "openai") -> RateCard:
    return RateCard(card_id, provider, model, at, {})


def found(book: CardBook, model: str | None, at: datetime = EPOCH) -> str | None:
    card = book.find("openai", model, at)
    return card.id if card else None


def test_the_ga_sample_costs_0_007205600_dollars() -> None:
    """55 × 4,000 + 64 × 400 + 13 × 32,000 + 30 × 24,000 + 91 × 64,000 = 7,205,600."""
    usage = measure(
        ReportedTokens(
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
    )
    rated = rate(usage, Terms(REALTIME_2_1))
    assert {line.meter: (line.quantity, line.cost_nanousd) for line in rated.lines} == {
        Meter.TEXT_IN: (55, 220_000),
        Meter.TEXT_IN_CACHED: (64, 25_600),
        Meter.AUDIO_IN: (13, 416_000),
        Meter.TEXT_OUT: (30, 720_000),
        Meter.AUDIO_OUT: (91, 5_824_000),
    }
    assert rated.cost_nanousd == 7_205_600


def test_an_image_and_cached_audio() -> None:
    """171 text (100 cached), 200 audio (128 cached), 323 image (300 cached), 10 text out."""
    usage = measure(
        ReportedTokens(
            input=694,
            output=10,
            text_in=171,
            audio_in=200,
            image_in=323,
            cached_text=100,
            cached_audio=128,
            cached_image=300,
            text_out=10,
        )
    )
    # 71 × 4,000 + 100 × 400 + 72 × 32,000 + 128 × 400 + 23 × 5,000 + 300 × 500 + 10 × 24,000
    expected = 284_000 + 40_000 + 2_304_000 + 51_200 + 115_000 + 150_000 + 240_000
    assert rate(usage, Terms(REALTIME_2_1)).cost_nanousd == expected == 3_184_200


def test_a_line_says_how_its_amount_came_about() -> None:
    rated = rate(Usage({Meter.AUDIO_OUT: 91}), Terms(REALTIME_2_1))
    assert rated.lines == (
        Line(
            meter=Meter.AUDIO_OUT,
            quantity=91,
            price_nanousd=64_000,
            price_per=PER_TOKEN,
            list_nanousd=5_824_000,
            cost_nanousd=5_824_000,
            billed_nanousd=5_824_000,
            rate_card_id="rc_realtime",
        ),
    )


def test_seconds_on_a_price_per_minute() -> None:
    """3.4 s of 17,000,000 a minute: 963,333.33… nano-dollars."""
    rated = rate(measure(ReportedSeconds(3.4)), Terms(WHISPER))
    assert rated.cost_nanousd == 963_333
    assert rated.lines[0].price_per == 60_000


@pytest.mark.parametrize(
    ("milliseconds", "nanousd", "cost"),
    [
        (30_000, 1, 0),  # 0.5 → 0
        (30_000, 3, 2),  # 1.5 → 2
        (30_000, 5, 2),  # 2.5 → 2
        (30_001, 5, 3),  # 2.50008…
        (1, 17_000_000, 283),  # 283.33…
        (60_000, 17_000_000, 17_000_000),
        (3_600_000, 17_000_000, 1_020_000_000),  # an hour: $1.02
    ],
)
def test_what_is_not_exact_is_rounded_once_half_to_even(milliseconds: int, nanousd: int, cost: int) -> None:
    assert rate(Usage({Meter.DURATION_MS: milliseconds}), Terms(per_minute(nanousd))).cost_nanousd == cost


@given(st.integers(0, 10**9), st.integers(0, 10**11))
def test_rounding_is_never_more_than_half_a_nano_dollar(milliseconds: int, nanousd: int) -> None:
    cost = rate(Usage({Meter.DURATION_MS: milliseconds}), Terms(per_minute(nanousd))).cost_nanousd
    assert cost == round(Fraction(milliseconds * nanousd, PER_MINUTE))


@given(st.dictionaries(st.sampled_from(sorted(REALTIME_2_1.prices)), st.integers(0, 10**9)))
def test_lines_sum_to_the_cost(counts: dict[Meter, int]) -> None:
    rated = rate(Usage(counts), Terms(REALTIME_2_1))
    assert rated.cost_nanousd == sum(n * REALTIME_2_1.prices[meter].nanousd for meter, n in counts.items())
    assert rated.cost_nanousd == sum(line.cost_nanousd or 0 for line in rated.lines)
    assert [line.meter for line in rated.lines] == sorted(meter for meter, n in counts.items() if n)


@given(
    st.dictionaries(st.sampled_from(Meter), st.integers(0, 10**9)),
    st.sampled_from([REALTIME_2_1, WHISPER, None]),
    st.sampled_from([frozenset(), frozenset({Flag.USAGE_MISSING})]),
)
def test_the_cost_without_lines_is_the_cost_with_them(
    counts: dict[Meter, int], card: RateCard | None, flags: frozenset[Flag]
) -> None:
    usage = Usage(counts, flags)
    cost = rate(usage, Terms(card)).cost_nanousd
    assert amounts(usage, Terms(card)) == (None if cost is None else Amounts.same(cost))


@pytest.mark.parametrize("meter", [Meter.DURATION_MS, Meter.UNTOLD_IN, Meter.UNTOLD_OUT])
def test_a_meter_without_a_price_makes_the_whole_unrated(meter: Meter) -> None:
    rated = rate(Usage({Meter.TEXT_IN: 1, meter: 1}), Terms(REALTIME_2_1))
    assert rated.cost_nanousd is None
    costs = {line.meter: line.cost_nanousd for line in rated.lines}
    assert costs == {Meter.TEXT_IN: 4_000, meter: None}


def test_without_a_card_the_quantities_are_kept() -> None:
    rated = rate(Usage({Meter.TEXT_IN: 3}), Terms(None))
    assert rated == Rated((Line(meter=Meter.TEXT_IN, quantity=3),), None)


def test_a_price_of_nothing_is_a_price() -> None:
    free = RateCard("rc_free", "openai", "m", EPOCH, {Meter.TEXT_IN: Price(0)})
    assert rate(Usage({Meter.TEXT_IN: 9}), Terms(free)).cost_nanousd == 0


def test_a_report_of_nothing_is_free_and_a_missing_report_is_unrated() -> None:
    assert rate(measure(ReportedTokens(total=0, input=0, output=0)), Terms(None)) == Rated((), 0)
    assert rate(measure(None), Terms(REALTIME_2_1)) == Rated((), None)
    assert rate(Usage(flags=frozenset({Flag.USAGE_MISSING})), Terms(None)) == Rated((), None)


def test_a_card_holds_from_its_instant_on() -> None:
    later = EPOCH + timedelta(days=30)
    book = CardBook([card("m", later, "rc_new"), card("m", EPOCH, "rc_old")])
    instant = timedelta(microseconds=1)
    assert found(book, "m", EPOCH - instant) is None
    assert found(book, "m", EPOCH) == "rc_old"
    assert found(book, "m", later - instant) == "rc_old"
    assert found(book, "m", later) == "rc_new"
    assert found(book, "m", later + timedelta(days=9_999)) == "rc_new"


def test_an_instant_is_the_same_in_every_time_zone() -> None:
    book = CardBook([card("m", EPOCH)])
    assert found(book, "m", datetime.fromisoformat("2026-01-01T01:00:00+01:00")) == "rc"
    assert found(book, "m", datetime.fromisoformat("2026-01-01T00:00:00+01:00")) is None


def test_a_dated_snapshot_has_its_models_card() -> None:
    book = CardBook([card("gpt-realtime", EPOCH)])
    assert found(book, "gpt-realtime-2025-08-28") == "rc"
    assert found(book, "gpt-realtime-mini") is None
    assert found(book, "gpt-realtime-2025-08-28-eu") is None
    assert found(book, "gpt-realtime-1999-01-01") is None


def test_a_dated_snapshot_with_a_card_of_its_own() -> None:
    launch = "gpt-4o-realtime-preview-2024-10-01"
    own_from = EPOCH + timedelta(days=1)
    book = CardBook([card("gpt-4o-realtime-preview", EPOCH, "rc_model"), card(launch, own_from, "rc_own")])
    assert found(book, launch, EPOCH) == "rc_model"
    assert found(book, launch, own_from) == "rc_own"
    assert found(book, "gpt-4o-realtime-preview", own_from) == "rc_model"


def test_cards_of_other_providers_and_models_do_not_count() -> None:
    book = CardBook([card("m", EPOCH, provider="azure"), card("n", EPOCH)])
    assert found(book, "m") is None
    assert found(book, None) is None
    assert found(book, "") is None


def test_a_deployment_name_means_its_model() -> None:
    cards = [card("gpt-realtime", EPOCH)]
    book = CardBook(cards, aliases={"our-voice": "gpt-realtime-2025-08-28"})
    assert found(book, "our-voice") == "rc"
    assert found(CardBook(cards), "our-voice") is None


@given(st.lists(st.integers(0, 1_000), unique=True), st.integers(-10, 1_010))
def test_the_newest_card_that_has_begun(starts: list[int], now: int) -> None:
    cards = [card("m", EPOCH + timedelta(seconds=start), str(start)) for start in starts]
    begun = [start for start in starts if start <= now]
    expected = str(max(begun)) if begun else None
    assert found(CardBook(cards), "m", EPOCH + timedelta(seconds=now)) == expected


def test_who_keeps_the_book_finds_its_newest_cards() -> None:
    book = CardBook([card("m", EPOCH, "old")], {"our-voice": "m"})
    book.replace([card("m", EPOCH, "new")])
    assert (found(book, "m"), found(book, "our-voice")) == ("new", "new")
    book.replace([])
    assert found(book, "m") is None


# --- What a tenant is billed

TENANT = "ten_1"
AUDIO = Usage({Meter.AUDIO_IN: 1_000, Meter.AUDIO_OUT: 10})


def agreed(**prices: int) -> RateCard:
    return RateCard(
        "rc_agreed", "openai", "m", EPOCH, {Meter(m): Price(p) for m, p in prices.items()}, "", TENANT
    )


def test_list_cost_and_billed_are_one_amount_until_something_is_agreed() -> None:
    rated = rate(AUDIO, Terms(REALTIME_2_1))
    assert all(line.list_nanousd == line.cost_nanousd == line.billed_nanousd for line in rated.lines)
    assert Terms(REALTIME_2_1).billing is None


def test_a_contract_changes_what_we_are_charged_and_the_public_card_stays_the_list() -> None:
    contract = RateCard(
        "rc_contract", "openai", "m", EPOCH, {Meter.AUDIO_IN: Price(20), Meter.AUDIO_OUT: Price(50)}
    )
    public = RateCard("rc_public", "openai", "m", EPOCH, {Meter.AUDIO_IN: Price(32)})
    terms = Terms(contract, public)
    heard, spoken = rate(AUDIO, terms).lines
    assert (heard.list_nanousd, heard.cost_nanousd, heard.billed_nanousd) == (32_000, 20_000, 20_000)
    assert (spoken.list_nanousd, spoken.cost_nanousd) == (500, 500)  # no public price: our cost stands for it
    assert heard.rate_card_id == "rc_contract"
    assert terms.billing == Billing(public_card_id="rc_public", agreed_card_id=None, markup_bp=0)


def test_a_tenant_owes_agreed_prices_and_our_cost_with_the_markup_for_the_rest() -> None:
    card = RateCard("rc", "openai", "m", EPOCH, {Meter.AUDIO_IN: Price(32), Meter.AUDIO_OUT: Price(64)})
    terms = Terms(card, agreed=agreed(audio_out=100), markup_bp=1_250)
    heard, spoken = rate(AUDIO, terms).lines
    assert (heard.cost_nanousd, heard.billed_nanousd) == (32_000, 36_000)
    assert (spoken.cost_nanousd, spoken.billed_nanousd) == (640, 1_000)
    assert amounts(AUDIO, terms) == Amounts(32_640, 37_000)
    assert terms.billing == Billing(agreed_card_id="rc_agreed", markup_bp=1_250)


@pytest.mark.parametrize(
    ("cost", "basis_points", "billed"),
    [(100, 0, 100), (3, 5_000, 4), (5, 5_000, 8), (-5, 5_000, -8), (1_000, -250, 975), (999, -10_000, 0)],
)
def test_a_markup_is_rounded_once_half_to_even(cost: int, basis_points: int, billed: int) -> None:
    assert with_markup(cost, basis_points) == billed


def test_an_agreed_price_does_not_make_up_for_a_cost_that_is_not_known() -> None:
    assert rate(AUDIO, Terms(None, agreed=agreed(audio_in=1, audio_out=1))).cost_nanousd is None


def test_the_book_finds_what_holds_for_a_tenant_at_an_instant() -> None:
    later = EPOCH + timedelta(days=1)
    public = RateCard("rc_public", "openai", "m", EPOCH, {Meter.AUDIO_IN: Price(32)})
    contract = RateCard("rc_contract", "openai", "m", later, {Meter.AUDIO_IN: Price(20)}, "", CONTRACT)
    markups = [
        Markup(None, EPOCH, 1_000),
        Markup(TENANT, later, -500),
        Markup(TENANT, later + timedelta(1), 0),
    ]
    book = CardBook([public, contract, agreed(audio_in=30)], {"deployed": "m"}, markups)

    def terms(at: datetime, tenant: str, model: str = "m") -> Terms:
        return book.terms("openai", model, at, tenant)

    assert terms(EPOCH, "ten_2") == Terms(public, None, None, 1_000)
    assert terms(EPOCH, TENANT) == Terms(public, None, agreed(audio_in=30), 1_000)
    assert terms(later, TENANT, "deployed") == Terms(contract, public, agreed(audio_in=30), -500)
    assert terms(later + timedelta(1), TENANT, "m-2026-01-01").markup_bp == 0  # its own, and not everybody's
    assert terms(EPOCH - timedelta(1), TENANT) == Terms(None)
    assert book.cost_card("openai", "m", later) == contract
    assert book.find("openai", "m", later) == public
    assert book.dearest_nanousd("openai", Usage({Meter.AUDIO_IN: 2}), later) == 64


@given(
    st.dictionaries(st.sampled_from([Meter.AUDIO_IN, Meter.AUDIO_OUT, Meter.TEXT_IN]), st.integers(0, 10**9)),
    st.integers(-10_000, 1_000_000),
)
def test_the_billed_amount_without_lines_is_that_of_the_lines(
    counts: dict[Meter, int], markup_bp: int
) -> None:
    terms = Terms(REALTIME_2_1, agreed=agreed(audio_out=7), markup_bp=markup_bp)
    lines = rate(Usage(counts), terms).lines
    expected = Amounts(
        sum(line.cost_nanousd or 0 for line in lines), sum(line.billed_nanousd or 0 for line in lines)
    )
    assert amounts(Usage(counts), terms) == expected
