"""A session's settings: merged, checked, and taken whole or not at all."""

from typing import Any

import pytest

from proxy.simulator.audio import PCMU
from proxy.simulator.config import Config, Kind
from proxy.simulator.messages import ClientError
from proxy.simulator.options import Options
from proxy.simulator.vad import Detection


def config(kind: Kind = "realtime", *, fixed: bool = True) -> Config:
    return Config(Options(), kind, None, kind_fixed=fixed)


def test_an_update_changes_what_it_names() -> None:
    made = config()
    made.update({"instructions": "Hi.", "audio": {"input": {"transcription": {"model": "whisper-1"}}}})
    shown = made.show()
    assert shown["instructions"] == "Hi."
    assert shown["audio"]["input"]["transcription"]["model"] == "whisper-1"
    assert shown["audio"]["input"]["turn_detection"]["type"] == "server_vad"
    assert shown["audio"]["output"]["voice"] == "marin"
    assert shown["model"] == "gpt-realtime-2.1"


def test_turn_detection_is_filled_with_defaults() -> None:
    made = config()
    made.update({"audio": {"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 700}}}})
    assert made.detection == Detection(1_000, 300, 700)
    assert made.turns("create_response") and made.turns("interrupt_response")
    made.update({"audio": {"input": {"turn_detection": {"type": "semantic_vad", "create_response": False}}}})
    assert not made.turns("create_response")
    made.update({"audio": {"input": {"turn_detection": None}}})
    assert made.detection is None and not made.turns("interrupt_response")


def test_formats() -> None:
    made = config()
    made.update({"audio": {"input": {"format": {"type": "audio/pcmu"}}}})
    assert made.input_format is PCMU


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        (None, "missing_required_parameter", "session"),
        ({"colour": "red"}, "unknown_parameter", "session.colour"),
        ({"type": "transcription"}, "invalid_parameter", "session.type"),
        ({"type": "video"}, "invalid_value", "session.type"),
        ({"model": "gpt-surprise"}, "model_not_found", "session.model"),
        ({"instructions": 7}, "invalid_value", "session.instructions"),
        ({"max_output_tokens": 0}, "invalid_value", "session.max_output_tokens"),
        ({"output_modalities": ["smell"]}, "invalid_value", "session.output_modalities"),
        ({"tools": [{}]}, "invalid_value", "session.tools"),
        ({"tool_choice": 5}, "invalid_value", "session.tool_choice"),
        ({"truncation": "sometimes"}, "invalid_value", "session.truncation"),
        ({"truncation": {"type": "retention_ratio"}}, "invalid_value", "session.truncation"),
        ({"reasoning": "much"}, "invalid_value", "session.reasoning"),
        ({"reasoning": {"effort": []}}, "invalid_value", "session.reasoning"),
        (
            {
                "truncation": {
                    "type": "retention_ratio",
                    "retention_ratio": 1,
                    "token_limits": {"post_instructions": "x"},
                }
            },
            "invalid_value",
            "session.truncation",
        ),
        (
            {"audio": {"input": {"transcription": {"model": "whisper-1", "prompt": 5}}}},
            "invalid_value",
            "session.audio.input.transcription.prompt",
        ),
        ({"audio": []}, None, None),
        ({"audio": {"sideways": {}}}, "unknown_parameter", "session.audio.sideways"),
        ({"audio": {"input": {"gain": 2}}}, "unknown_parameter", "session.audio.input.gain"),
        (
            {"audio": {"input": {"format": {"type": "audio/opus"}}}},
            "invalid_value",
            "session.audio.input.format",
        ),
        (
            {"audio": {"input": {"transcription": {"model": "gpt-realtime"}}}},
            "invalid_value",
            "session.audio.input.transcription.model",
        ),
        (
            {"audio": {"input": {"turn_detection": {"type": "telepathy"}}}},
            "invalid_value",
            "session.audio.input.turn_detection.type",
        ),
        (
            {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": -1}}}},
            "invalid_value",
            "session.audio.input.turn_detection",
        ),
    ],
)
def test_updates_that_cannot_be_change_nothing(changes: Any, code: str | None, param: str | None) -> None:
    made = config()
    before = made.show()
    if code is None:
        made.update(changes)
    else:
        good = {"instructions": "Half of an update"}
        with pytest.raises(ClientError) as caught:
            made.update(good | changes if isinstance(changes, dict) else changes)
        assert (caught.value.code, caught.value.param) == (code, param)
    assert made.show() == before


def test_a_url_without_model_leaves_the_kind_to_the_first_update() -> None:
    made = config(fixed=False)
    made.update({"type": "transcription", "audio": {"input": {"transcription": {"model": "whisper-1"}}}})
    assert made.show()["object"] == "realtime.transcription_session"
    assert "model" not in made.show()
    with pytest.raises(ClientError):
        made.update({"type": "realtime"})


def test_a_response_uses_its_own_settings_where_given() -> None:
    made = config()
    made.update({"instructions": "Session.", "max_output_tokens": 200, "reasoning": {"effort": "low"}})
    plain = made.ask()
    assert (plain.instructions, plain.max_output_tokens, plain.in_conversation) == ("Session.", 200, True)
    assert plain.speaks and plain.reasoning_tokens == 16
    own = made.ask(
        {
            "instructions": "Own.",
            "max_output_tokens": "inf",
            "conversation": "none",
            "output_modalities": ["text"],
            "metadata": {"topic": "x"},
            "input": [],
        }
    )
    assert (own.instructions, own.max_output_tokens, own.in_conversation) == ("Own.", None, False)
    assert not own.speaks and own.metadata == {"topic": "x"} and own.input == []


@pytest.mark.parametrize("given", ["text", {"conversation": "other"}, {"max_output_tokens": -1}])
def test_responses_that_cannot_be(given: Any) -> None:
    with pytest.raises(ClientError):
        config().ask(given)


def test_the_prompt_starts_with_instructions_and_tools() -> None:
    made = config()
    made.update({"instructions": "x" * 40, "tools": [{"type": "function", "name": "look"}]})
    # the tools are read as JSON: [{"name": "look", "type": "function"}] is 38 characters
    assert [segment.tokens for segment in made.ask().head()] == [10, 10]
    made.update({"instructions": "", "tools": []})
    assert made.ask().head() == []
