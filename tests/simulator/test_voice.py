"""What the simulated model answers."""

import json
from typing import Any

import pytest

from proxy.simulator.config import Ask, Config
from proxy.simulator.conversation import Item, Part, user_audio
from proxy.simulator.options import Options
from proxy.simulator.voice import Call, Words, answer

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer"},
            "unit": {"enum": ["celsius", "kelvin"]},
            "lang": {"type": "string", "default": "en"},
            "note": {"type": "string"},
        },
        "required": ["city", "days", "unit", "lang"],
    },
}
TIME = {"type": "function", "name": "get_time"}


def ask(**given: Any) -> Ask:
    return Config(Options(), "realtime", None, kind_fixed=True).ask(given)


def told(text: str) -> list[Item]:
    return [Item("message", role="user", parts=[Part("input_text", text)])]


def said(items: list[Item], words: int | None = None, **given: Any) -> str:
    made = answer(ask(**given), items, words)
    assert isinstance(made, Words)
    return " ".join(made.words)


def test_it_tells_what_it_was_told() -> None:
    assert said([]) == "Hello! How can I help you today?"
    assert said(told("Good morning")) == "You said: Good morning"
    assert said([user_audio("a", 24 * 2_300)]).startswith("I heard you speak for 2.3 seconds.")
    picture = Item(
        "message", role="user", parts=[Part("input_image", image_url="data:"), Part("input_text", "What?")]
    )
    assert said([picture]) == "I looked at your picture. You said: What?"


def test_answers_of_a_wanted_length() -> None:
    assert len(said(told("Give me 40 words please")).split()) == 40
    assert said(told("Good morning"), words=1) == "You"
    assert len(said(told("Good morning"), words=9).split()) == 9


@pytest.mark.parametrize(
    ("text", "given", "name"),
    [
        ("Use a tool", {}, "get_weather"),
        ("Please get_time now", {}, "get_time"),
        ("Hello", {"tool_choice": "required"}, "get_weather"),
        ("Hello", {"tool_choice": {"type": "function", "name": "get_time"}}, "get_time"),
        ("Hello", {}, None),
        ("Use a tool", {"tool_choice": "none"}, None),
        ("Use a tool", {"tools": []}, None),
        ("Use a tool", {"tool_choice": {"type": "function", "name": "get_lost"}}, None),
    ],
)
def test_when_it_calls_a_tool(text: str, given: dict[str, Any], name: str | None) -> None:
    made = answer(ask(**({"tools": [WEATHER, TIME]} | given)), told(text))
    assert (made.name if isinstance(made, Call) else None) == name


def test_arguments_fit_the_tools_parameters() -> None:
    made = answer(ask(tools=[WEATHER], tool_choice="required"), told("Hi"))
    assert isinstance(made, Call)
    assert json.loads(made.arguments) == {"city": "sample", "days": 1, "unit": "celsius", "lang": "en"}


def test_after_a_tool_it_speaks() -> None:
    output = Item("function_call_output", call_id="c", text="12 degrees")
    assert said([output], tools=[WEATHER], tool_choice="required") == "The tool answered: 12 degrees"
