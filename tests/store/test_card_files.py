"""Rate card files: both formats, and every fault told with its place."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.rating import PER_MINUTE, Price
from proxy.core.usage import Meter
from proxy.store import StoreError
from proxy.store.card_files import (
    FAULTS_SHOWN_MAX,
    FILE_CHARS_MAX,
    METERS,
    FileFormat,
    parse_cards,
    parse_price,
    price_text,
)

HEADER = "provider,model,effective_from,meter,usd,per,source\n"


def card(**changes: Any) -> dict[str, Any]:
    whole = {
        "provider": "openai",
        "model": "m",
        "effective_from": "2026-12-01",
        "source": "contract",
        "prices": {"audio_in": {"usd": "32.00", "per": "million"}},
    }
    return {name: value for name, value in (whole | changes).items() if value is not None}


def document(*cards: object, **changes: Any) -> str:
    return json.dumps({"format": "talkmeter-rate-cards/1", "cards": cards} | changes)


def test_a_card_of_either_format_is_the_same() -> None:
    prices = {
        "audio_in": {"usd": "32.00", "per": "million"},
        "text_out": {"usd": "0.000002", "per": "each"},
        "duration_ms": {"usd": "0.017", "per": "minute"},
    }
    rows = "".join(f"openai,m,2026-12-01,{m},{p['usd']},{p['per']},contract\n" for m, p in prices.items())
    (read,) = parse_cards(document(card(prices=prices)), "json")
    assert parse_cards(HEADER + rows, "csv") == (read,)
    assert parse_cards("\ufeff" + (HEADER + rows).replace("\n", "\r\n"), "csv") == (read,)
    assert read.effective_from == datetime(2026, 12, 1, tzinfo=UTC)
    assert read.prices == {
        Meter.AUDIO_IN: Price(32_000),
        Meter.TEXT_OUT: Price(2_000),
        Meter.DURATION_MS: Price(17_000_000, PER_MINUTE),
    }
    assert read.name == "openai/m from 2026-12-01T00:00:00Z"


def test_the_day_of_the_last_check_goes_into_the_source() -> None:
    (read,) = parse_cards(document(card(checked_on="2026-11-22")), "json")
    assert read.source == "contract (checked on 2026-11-22)"


def test_rows_of_one_card_need_not_stand_together() -> None:
    rows = (
        "openai,a,2026-12-01,audio_in,1,million,s\n"
        "openai,b,2026-12-01,audio_in,1,million,s\n"
        "openai,a,2026-12-01,audio_out,2,million,s\n"
    )
    assert [len(read.prices) for read in parse_cards(HEADER + rows, "csv")] == [2, 1]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", 'format: expected {"format"'),
        (document(format="other/2"), 'format: expected {"format"'),
        (document(cards={}), "cards: expected a list"),
        (document(), "no rate cards"),
        (document(7), r"cards\[0\]: expected an object"),
        (document(card(provider=None)), r"cards\[0\].provider: expected 1 to 200 printable"),
        (document(card(model="a\nb")), r"cards\[0\].model: expected 1 to 200 printable"),
        (document(card(model=3)), r"cards\[0\].model: expected 1 to 200 printable"),
        (document(card(effective_from="soon")), r"cards\[0\].effective_from: 'soon' is not a time"),
        (document(card(effective_from=5)), r"cards\[0\].effective_from: '' is not a time"),
        (document(card(checked_on="soon")), r"cards\[0\].checked_on: 'soon' is not a time"),
        (document(card(source=None)), r"cards\[0\].source: expected 1 to 2,000"),
        (document(card(color="red")), r"cards\[0\].color: unknown; expected one of provider"),
        (document(card(prices={})), r"cards\[0\].prices: expected prices by meter: text_in"),
        (document(card(prices={"audio": {"usd": "1", "per": "million"}})), "'audio' is not a meter"),
        (document(card(prices={"untold_in": {"usd": "1", "per": "million"}})), "'untold_in' is not a meter"),
        (document(card(prices={"audio_in": "32"})), r'prices.audio_in: expected {"usd": "32.00"'),
        (document(card(prices={"audio_in": {"usd": 32.0, "per": "million"}})), "in quotes"),
        (document(card(prices={"audio_in": {"usd": "1e", "per": "million"}})), "'1e' is not an amount"),
        (document(card(prices={"audio_in": {"usd": "NaN", "per": "million"}})), "not an amount"),
        (document(card(prices={"audio_in": {"usd": "1e9999999", "per": "million"}})), "not an amount"),
        (document(card(prices={"audio_in": {"usd": "1e-9999999", "per": "million"}})), "not an amount"),
        (
            document(card(prices={"audio_in": {"usd": "-1", "per": "million"}})),
            "not between 0 and one dollar",
        ),
        (
            document(card(prices={"audio_in": {"usd": "0.0005", "per": "million"}})),
            "finer than a nano-dollar",
        ),
        (document(card(prices={"audio_in": {"usd": "1", "per": "minute"}})), "per million or each"),
        (
            document(card(prices={"audio_in": {"usd": "1", "per": "dozen"}})),
            "not one of million, minute, each",
        ),
        (document(card(prices={"duration_ms": {"usd": "1", "per": "million"}})), "per minute"),
        (
            document(card(), card(source="again")),
            r"cards\[1\]: the same provider, model and instant as cards\[0\]",
        ),
    ],
)
def test_faults_in_json(text: str, fault: str) -> None:
    with pytest.raises(StoreError, match=fault):
        parse_cards(text, "json")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "row 1: expected the columns provider,model"),
        ("model,provider\n", "row 1: expected the columns provider,model"),
        (HEADER, "no rate cards"),
        (HEADER + "openai,m,2026-12-01\n", "row 2: expected 7 columns"),
        (HEADER + "openai,m,2026-12-01,audio_in,1,million,s,more\n", "row 2: expected 7 columns"),
        (HEADER + ",m,2026-12-01,audio_in,1,million,s\n", "row 2, column provider: expected 1 to 200"),
        (HEADER + "openai,m,never,audio_in,1,million,s\n", "row 2, column effective_from: 'never'"),
        (HEADER + "openai,m,2026-12-01,tin,1,million,s\n", "row 2, column meter: 'tin' is not a meter"),
        (HEADER + "openai,m,2026-12-01,audio_in,x,million,s\n", "row 2, column usd: 'x' is not an amount"),
        (HEADER + 'openai,m,2026-12-01,audio_in,1,million,"s\n', "row 2: this is not CSV"),
        (HEADER + "openai,m,2026-12-01,audio_in,1,million,s\n" * 2, "row 3, column meter: audio_in .* twice"),
    ],
)
def test_faults_in_csv(text: str, fault: str) -> None:
    with pytest.raises(StoreError, match=fault):
        parse_cards(text, "csv")


def test_all_faults_are_told_at_once_but_not_without_end() -> None:
    rows = HEADER + "openai,m,never,tin,x,million,s\n" * 30
    with pytest.raises(StoreError) as caught:
        parse_cards(rows, "csv")
    lines = str(caught.value).splitlines()
    assert lines[0] == "Nothing was imported:" and len(lines) == FAULTS_SHOWN_MAX + 2
    assert lines[1:3] == [
        "  row 2, column effective_from: 'never' is not a time: write a day such as 2026-12-01 or an"
        " instant such as 2026-12-01T08:30:00Z",
        f"  row 2, column meter: 'tin' is not a meter; expected one of {', '.join(METERS)}",
    ]
    assert lines[-1] == "  … and 40 more"


def test_a_huge_file_is_refused() -> None:
    with pytest.raises(StoreError, match="split it"):
        parse_cards(" " * (FILE_CHARS_MAX + 1), "json")


@given(st.text(max_size=200), st.sampled_from(["json", "csv"]))
def test_no_text_breaks_the_reader(text: str, format: FileFormat) -> None:
    for whole in (text, HEADER + text):
        with pytest.raises(StoreError):
            parse_cards(whole, format)


@given(st.integers(0, 1_000_000_000), st.sampled_from(METERS))
def test_prices_survive_being_written(nanousd: int, meter: Meter) -> None:
    price = Price(nanousd, PER_MINUTE) if meter is Meter.DURATION_MS else Price(nanousd)
    usd, per = price_text(price)
    assert parse_price(meter, usd, per) == price


def test_prices_are_written_as_people_do() -> None:
    assert price_text(Price(32_000)) == ("32.00", "million")
    assert price_text(Price(1)) == ("0.001", "million")
    assert price_text(Price(4_500_000, PER_MINUTE)) == ("0.0045", "minute")
