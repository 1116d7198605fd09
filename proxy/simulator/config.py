"""A session's settings: the defaults, what `session.update` may change, and what one response uses."""

import copy
import json
import time
from dataclasses import dataclass
from typing import Any, Literal

from proxy.simulator.audio import FORMATS, PCM, Format
from proxy.simulator.messages import ClientError, Json, new_id
from proxy.simulator.options import DEFAULT_MODEL, Options
from proxy.simulator.truth import NOBODY
from proxy.simulator.usage import Segment, text_tokens
from proxy.simulator.vad import EAGERNESS_MS, Detection

Kind = Literal["realtime", "transcription"]

INSTRUCTIONS = (
    "You are the voice of a simulator. Be brief and kind, speak calmly, and answer in the language of "
    "the user. If you are asked to use a tool, call it first and then tell the user what came back."
)
VAD: Json = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 200,
    "idle_timeout_ms": None,
    "create_response": True,
    "interrupt_response": True,
}
SEMANTIC_VAD: Json = {
    "type": "semantic_vad",
    "eagerness": "auto",
    "create_response": True,
    "interrupt_response": True,
}
REALTIME_FIELDS = frozenset(
    {
        *("type", "model", "audio", "include", "instructions", "max_output_tokens", "output_modalities"),
        *("parallel_tool_calls", "prompt", "reasoning", "tool_choice", "tools", "tracing", "truncation"),
    }
)
TRANSCRIPTION_FIELDS = frozenset({"type", "audio", "include"})
INPUT_FIELDS = frozenset({"format", "noise_reduction", "transcription", "turn_detection"})
OUTPUT_FIELDS = frozenset({"format", "speed", "voice"})
REASONING_TOKENS = {"minimal": 8, "low": 16, "medium": 64, "high": 128, "xhigh": 256}
MODALITIES = (["audio"], ["text"], ["text", "audio"], ["audio", "text"])
TEXT_BYTES_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Ask:
    """What one response is made with: the session's settings with the response's own on top."""

    in_conversation: bool
    speaks: bool
    modalities: list[str]
    instructions: str
    tools: list[Json]
    tool_choice: Any
    max_output_tokens: int | None
    reasoning_tokens: int
    voice: Any
    format: Format
    metadata: Any
    input: list[Any] | None

    def head(self) -> list[Segment]:
        """Return what stands in front of the conversation in the prompt."""
        tools = json.dumps(self.tools, sort_keys=True) if self.tools else ""
        parts = (("instructions", self.instructions), ("tools", tools))
        return [Segment(part, "text", text_tokens(part[1])) for part in parts if part[1]]


class Config:
    """The settings of one session, in the GA shape."""

    def __init__(
        self,
        options: Options,
        kind: Kind,
        model: str | None,
        *,
        kind_fixed: bool,
        payer: tuple[str, str] = NOBODY,
    ) -> None:
        self.options = options
        self.payer = payer
        self.id = new_id("sess")
        self.kind: Kind = kind
        self.kind_fixed = kind_fixed  # the URL said what kind of session this is
        self.expires_at = int(time.time() + options.session_s_max)
        self.model = model or DEFAULT_MODEL
        self.fields: Json = {
            "output_modalities": ["audio"],
            "instructions": INSTRUCTIONS,
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": "inf",
            "tracing": None,
            "truncation": "auto",
            "prompt": None,
        }
        self.include: Any = None
        self.input: Json = {
            "format": {"type": "audio/pcm", "rate": 24_000},
            "transcription": None,
            "noise_reduction": None,
            "turn_detection": dict(VAD),
        }
        self.output: Json = {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": "marin", "speed": 1.0}

    def show(self) -> Json:
        """Return the session object of `session.created` and `session.updated`."""
        audio: Json = {"input": copy.deepcopy(self.input)}
        shown: Json = {
            "id": self.id,
            "type": self.kind,
            "expires_at": self.expires_at,
            "include": self.include,
        }
        if self.kind == "transcription":
            return shown | {"object": "realtime.transcription_session", "audio": audio}
        audio["output"] = copy.deepcopy(self.output)
        model = {"model": self.model}
        return shown | {"object": "realtime.session"} | model | copy.deepcopy(self.fields) | {"audio": audio}

    @property
    def input_format(self) -> Format:
        return FORMATS[self.input["format"]["type"]]

    @property
    def detection(self) -> Detection | None:
        turns = self.input["turn_detection"]
        return Detection.of(turns) if turns else None

    def turns(self, setting: str) -> bool:
        """Return a switch of the turn detection; off without one."""
        turns = self.input["turn_detection"]
        return bool(turns and turns.get(setting, True)) and self.kind == "realtime"

    def update(self, changes: Any) -> None:
        """Take over the fields of a `session.update`: all of them, or none and ClientError."""
        if not isinstance(changes, dict):
            raise ClientError(
                "missing_required_parameter", "Missing required parameter: 'session'.", "session"
            )
        trial = copy.deepcopy(self)
        trial._update(changes)
        self.__dict__.update(trial.__dict__)

    def _update(self, changes: Json) -> None:
        self._become(changes.get("type", self.kind))
        known = REALTIME_FIELDS if self.kind == "realtime" else TRANSCRIPTION_FIELDS
        _only(changes, known, "session")
        for name, value in changes.items():
            match name:
                case "type":
                    pass
                case "audio":
                    self._update_audio(value or {})
                case "include":
                    self.include = value
                case "model":
                    self.model = self._known_model(value)
                case _:
                    check_field(name, value, "session")
                    self.fields[name] = value

    def _become(self, kind: Any) -> None:
        if kind not in ("realtime", "transcription"):
            raise ClientError("invalid_value", f"Invalid value: {kind!r} for 'session.type'.", "session.type")
        if kind != self.kind and self.kind_fixed:
            message = f"Passing a {kind} session update event to a {self.kind} session is not allowed."
            raise ClientError("invalid_parameter", message, "session.type")
        self.kind, self.kind_fixed = kind, True

    def _known_model(self, model: Any) -> str:
        if model is None:
            return self.model
        if not isinstance(model, str) or not self.options.knows_model(model):
            message = f"The model {model!r} does not exist or you do not have access to it."
            raise ClientError("model_not_found", message, "session.model")
        return model

    def _update_audio(self, audio: Any) -> None:
        _only(audio, frozenset({"input", "output"}), "session.audio")
        for side, known in (("input", INPUT_FIELDS), ("output", OUTPUT_FIELDS)):
            changes = audio.get(side) or {}
            _only(changes, known, f"session.audio.{side}")
            stored = self.input if side == "input" else self.output
            for name, value in changes.items():
                stored[name] = self._audio_value(name, value, f"session.audio.{side}.{name}")

    def _audio_value(self, name: str, value: Any, param: str) -> Any:
        match name:
            case "format":
                return parse_format(value, param)
            case "turn_detection":
                return _turn_detection(value, param)
            case "transcription":
                return self._transcription(value, param)
            case _:
                return value

    def _transcription(self, value: Any, param: str) -> Any:
        if value is None:
            return None
        model = value.get("model") if isinstance(value, dict) else None
        model = model or (self.input["transcription"] or {}).get("model")
        if not isinstance(model, str) or not self.options.knows_transcriber(model):
            raise ClientError(
                "invalid_value", f"Invalid value: {model!r} for '{param}.model'.", f"{param}.model"
            )
        if not isinstance(value.get("prompt"), str | None):
            raise ClientError("invalid_value", f"Invalid value for '{param}.prompt'.", f"{param}.prompt")
        return {"language": None, "prompt": None} | value | {"model": model}

    def ask(self, given: Any = None) -> Ask:
        """Return the settings for one response; `given` is the `response` of a `response.create`."""
        given = given or {}
        if not isinstance(given, dict):
            raise ClientError("invalid_type", "Invalid type for 'response': expected an object.", "response")
        for name in self.fields.keys() & given.keys():
            check_field(name, given[name], "response")
        chosen = self.fields | {name: value for name, value in given.items() if value is not None}
        output = self.output | ((given.get("audio") or {}).get("output") or {})
        limit, conversation = chosen["max_output_tokens"], given.get("conversation") or "auto"
        if conversation not in ("auto", "none"):
            raise ClientError(
                "invalid_value", "Invalid value for 'response.conversation'.", "response.conversation"
            )
        return Ask(
            in_conversation=conversation == "auto",
            speaks="audio" in chosen["output_modalities"],
            modalities=list(chosen["output_modalities"]),
            instructions=chosen["instructions"] or "",
            tools=chosen["tools"] or [],
            tool_choice=chosen["tool_choice"] or "auto",
            max_output_tokens=None if limit in ("inf", None) else limit,
            reasoning_tokens=REASONING_TOKENS.get((chosen.get("reasoning") or {}).get("effort") or "", 0),
            voice=output["voice"],
            format=FORMATS[parse_format(output["format"], "response.audio.output.format")["type"]],
            metadata=given.get("metadata"),
            input=given.get("input"),
        )


def _only(value: Any, known: frozenset[str], path: str) -> None:
    if not isinstance(value, dict):
        raise ClientError("invalid_type", f"Invalid type for '{path}': expected an object.", path)
    for name in value.keys() - known:
        raise ClientError("unknown_parameter", f"Unknown parameter: '{path}.{name}'.", f"{path}.{name}")


def parse_format(value: Any, param: str) -> Json:
    """Return a format object as the session shows it."""
    name = value.get("type") if isinstance(value, dict) else None
    if name not in FORMATS or FORMATS[name] is PCM and value.get("rate") not in (None, 24_000):
        raise ClientError("invalid_value", f"Invalid value for '{param}'.", param)
    return {"type": name, "rate": 24_000} if FORMATS[name] is PCM else {"type": name}


def _turn_detection(value: Any, param: str) -> Any:
    if value is None:
        return None
    kind = value.get("type", "server_vad") if isinstance(value, dict) else None
    defaults = {"server_vad": VAD, "semantic_vad": SEMANTIC_VAD}.get(str(kind))
    if defaults is None:
        raise ClientError("invalid_value", f"Invalid value: {kind!r} for '{param}.type'.", f"{param}.type")
    _only(value, frozenset(defaults), param)
    merged = defaults | {name: given for name, given in value.items() if given is not None}
    numbers = [
        merged[name] for name in ("threshold", "prefix_padding_ms", "silence_duration_ms") if name in merged
    ]
    bad_number = any(not isinstance(n, int | float) or not 0 <= n <= 60_000 for n in numbers)
    idle_ms = merged.get("idle_timeout_ms")
    bad_number = bad_number or not (
        idle_ms is None or isinstance(idle_ms, int) and 5_000 <= idle_ms <= 30_000
    )
    if bad_number or merged.get("eagerness", "auto") not in EAGERNESS_MS:
        raise ClientError("invalid_value", f"Invalid value for '{param}'.", param)
    return merged


def check_field(name: str, value: Any, path: str) -> None:
    """Raise ClientError unless `value` can be the setting `name` of a session or a response."""
    match name:
        case "instructions":
            good = value is None or isinstance(value, str) and len(value) <= TEXT_BYTES_MAX
        case "output_modalities":
            good = value is None or value in MODALITIES
        case "max_output_tokens":
            good = value in (None, "inf") or isinstance(value, int) and 1 <= value <= 32_768
        case "tools":
            good = value is None or isinstance(value, list) and all(_is_tool(tool) for tool in value)
        case "tool_choice":
            good = value in (None, "auto", "none", "required") or isinstance(value, dict)
        case "truncation":
            good = value in ("auto", "disabled", None) or _is_retention(value)
        case "reasoning":
            good = (
                value is None or isinstance(value, dict) and isinstance(value.get("effort", ""), str | None)
            )
        case _:
            good = True
    if not good:
        raise ClientError("invalid_value", f"Invalid value for '{path}.{name}'.", f"{path}.{name}")


def _is_tool(tool: Any) -> bool:
    return isinstance(tool, dict) and (tool.get("type") == "mcp" or isinstance(tool.get("name"), str))


def _is_retention(value: Any) -> bool:
    if not isinstance(value, dict) or value.get("type") != "retention_ratio":
        return False
    ratio, limits = value.get("retention_ratio"), value.get("token_limits") or {}
    if not isinstance(ratio, int | float) or not 0 <= ratio <= 1 or not isinstance(limits, dict):
        return False
    return isinstance(limits.get("post_instructions", 0), int | None)
