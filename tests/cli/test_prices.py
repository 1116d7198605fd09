"""`talkmeter prices`."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Talkmeter

CSV = """provider,model,effective_from,meter,usd,per,source
openai,voice-9,2026-01-01,audio_in,32.00,million,contract
openai,voice-9,2026-01-01,audio_out,64.00,million,contract
"""


def test_the_cards_that_hold_now(talkmeter: Talkmeter) -> None:
    cards = talkmeter("prices", "list", "--json").json
    assert len(cards) == 22
    (card,) = [card for card in cards if card["model"] == "gpt-realtime-2.1"]
    assert card["prices"]["audio_out"] == {"usd": "64.00", "per": "million"}
    assert card.keys() == {"id", "provider", "model", "effective_from", "source", "prices"}
    table = talkmeter("prices", "list", "--model", "whisper-1").out
    assert "0.006" in table and "minute" in table and "gpt-realtime" not in table


def test_importing_a_file(talkmeter: Talkmeter, tmp_path: Path) -> None:
    file = tmp_path / "cards.csv"
    file.write_text(CSV)
    card = {"provider": "openai", "model": "voice-9", "effective_from": "2026-01-01T00:00:00Z"}
    assert talkmeter("prices", "import", str(file), "--json").json == {"added": [card], "unchanged": []}
    assert talkmeter("prices", "import", str(file), "--json").json == {"added": [], "unchanged": [card]}
    assert talkmeter("prices", "import", "-", "--format", "csv", given=CSV).out == (
        "unchanged  openai/voice-9 from 2026-01-01T00:00:00Z\n"
    )
    other = CSV.replace("32.00", "31.00")
    assert "never edited" in talkmeter.fails("prices", "import", "-", "--format", "csv", given=other)


def test_what_is_exported_as_json_can_be_imported(talkmeter: Talkmeter, tmp_path: Path) -> None:
    cards = talkmeter("prices", "list", "--all", "--json").json
    for card in cards:
        del card["id"]
    file = tmp_path / "cards.json"
    file.write_text(json.dumps({"format": "talkmeter-rate-cards/1", "cards": cards}))
    assert len(talkmeter("prices", "import", str(file), "--json").json["unchanged"]) == 22


def test_a_price_from_an_instant_on(talkmeter: Talkmeter) -> None:
    words = ("prices", "set", "gpt-realtime-2.1", "audio_out", "50")
    assert talkmeter(*words, "--from", "2099-01-01").out == (
        "added      openai/gpt-realtime-2.1 from 2099-01-01T00:00:00Z\n"
    )
    (now,) = talkmeter("prices", "list", "--model", "gpt-realtime-2.1", "--json").json
    assert now["prices"]["audio_out"]["usd"] == "64.00"
    _, later = talkmeter("prices", "list", "--model", "gpt-realtime-2.1", "--all", "--json").json
    assert later["prices"] == now["prices"] | {"audio_out": {"usd": "50.00", "per": "million"}}
    assert "never edited" in talkmeter.fails(*words[:-1], "51", "--from", "2099-01-01")


def test_units(talkmeter: Talkmeter) -> None:
    talkmeter("prices", "set", "a", "duration_ms", "0.02", "--per", "minute", "--from", "2026-01-01")
    talkmeter("prices", "set", "b", "duration_ms", "0.02", "--from", "2026-01-01")
    talkmeter("prices", "set", "c", "text_in", "0.000004", "--per", "each", "--provider", "mine")
    cards = {card["model"]: card for card in talkmeter("prices", "list", "--json").json}
    assert cards["a"]["prices"] == cards["b"]["prices"] == {"duration_ms": {"usd": "0.02", "per": "minute"}}
    assert cards["c"]["prices"] == {"text_in": {"usd": "4.00", "per": "million"}}
    assert cards["c"]["provider"] == "mine"


@pytest.mark.parametrize(
    ("words", "given", "problem", "code"),
    [
        (("import", "none.json"), "", "none.json cannot be read: No such file", 1),
        (("import", "."), "", ". cannot be read: Is a directory", 1),
        (("import", "-"), CSV, "say whether it is json or csv", 2),
        (("import", "-", "--format", "csv"), CSV + "x\n", "row 4: expected 7 columns", 1),
        (("import", "-", "--format", "json"), "{", "This is not JSON", 1),
        (("set", "m", "audio", "1"), "", "'audio' is not one of text_in", 2),
        (("set", "m", "untold_in", "1"), "", "is not one of", 2),
        (("set", "m", "text_in", "much"), "", "is not an amount in dollars", 2),
        (("set", "m", "text_in", "1", "--per", "minute"), "", "per million or each", 2),
        (("set", "m", "text_in", "1", "--per", "hour"), "", "'hour' is not one of", 2),
        (("set", "m", "text_in", "1", "--from", "soon"), "", "'soon' is not a time", 2),
    ],
)
def test_mistakes_are_told(
    talkmeter: Talkmeter, words: tuple[str, ...], given: str, problem: str, code: int
) -> None:
    said = talkmeter.fails("prices", *words, given=given, code=code)
    assert problem in " ".join(said.replace("│", " ").split())


def test_a_file_that_is_no_text_is_told(talkmeter: Talkmeter, tmp_path: Path) -> None:
    (tmp_path / "cards.csv").write_bytes(b"\xff\xfe\x00")
    assert "it is not UTF-8 text" in talkmeter.fails("prices", "import", str(tmp_path / "cards.csv"))


@pytest.mark.parametrize("name", ["", " ", "a\x1b[31m", "\udcff", "x" * 257])
def test_a_name_that_no_model_has_is_refused(talkmeter: Talkmeter, name: str) -> None:
    assert "MODEL" in talkmeter.fails("prices", "set", name, "text_in", "1", code=2)
    assert "--provider" in talkmeter.fails("prices", "set", "m", "text_in", "1", "--provider", name, code=2)


def test_a_contract_and_agreed_prices_stand_beside_the_public_cards(talkmeter: Talkmeter) -> None:
    talkmeter("tenant", "create", "acme")
    model = "gpt-realtime-2.1"
    words = ("prices", "set", model, "audio_out")
    talkmeter(*words, "50", "--contract", "--from", "2026-01-01")
    talkmeter(*words, "80", "--tenant", "acme", "--from", "2026-01-01")
    (public,) = talkmeter("prices", "list", "--model", model, "--json").json
    (contract,) = talkmeter("prices", "list", "--contract", "--json").json
    (agreed,) = talkmeter("prices", "list", "--tenant", "acme", "--json").json
    assert public["prices"]["audio_out"]["usd"] == "64.00"
    assert contract["prices"] == public["prices"] | {"audio_out": {"usd": "50.00", "per": "million"}}
    assert agreed["prices"] == {"audio_out": {"usd": "80.00", "per": "million"}}
    assert "never edited" in talkmeter.fails(*words, "51", "--contract", "--from", "2026-01-01")


def test_a_file_can_be_of_a_contract(talkmeter: Talkmeter) -> None:
    given = ("prices", "import", "-", "--format", "csv")
    talkmeter(*given, given=CSV)
    said = talkmeter(*given, "--contract", given=CSV.replace("32.00", "31.00")).out
    assert said == "added      openai/voice-9 from 2026-01-01T00:00:00Z (contract)\n"
    (card,) = talkmeter("prices", "list", "--contract", "--json").json
    assert card["prices"]["audio_in"]["usd"] == "31.00"
    assert "no tenant 'nobody'" in talkmeter.fails(*given, "--tenant", "nobody", given=CSV)
    assert "--contract" in talkmeter.fails(*given, "--tenant", "acme", "--contract", given=CSV, code=2)
