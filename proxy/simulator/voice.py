"""What the simulated model answers: decided by the last thing it was told, never by chance."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from proxy.simulator.config import Ask
from proxy.simulator.conversation import Item
from proxy.simulator.messages import Json

TOKENS_PER_WORD = 7  # a spoken word takes 350 ms
WORDS_MAX = 4_000
FILLER = "and so the simulator goes on speaking calmly about nothing in particular"
_WORDS_WANTED = re.compile(r"(\d{1,4}) words")
_SAMPLES: Json = {"string": "sample", "integer": 1, "number": 1.5, "boolean": True, "array": [], "object": {}}


@dataclass(frozen=True, slots=True)
class Call:
    """The answer is a function call."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Words:
    """The answer is said or written, word by word."""

    words: Sequence[str]


def answer(ask: Ask, items: Sequence[Item], words: int | None = None) -> Call | Words:
    """Return what to answer to `items`; `words` makes every spoken answer so long.

    A tool is called when the settings require one or when the last text of the user contains "tool"
    or a tool's name. Behind a function's output the answer always speaks. A user who writes
    "40 words" gets an answer of 40 words.
    """
    last = items[-1] if items else None
    told = "".join(part.text for part in last.parts if part.kind == "input_text") if last else ""
    if last is not None and last.type == "function_call_output":
        return _words(f"The tool answered: {last.text}", words)
    tool = _wanted_tool(ask, told)
    if tool is not None:
        return Call(tool["name"], json.dumps(_arguments(tool)))
    wanted = _WORDS_WANTED.search(told)
    if wanted:
        return _words("", words or int(wanted[1]))
    return _words(_reply(last, told), words)


def _words(text: str, wanted: int | None) -> Words:
    said = text.split()[:WORDS_MAX]
    if wanted is None:
        return Words(said)
    filler = FILLER.split()
    return Words(
        [said[n] if n < len(said) else filler[n % len(filler)] for n in range(min(wanted, WORDS_MAX))]
    )


def _reply(last: Item | None, told: str) -> str:
    if last is None:
        return "Hello! How can I help you today?"
    if told:
        seen = "I looked at your picture. " if any(part.image_url for part in last.parts) else ""
        return f"{seen}You said: {' '.join(told.split()[:12])}"
    heard = sum(part.audio_tokens for part in last.parts if part.kind == "input_audio")
    return f"I heard you speak for {heard / 10} seconds. What else can I do for you?"


def _wanted_tool(ask: Ask, told: str) -> Json | None:
    functions = [tool for tool in ask.tools if tool.get("name")]
    if not functions or ask.tool_choice == "none":
        return None
    told = told.lower()
    named = next((tool for tool in functions if tool["name"].lower() in told), None)
    if isinstance(ask.tool_choice, dict):
        return next((tool for tool in functions if tool["name"] == ask.tool_choice.get("name")), None)
    if named or "tool" in told or ask.tool_choice == "required":
        return named or functions[0]
    return None


def _arguments(tool: Json) -> Json:
    """Return a value of the right type for every parameter that the tool requires."""
    schema = tool.get("parameters") or {}
    properties = schema.get("properties") or {}
    return {name: _sample(properties.get(name) or {}) for name in schema.get("required") or []}


def _sample(schema: Json) -> Any:
    if "default" in schema:
        return schema["default"]
    if schema.get("enum"):
        return schema["enum"][0]
    return _SAMPLES.get(str(schema.get("type")), "sample")
