"""Rate cards in the database: shipped, imported, superseded, never edited."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine

from proxy.core.rating import PER_MINUTE, CardBook, Price, RateCard
from proxy.core.usage import Meter
from proxy.store import StoreError, changes
from proxy.store.audit import Act
from proxy.store.card_files import NewCard
from proxy.store.database import migrate, reading, writing
from proxy.store.prices import Imported, import_cards, load_cards, set_price, shipped_cards
from proxy.store.schema import rate_card, rate_price
from tests.tampering import owning

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ACT = Act("test", NOW)
LATER = NOW + timedelta(days=30)


def find(engine: Engine, model: str, at: datetime = NOW) -> dict[Meter, Price]:
    with reading(engine) as connection:
        card = CardBook(load_cards(connection)).find("openai", model, at)
    assert card is not None
    return dict(card.prices)


def new_card(price: int, *, model: str = "m", at: datetime = NOW) -> NewCard:
    return NewCard("openai", model, at, "test", {Meter.AUDIO_IN: Price(price)})


# Dollars per million tokens (per minute in the last column), as OpenAI publishes them.
PUBLISHED = """
model                               text_in cached  out    audio_in cached  out    image_in cached minute
gpt-realtime-2.1                    4.00    0.40    24.00  32.00    0.40    64.00  5.00     0.50   -
gpt-realtime-2                      4.00    0.40    24.00  32.00    0.40    64.00  5.00     0.50   -
gpt-realtime-2.1-mini               0.60    0.06    2.40   10.00    0.30    20.00  0.80     0.08   -
gpt-realtime-1.5                    4.00    0.40    16.00  32.00    0.40    64.00  5.00     0.50   -
gpt-realtime                        4.00    0.40    16.00  32.00    0.40    64.00  5.00     0.50   -
gpt-realtime-2025-08-28             4.00    0.40    16.00  32.00    0.40    64.00  5.00     0.50   -
gpt-realtime-mini                   0.60    0.06    2.40   10.00    0.30    20.00  0.80     0.08   -
gpt-4o-realtime-preview             5.00    2.50    20.00  40.00    2.50    80.00  -        -      -
gpt-4o-realtime-preview-2024-12-17  5.00    2.50    20.00  40.00    2.50    80.00  -        -      -
gpt-4o-realtime-preview-2024-10-01  5.00    2.50    20.00  100.00   -       200.00 -        -      -
gpt-4o-mini-realtime-preview        0.60    0.30    2.40   10.00    0.30    20.00  -        -      -
gpt-realtime-translate              -       -       -      -        -       -      -        -      0.034
gpt-realtime-whisper                -       -       -      -        -       -      -        -      0.017
gpt-live-transcribe                 -       -       -      -        -       -      -        -      0.017
gpt-transcribe                      -       -       -      -        -       -      -        -      0.0045
gpt-live-1                          -       -       -      -        -       -      -        -      0.05
gpt-live-1.1                        -       -       -      -        -       -      -        -      0.05
whisper-1                           -       -       -      -        -       -      -        -      0.006
gpt-4o-transcribe                   2.50    -       10.00  6.00     -       -      -        -      0.006
gpt-4o-transcribe-diarize           2.50    -       10.00  6.00     -       -      -        -      0.006
gpt-4o-mini-transcribe              1.25    -       5.00   3.00     -       -      -        -      0.003
gpt-4o-mini-transcribe-2025-12-15   1.25    -       5.00   3.00     -       -      -        -      0.003
gpt-audio                           2.50    -       10.00  32.00    -       64.00  -        -      -
gpt-audio-1.5                       2.50    -       10.00  32.00    -       64.00  -        -      -
gpt-audio-mini                      0.60    -       2.40   10.00    -       20.00  -        -      -
"""
TOKENS = (
    Meter.TEXT_IN,
    Meter.TEXT_IN_CACHED,
    Meter.TEXT_OUT,
    Meter.AUDIO_IN,
    Meter.AUDIO_IN_CACHED,
    Meter.AUDIO_OUT,
    Meter.IMAGE_IN,
    Meter.IMAGE_IN_CACHED,
)


@pytest.mark.parametrize("row", PUBLISHED.strip().splitlines()[1:], ids=lambda row: row.split()[0])
def test_the_shipped_prices_are_the_published_ones(row: str) -> None:
    model, *cells, minute = row.split()
    book = CardBook(load_shipped())
    card = book.find("openai", model, NOW)
    assert card is not None
    expected = {
        meter: Price(int(usd.replace(".", "")) * 10)  # $0.01 per million is ten nano-dollars a token
        for meter, usd in zip(TOKENS, cells, strict=True)
        if usd != "-"
    }
    if minute != "-":
        expected[Meter.DURATION_MS] = Price(round(float(minute) * 10_000) * 100_000, PER_MINUTE)
    assert card.prices == expected


def load_shipped() -> list[RateCard]:
    return [
        RateCard(card.name, card.provider, card.model, card.effective_from, card.prices)
        for card in shipped_cards()
    ]


def test_every_shipped_card_is_in_the_table_and_says_where_it_is_from() -> None:
    models = {row.split()[0] for row in PUBLISHED.strip().splitlines()[1:]}
    assert {card.model for card in shipped_cards()} <= models
    for card in shipped_cards():
        assert len(card.source) > 40 and "(checked on 2026-" in card.source
        assert card.effective_from <= NOW


def test_every_price_is_a_whole_number_of_nanodollars() -> None:
    for card in shipped_cards():
        assert all(type(price.nanousd) is int and price.nanousd > 0 for price in card.prices.values())


def test_a_migrated_database_has_the_shipped_cards(database: Engine) -> None:
    with reading(database) as connection:
        cards = load_cards(connection)
    assert len(cards) == len(shipped_cards()) == 22
    assert find(database, "gpt-realtime-2.1")[Meter.AUDIO_OUT] == Price(64_000)


def test_importing_twice_changes_nothing(database: Engine) -> None:
    cards = [new_card(5), new_card(7, at=LATER)]
    with writing(database) as connection:
        assert import_cards(connection, cards, ACT) == Imported(tuple(cards), ())
        counted = changes.current(connection)
        assert import_cards(connection, cards, ACT) == Imported((), tuple(cards))
        assert changes.current(connection) == counted
    assert find(database, "m") == {Meter.AUDIO_IN: Price(5)}
    assert find(database, "m", LATER) == {Meter.AUDIO_IN: Price(7)}


def test_cards_are_never_edited(database: Engine) -> None:
    with writing(database) as connection:
        import_cards(connection, [new_card(5)], ACT)
    named = "never edited.*\n  openai/m from 2026-11-23T12:00:00Z"
    with pytest.raises(StoreError, match=named), writing(database) as connection:
        import_cards(connection, [new_card(1, model="other"), new_card(6)], ACT)
    assert find(database, "m") == {Meter.AUDIO_IN: Price(5)}
    with reading(database) as connection:
        assert "other" not in {card.model for card in load_cards(connection)}


def test_an_operators_card_stays_when_the_package_ships_another(database: Engine) -> None:
    shipped = shipped_cards()[0]
    ours = {Meter.AUDIO_IN: Price(1)}
    with owning(database) as connection:
        replace_prices(connection, shipped, ours)
    migrate(database)
    assert find(database, shipped.model) == ours


def replace_prices(connection: Connection, card: NewCard, prices: dict[Meter, Price]) -> None:
    """Put another card where a shipped one is: what an operator had before the package shipped it."""
    (there,) = [one for one in load_cards(connection) if one.model == card.model]
    connection.execute(rate_price.delete().where(rate_price.c.rate_card_id == there.id))
    connection.execute(rate_card.delete().where(rate_card.c.id == there.id))
    import_cards(connection, [NewCard("openai", card.model, card.effective_from, "ours", prices)], ACT)


def change(engine: Engine, model: str, meter: Meter, nanousd: int, at: datetime) -> Imported:
    with writing(engine) as connection:
        return set_price(
            connection,
            provider="openai",
            model=model,
            meter=meter,
            price=Price(nanousd),
            effective_from=at,
            act=ACT,
        )


def test_setting_a_price_keeps_the_others_and_the_past(database: Engine) -> None:
    before = find(database, "gpt-realtime-2.1")
    change(database, "gpt-realtime-2.1", Meter.AUDIO_OUT, 50_000, LATER)
    assert find(database, "gpt-realtime-2.1") == before
    assert find(database, "gpt-realtime-2.1", LATER) == before | {Meter.AUDIO_OUT: Price(50_000)}


def test_a_snapshot_gets_a_card_of_its_own(database: Engine) -> None:
    change(database, "gpt-realtime-2025-08-28", Meter.TEXT_IN, 1, NOW)
    assert find(database, "gpt-realtime-2025-08-28")[Meter.TEXT_IN] == Price(1)
    assert find(database, "gpt-realtime-2025-08-28")[Meter.TEXT_OUT] == Price(16_000)
    assert find(database, "gpt-realtime")[Meter.TEXT_IN] == Price(4_000)


def test_a_new_model_starts_with_one_price(database: Engine) -> None:
    assert change(database, "new", Meter.TEXT_IN, 1, NOW).added
    assert change(database, "new", Meter.TEXT_IN, 1, NOW).unchanged
    with pytest.raises(StoreError, match="later effective_from"):
        change(database, "new", Meter.TEXT_IN, 2, NOW)
    assert find(database, "new") == {Meter.TEXT_IN: Price(1)}
