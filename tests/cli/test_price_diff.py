"""`talkmeter prices import --source`."""

import json
from pathlib import Path

from tests.cli.conftest import Talkmeter

FILES = Path(__file__).parents[1] / "store" / "published"
LITELLM = ("prices", "import", str(FILES / "litellm.json"), "--source", "litellm")
GENAI = ("prices", "import", str(FILES / "genai-prices.json"), "--source", "genai-prices")


def test_a_diff_changes_nothing_and_apply_adds_what_differs(talkmeter: Talkmeter) -> None:
    before = talkmeter("prices", "list", "--all", "--json").json
    ran = talkmeter(*LITELLM)
    assert "gpt-4o-transcribe" in ran.out and "6.00" in ran.out and "2.50" in ran.out and "changed" in ran.out
    assert "Different: 1." in ran.out and "Nothing was added: --apply does." in ran.err
    assert talkmeter("prices", "list", "--all", "--json").json == before
    ran = talkmeter(*LITELLM, "--model", "gpt-4o-transcribe", "--apply", "--from", "2026-12-01")
    assert "New cards were added." in ran.err
    cards = talkmeter("prices", "list", "--all", "--model", "gpt-4o-transcribe", "--json").json
    new = cards[-1]
    assert (len(cards), new["effective_from"]) == (2, "2026-12-01T00:00:00Z")
    assert new["source"].startswith("litellm's published prices (SHA-256 ")
    assert new["prices"]["audio_in"]["usd"] == "2.50"
    assert cards[0]["prices"].keys() <= new["prices"].keys()
    again = talkmeter(*LITELLM, "--model", "gpt-4o-transcribe", "--apply", "--from", "2026-12-02")
    assert again.out == "Models compared: 1. Different: 0.\n"
    assert "prices.import" in talkmeter("audit", "list").out


def test_json_is_a_line_for_each_model(talkmeter: Talkmeter) -> None:
    out = talkmeter(*GENAI, "--model", "gpt-realtime-2", "--model", "gpt-5.4", "--json").out
    chat, talk = (json.loads(line) for line in out.splitlines())
    assert (talk["model"], talk["differs"], talk["added"]) == ("gpt-realtime-2", False, False)
    assert talk["meters"]["audio_out"]["what"] == "same"
    assert talk["meters"]["image_in"]["what"] == "kept"
    assert chat["left_out"]


def test_mistakes_are_told(talkmeter: Talkmeter, tmp_path: Path) -> None:
    assert "--source litellm" in talkmeter.fails(*LITELLM[:3], code=2)
    assert "--source" in talkmeter.fails(*LITELLM[:3], "--apply", code=2)
    assert "a list, with an object" in talkmeter.fails(*LITELLM[:4], "genai-prices")
    assert "no model 'none'" in talkmeter.fails(*LITELLM, "--model", "none")
    assert "no models of 'nobody'" in talkmeter.fails(*LITELLM, "--provider", "nobody")
