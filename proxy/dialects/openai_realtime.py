"""The OpenAI Realtime API, in its GA and its beta names: messages in, core events out.

A client's messages are read strictly, since what we check has to be what the upstream will read: one
JSON object, no duplicate keys, no NaN. An upstream's are read leniently, since they are relayed
whatever they say, and a bill must not be lost over a field of an unexpected type.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from proxy.core import events
from proxy.core.commands import Cancel, Message
from proxy.core.events import Event, Other, Side, Unreadable
from proxy.core.usage import Reported, ReportedSeconds, ReportedTokens

STRUCTURE_MAX = 65_536  # of `[`, `{` and `,` in one message: more is a bomb, not a conversation
ID_CHARS_MAX = 256  # of an id or a model's name: they are keys in the ledger
PCM_RATE_HZ = 24_000
G711_BYTES_PER_S = 8_000

_OTHER = Other()

Fields = Mapping[str, Any]


class _Envelope(msgspec.Struct):
    type: Any = None


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode = msgspec.json.Decoder().decode


def parse(side: Side, payload: bytes) -> Event:
    """Return what `payload`, one whole text message from `side`, means. Never raises."""
    if side is Side.CLIENT:
        return _parse_client(payload)
    return _parse_upstream(payload)


def render(message: Message) -> str:
    """Return the JSON text of a message of our own."""
    return json.dumps(_cancel(message) if isinstance(message, Cancel) else _error(message))


def _cancel(message: Cancel) -> dict[str, object]:
    cancel: dict[str, object] = {"type": "response.cancel", "event_id": message.event_id}
    if message.response_id is not None:
        cancel["response_id"] = message.response_id
    return cancel


def _error(message: Any) -> dict[str, object]:
    refusal = message.refusal
    error = {
        "type": refusal.type,
        "code": refusal.code,
        "message": refusal.message,
        "param": None,
        "event_id": message.caused_by,
    }
    return {"type": "error", "event_id": message.event_id, "error": error}


# Client messages


class _Bad(ValueError):
    """Why a client's message is refused; the text is for its developer."""


def _parse_client(payload: bytes) -> Event:
    try:
        fields = _strict(payload)
    except _Bad as problem:
        return Unreadable(str(problem))
    except RecursionError:
        return Unreadable("The message is nested too deeply.")
    read = _CLIENT.get(_text(fields.get("type")) or "")
    return read(fields) if read else _OTHER


def _strict(payload: bytes) -> Fields:
    """Return the one JSON object that every parser reads `payload` as.

    Raises:
        _Bad: it is not JSON, not an object, ambiguous or out of proportion.
    """
    if _structure(payload) > STRUCTURE_MAX:
        raise _Bad(f"The message has more than {STRUCTURE_MAX} JSON elements.")
    try:
        fields = json.loads(payload.decode(), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise _Bad("The message is not UTF-8.") from None
    except json.JSONDecodeError as error:
        raise _Bad(f"The message is not JSON: {error.msg} at character {error.pos}.") from None
    except ValueError as error:
        if isinstance(error, _Bad):
            raise
        raise _Bad("The message has a number that is too long.") from None
    if not isinstance(fields, dict):
        raise _Bad("The message is not a JSON object.")
    return fields


def _structure(payload: bytes) -> int:
    """Return how many JSON elements `payload` can have at most."""
    if len(payload) <= STRUCTURE_MAX:
        return len(payload)
    return payload.count(b"{") + payload.count(b"[") + payload.count(b",")


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise _Bad("The message names a key twice in one object.")
    return fields


def _no_constant(name: str) -> object:
    raise _Bad(f"The message has {name}, which is not JSON.")


def _session_update(fields: Fields) -> Event:
    session = _dict(fields.get("session"))
    transcription = _transcription(session)[1]
    return events.SessionUpdateAsked(
        event_id=_text(fields.get("event_id")),
        model=_id(session.get("model")),
        transcription_model=transcription,
        text_chars=_chars(session.get("instructions")) + _json_chars(session.get("tools")),
    )


def _item_create(fields: Fields) -> Event:
    text, audio, images = _contents(_dict(fields.get("item")))
    return events.ItemAsked(_text(fields.get("event_id")), text, audio, images)


def _contents(item: Fields) -> tuple[int, int, int]:
    """Return the characters of text and of base64 audio, and the number of images, in an item."""
    parts = [_dict(part) for part in _list(item.get("content"))]
    text = sum(_chars(part.get("text")) + _chars(part.get("transcript")) for part in parts)
    text += _chars(item.get("output")) + _chars(item.get("arguments"))
    images = sum(part.get("type") == "input_image" for part in parts)
    return text, sum(_chars(part.get("audio")) for part in parts), images


def _input_append(fields: Fields) -> Event:
    return events.InputAudio(_chars(fields.get("audio")), _text(fields.get("event_id")))


def _response_create(fields: Fields) -> Event:
    response = _dict(fields.get("response"))
    inline = [_contents(_dict(item)) for item in _list(response.get("input"))]
    return events.ResponseAsked(
        event_id=_text(fields.get("event_id")),
        out_of_band=response.get("conversation") == "none",
        text_chars=_chars(response.get("instructions")) + sum(text for text, _, _ in inline),
    )


_CLIENT: dict[str, Callable[[Fields], Event]] = {
    "session.update": _session_update,
    "transcription_session.update": _session_update,
    "conversation.item.create": _item_create,
    "input_audio_buffer.append": _input_append,
    "response.create": _response_create,
}


# Upstream messages


def _parse_upstream(payload: bytes) -> Event:
    if _structure(payload) > STRUCTURE_MAX:  # what it bills, if anything, is estimated in the end
        return Unreadable("out of proportion")
    try:
        read = _UPSTREAM.get(_text(_decode_envelope(payload).type) or "")
        return read(_dict(_decode(payload))) if read else _OTHER
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Unreadable(f"not a JSON object: {type(error).__name__}")


def _configured(fields: Fields) -> Event:
    session = _dict(fields.get("session"))
    audio = _dict(session.get("audio"))
    told, transcription = _transcription(session)
    return events.SessionConfigured(
        created=str(fields["type"]).endswith("created"),
        upstream_session_id=_id(session.get("id")),
        model=_id(session.get("model")),
        transcription_model=transcription,
        transcription_told=told,
        input_bytes_per_s=_rate(_dict(audio.get("input")).get("format") or session.get("input_audio_format")),
        output_bytes_per_s=_rate(
            _dict(audio.get("output")).get("format") or session.get("output_audio_format")
        ),
        answers_by_itself=_answers_by_itself(session),
    )


def _transcription(session: Fields) -> tuple[bool, str | None]:
    """Return whether the session tells its input transcription, and the model that it names."""
    audio_input = _dict(_dict(session.get("audio")).get("input"))
    for place, key in ((audio_input, "transcription"), (session, "input_audio_transcription")):
        if key in place:
            return True, _id(_dict(place[key]).get("model"))
    return False, None


def _answers_by_itself(session: Fields) -> bool | None:
    """Return whether turn detection starts responses; None if the session does not tell."""
    if session.get("type") == "transcription":
        return False
    audio_input = _dict(_dict(session.get("audio")).get("input"))
    for place in (audio_input, session):
        if "turn_detection" in place:
            detection = place["turn_detection"]
            return isinstance(detection, dict) and detection.get("create_response") is not False
    return None


def _rate(audio_format: object) -> int | None:
    """Return the bytes a second of an audio format, GA object or beta name; None if untold."""
    if isinstance(audio_format, dict):
        hertz = _number(audio_format.get("rate")) or PCM_RATE_HZ
        audio_format = audio_format.get("type")
        if audio_format == "audio/pcm":
            return max(1, int(2 * hertz))
    if audio_format == "pcm16":
        return 2 * PCM_RATE_HZ
    return G711_BYTES_PER_S if audio_format in _G711 else None


_G711 = ("audio/pcmu", "audio/pcma", "g711_ulaw", "g711_alaw")


def _response_created(fields: Fields) -> Event:
    response = _dict(fields.get("response"))
    response_id = _id(response.get("id"))
    if response_id is None:
        return _OTHER
    return events.ResponseStarted(response_id, _is_out_of_band(response))


def _is_out_of_band(response: Fields) -> bool:
    return "conversation_id" in response and response["conversation_id"] is None


def _response_text(fields: Fields) -> Event:
    return events.ResponseText(_id(fields.get("response_id")) or "", _chars(fields.get("delta")))


def _response_audio(fields: Fields) -> Event:
    return events.ResponseAudio(_id(fields.get("response_id")) or "", _chars(fields.get("delta")))


def _response_done(fields: Fields) -> Event:
    response = _dict(fields.get("response"))
    details = _dict(response.get("status_details"))
    return events.ResponseEnded(
        response_id=_id(response.get("id")) or _id(fields.get("response_id")),
        status=_id(response.get("status")) or "unknown",
        reason=_id(details.get("reason")) or _id(_dict(details.get("error")).get("code")),
        usage=_tokens(response.get("usage")),
        out_of_band=_is_out_of_band(response),
    )


def _tokens(usage: object) -> Reported | None:
    """Return a report in tokens as it stands on the wire; None if there is none."""
    if not isinstance(usage, dict) or not usage:
        return None
    into = _dict(usage.get("input_token_details"))
    cached = _dict(into.get("cached_tokens_details"))
    out = _dict(usage.get("output_token_details"))
    return ReportedTokens(
        total=_number(usage.get("total_tokens")),
        input=_number(usage.get("input_tokens")),
        output=_number(usage.get("output_tokens")),
        text_in=_number(into.get("text_tokens")),
        audio_in=_number(into.get("audio_tokens")),
        image_in=_number(into.get("image_tokens")),
        cached=_number(into.get("cached_tokens")),
        cached_text=_number(cached.get("text_tokens")),
        cached_audio=_number(cached.get("audio_tokens")),
        cached_image=_number(cached.get("image_tokens")),
        text_out=_number(out.get("text_tokens")),
        audio_out=_number(out.get("audio_tokens")),
    )


def _committed(fields: Fields) -> Event:
    return events.InputCommitted(_id(fields.get("item_id")) or "")


def _speech(fields: Fields) -> Event:
    start, end = _number(fields.get("audio_start_ms")), _number(fields.get("audio_end_ms"))
    return events.SpeechHeard(None if start is None else int(start), None if end is None else int(end))


def _transcription_completed(fields: Fields) -> Event:
    return events.TranscriptionEnded(
        _id(fields.get("item_id")) or "", _content_index(fields), _transcription_usage(fields.get("usage"))
    )


def _transcription_usage(usage: object) -> Reported | None:
    """Return a transcription's report. Its output is text, and so says no detail of it."""
    if not isinstance(usage, dict) or not usage:
        return None
    if usage.get("type") == "duration" or "seconds" in usage:
        seconds = _number(usage.get("seconds"))
        return None if seconds is None else ReportedSeconds(seconds)
    reported = _tokens(usage)
    if isinstance(reported, ReportedTokens) and reported.text_out is None and reported.audio_out is None:
        return dataclasses.replace(reported, text_out=reported.output)
    return reported


def _transcription_failed(fields: Fields) -> Event:
    return events.TranscriptionFailed(_id(fields.get("item_id")) or "", _content_index(fields))


def _content_index(fields: Fields) -> int:
    return int(_number(fields.get("content_index")) or 0)


def _upstream_error(fields: Fields) -> Event:
    error = _dict(fields.get("error"))
    return events.UpstreamError(_text(error.get("event_id")), _text(error.get("code")))


_TEXT_DELTAS = (
    "response.output_audio_transcript.delta",
    "response.audio_transcript.delta",
    "response.output_text.delta",
    "response.text.delta",
    "response.function_call_arguments.delta",
    "response.mcp_call_arguments.delta",
)

_UPSTREAM: dict[str, Callable[[Fields], Event]] = {
    "session.created": _configured,
    "session.updated": _configured,
    "transcription_session.created": _configured,
    "transcription_session.updated": _configured,
    "response.created": _response_created,
    **dict.fromkeys(_TEXT_DELTAS, _response_text),
    "response.output_audio.delta": _response_audio,
    "response.audio.delta": _response_audio,
    "response.done": _response_done,
    "input_audio_buffer.committed": _committed,
    "input_audio_buffer.speech_started": _speech,
    "input_audio_buffer.speech_stopped": _speech,
    "conversation.item.input_audio_transcription.completed": _transcription_completed,
    "conversation.item.input_audio_transcription.failed": _transcription_failed,
    "error": _upstream_error,
}


# Reading leniently: the field if it is of the type that was expected, else as if it were absent


def _dict(value: object) -> Fields:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _id(value: object) -> str | None:
    """Return an id or a model's name. One of absurd length is cut, and told apart by its hash."""
    text = _text(value)
    if text is None or len(text) <= ID_CHARS_MAX:
        return text
    return f"{text[:64]}~{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()}"


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _chars(value: object) -> int:
    return len(value) if isinstance(value, str) else 0


def _json_chars(value: object) -> int:
    return len(json.dumps(value)) if value else 0
