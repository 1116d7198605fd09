"""The beta shape: the event names and fields of before GA, which Azure's preview still speaks."""

from typing import Any

from proxy.simulator.messages import Json

RENAMED = {
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
    "response.output_text.delta": "response.text.delta",
    "response.output_text.done": "response.text.done",
    "conversation.item.added": "conversation.item.created",
}
DROPPED = frozenset({"conversation.item.done"})
FORMATS = {"audio/pcm": "pcm16", "audio/pcmu": "g711_ulaw", "audio/pcma": "g711_alaw"}
_FORMATS_BACK: dict[str, Json] = {short: {"type": name} for name, short in FORMATS.items()}
_PARTS = {"output_audio": "audio", "output_text": "text"}
_AUDIO_IN = {
    "input_audio_format": "format",
    "input_audio_transcription": "transcription",
    "input_audio_noise_reduction": "noise_reduction",
    "turn_detection": "turn_detection",
}
_AUDIO_OUT = {"output_audio_format": "format", "voice": "voice", "speed": "speed"}
_OTHER: dict[str, str] = {
    "modalities": "output_modalities",
    "max_response_output_tokens": "max_output_tokens",
}
_IGNORED = frozenset({"temperature", "id", "object"})


def to_beta(event: Json) -> Json | None:
    """Return a GA event in the beta shape; None for events that the beta API did not have."""
    kind = event["type"]
    if kind in DROPPED:
        return None
    event = event | {"type": RENAMED.get(kind, kind)}
    if "item" in event:
        event["item"] = _item(event["item"])
    if "response" in event:
        event["response"] = _response(event["response"])
    if "session" in event:
        event["session"] = _session(event["session"])
    return event


def _item(item: Json) -> Json:
    if "content" not in item:
        return item
    content = [part | {"type": _PARTS.get(part["type"], part["type"])} for part in item["content"]]
    return item | {"content": content}


def _modalities(names: list[str]) -> list[str]:
    return ["text", "audio"] if "audio" in names else ["text"]


def _response(response: Json) -> Json:
    flat = {name: value for name, value in response.items() if name not in ("audio", "output_modalities")}
    output = response["audio"]["output"]
    return flat | {
        "output": [_item(item) for item in response["output"]],
        "modalities": _modalities(response["output_modalities"]),
        "voice": output["voice"],
        "output_audio_format": FORMATS[output["format"]["type"]],
        "temperature": 0.8,
    }


def _session(session: Json) -> Json:
    into, out = session["audio"]["input"], session["audio"].get("output")
    kept = ("id", "object", "model", "expires_at", "instructions", "tools", "tool_choice", "tracing")
    flat: Json = {name: session[name] for name in kept if name in session}
    flat |= {short: into[name] for short, name in _AUDIO_IN.items()}
    flat["input_audio_format"] = FORMATS[into["format"]["type"]]
    if out is not None:
        flat |= {short: out[name] for short, name in _AUDIO_OUT.items()}
        flat["output_audio_format"] = FORMATS[out["format"]["type"]]
        flat["modalities"] = _modalities(session["output_modalities"])
        flat["max_response_output_tokens"] = session["max_output_tokens"]
        flat["temperature"] = 0.8
    return flat


def from_beta(flat: Any) -> Any:
    """Return a beta `session` or `response` object in the GA shape; anything else as it is."""
    if not isinstance(flat, dict):
        return flat
    changed: Json = {}
    into: Json = {}
    out: Json = {}
    for name, value in flat.items():
        if name in _AUDIO_IN:
            into[_AUDIO_IN[name]] = _format(value) if name.endswith("_format") else value
        elif name in _AUDIO_OUT:
            out[_AUDIO_OUT[name]] = _format(value) if name.endswith("_format") else value
        elif name not in _IGNORED:
            changed[_OTHER.get(name) or name] = value
    audio = {side: values for side, values in (("input", into), ("output", out)) if values}
    return changed | ({"audio": audio} if audio else {})


def _format(name: Any) -> Any:
    return _FORMATS_BACK.get(str(name), name)
