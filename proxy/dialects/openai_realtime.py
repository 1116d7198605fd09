"""The OpenAI Realtime API, in its GA and its beta names: messages in, core events out.

A client's messages are read strictly, since what we check has to be what the upstream will read: one
JSON object, no duplicate keys, no NaN. An upstream's are read leniently, since they are relayed
whatever they say, and a bill must not be lost over a field of an unexpected type.
"""

import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any

from proxy.core import events
from proxy.core.commands import Answer, Cancel, Explain, Message, Remark
from proxy.core.events import Event, Other, Side, Unreadable
from proxy.core.usage import Reported, ReportedSeconds, ReportedTokens
from proxy.dialects.fields import (
    Fields,
    UnreadableJson,
    chars_in,
    dict_in,
    event_id_in,
    id_in,
    json_chars_in,
    list_in,
    number_in,
    read_leniently,
    read_strictly,
    text_in,
    whole_in,
)

PCM_RATE_HZ = 24_000
G711_BYTES_PER_S = 8_000

_OTHER = Other()


def parse(side: Side, payload: bytes) -> Event:
    """Return what `payload`, one whole text message from `side`, means. Never raises."""
    if side is Side.CLIENT:
        return _parse_client(payload)
    return _parse_upstream(payload)


def render(message: Message) -> str:
    """Return the JSON text of a message of our own."""
    return json.dumps(_RENDER[type(message)](message))


def _cancel(message: Cancel) -> dict[str, object]:
    cancel: dict[str, object] = {"type": "response.cancel", "event_id": message.event_id}
    if message.response_id is not None:
        cancel["response_id"] = message.response_id
    return cancel


def _error(message: Explain) -> dict[str, object]:
    refusal = message.refusal
    error = {
        "type": refusal.type,
        "code": refusal.code,
        "message": refusal.message,
        "param": None,
        "event_id": message.caused_by,
    }
    return {"type": "error", "event_id": message.event_id, "error": error}


def _remark(message: Remark) -> dict[str, object]:
    content = [{"type": "input_text", "text": message.text}]
    item = {"type": "message", "role": "system", "content": content}
    return {"type": "conversation.item.create", "event_id": message.event_id, "item": item}


def _answer(message: Answer) -> dict[str, object]:
    response = {"max_output_tokens": message.output_tokens_max, "tool_choice": "none"}
    return {"type": "response.create", "event_id": message.event_id, "response": response}


_RENDER: dict[type, Callable[[Any], dict[str, object]]] = {
    Cancel: _cancel,
    Explain: _error,
    Remark: _remark,
    Answer: _answer,
}


# Client messages


def _parse_client(payload: bytes) -> Event:
    try:
        fields = read_strictly(payload)
    except UnreadableJson as problem:
        return Unreadable(str(problem))
    read = _CLIENT.get(text_in(fields.get("type")) or "")
    return read(fields) if read else _OTHER


def _session_update(fields: Fields) -> Event:
    session = dict_in(fields.get("session"))
    transcription = _transcription(session)[1]
    return events.SessionUpdateAsked(
        event_id=event_id_in(fields),
        model=id_in(session.get("model")),
        transcription_model=transcription,
        text_chars=chars_in(session.get("instructions")) + json_chars_in(session.get("tools")),
    )


def _item_create(fields: Fields) -> Event:
    item = dict_in(fields.get("item"))
    text, audio, images = _contents(item)
    return events.ItemAsked(event_id_in(fields), text, audio, images, _is_from_user(item))


def _is_from_user(item: Fields) -> bool:
    return item.get("role") == "user" and item.get("type", "message") == "message"


def _contents(item: Fields) -> tuple[int, int, int]:
    """Return the characters of text and of base64 audio, and the number of images, in an item."""
    parts = [dict_in(part) for part in list_in(item.get("content"))]
    text = sum(chars_in(part.get("text")) + chars_in(part.get("transcript")) for part in parts)
    text += chars_in(item.get("output")) + chars_in(item.get("arguments"))
    images = sum(part.get("type") == "input_image" for part in parts)
    return text, sum(chars_in(part.get("audio")) for part in parts), images


def _input_append(fields: Fields) -> Event:
    return events.InputAudio(chars_in(fields.get("audio")), event_id_in(fields))


def _item_truncate(fields: Fields) -> Event:
    item_id, heard_ms = id_in(fields.get("item_id")), whole_in(fields.get("audio_end_ms"))
    return _OTHER if item_id is None or heard_ms is None else events.TruncateAsked(item_id, heard_ms)


def _input_commit(fields: Fields) -> Event:
    return events.CommitAsked()


def _response_create(fields: Fields) -> Event:
    response = dict_in(fields.get("response"))
    items = [dict_in(item) for item in list_in(response.get("input"))]
    return events.ResponseAsked(
        event_id=event_id_in(fields),
        out_of_band=response.get("conversation") == "none",
        text_chars=chars_in(response.get("instructions")) + sum(_contents(item)[0] for item in items),
        from_user=any(_is_from_user(item) for item in items),
    )


_CLIENT: dict[str, Callable[[Fields], Event]] = {
    "session.update": _session_update,
    "transcription_session.update": _session_update,
    "conversation.item.create": _item_create,
    "conversation.item.truncate": _item_truncate,
    "input_audio_buffer.append": _input_append,
    "input_audio_buffer.commit": _input_commit,
    "response.create": _response_create,
}


# Upstream messages


def _parse_upstream(payload: bytes) -> Event:
    try:
        read, fields = read_leniently(payload, _UPSTREAM)
    except UnreadableJson as problem:  # what it bills, if anything, is estimated in the end
        return Unreadable(str(problem))
    return read(fields) if read else _OTHER


def _configured(fields: Fields) -> Event:
    session = dict_in(fields.get("session"))
    audio = dict_in(session.get("audio"))
    told, transcription = _transcription(session)
    return events.SessionConfigured(
        created=str(fields["type"]).endswith("created"),
        upstream_session_id=id_in(session.get("id")),
        model=id_in(session.get("model")),
        transcription_model=transcription,
        transcription_told=told,
        input_bytes_per_s=_rate(
            dict_in(audio.get("input")).get("format") or session.get("input_audio_format")
        ),
        output_bytes_per_s=_rate(
            dict_in(audio.get("output")).get("format") or session.get("output_audio_format")
        ),
        answers_by_itself=_answers_by_itself(session),
    )


def _transcription(session: Fields) -> tuple[bool, str | None]:
    """Return whether the session tells its input transcription, and the model that it names."""
    audio_input = dict_in(dict_in(session.get("audio")).get("input"))
    for place, key in ((audio_input, "transcription"), (session, "input_audio_transcription")):
        if key in place:
            return True, id_in(dict_in(place[key]).get("model"))
    return False, None


def _answers_by_itself(session: Fields) -> bool | None:
    """Return whether turn detection starts responses; None if the session does not tell."""
    if session.get("type") == "transcription":
        return False
    audio_input = dict_in(dict_in(session.get("audio")).get("input"))
    for place in (audio_input, session):
        if "turn_detection" in place:
            detection = place["turn_detection"]
            return isinstance(detection, dict) and detection.get("create_response") is not False
    return None


def _rate(audio_format: object) -> int | None:
    """Return the bytes a second of an audio format, GA object or beta name; None if untold."""
    if isinstance(audio_format, dict):
        hertz = whole_in(audio_format.get("rate")) or PCM_RATE_HZ
        audio_format = audio_format.get("type")
        if audio_format == "audio/pcm":
            return 2 * hertz
    if audio_format == "pcm16":
        return 2 * PCM_RATE_HZ
    return G711_BYTES_PER_S if audio_format in _G711 else None


_G711 = ("audio/pcmu", "audio/pcma", "g711_ulaw", "g711_alaw")


def _response_created(fields: Fields) -> Event:
    response = dict_in(fields.get("response"))
    response_id = id_in(response.get("id"))
    if response_id is None:
        return _OTHER
    return events.ResponseStarted(response_id, _is_out_of_band(response))


def _is_out_of_band(response: Fields) -> bool:
    return "conversation_id" in response and response["conversation_id"] is None


def _item_added(fields: Fields) -> Event:
    response_id, item = id_in(fields.get("response_id")), dict_in(fields.get("item"))
    item_id = id_in(item.get("id"))
    if response_id is None or item_id is None or item.get("type", "message") != "message":
        return _OTHER
    return events.OutputItemAdded(response_id, item_id)


def _response_text(fields: Fields) -> Event:
    return events.ResponseText(id_in(fields.get("response_id")) or "", chars_in(fields.get("delta")))


def _response_audio(fields: Fields) -> Event:
    return events.ResponseAudio(id_in(fields.get("response_id")) or "", chars_in(fields.get("delta")))


def _response_done(fields: Fields) -> Event:
    response = dict_in(fields.get("response"))
    details = dict_in(response.get("status_details"))
    return events.ResponseEnded(
        response_id=id_in(response.get("id")) or id_in(fields.get("response_id")),
        status=id_in(response.get("status")) or "unknown",
        reason=id_in(details.get("reason")) or id_in(dict_in(details.get("error")).get("code")),
        usage=_tokens(response.get("usage")),
        out_of_band=_is_out_of_band(response),
    )


def _tokens(usage: object) -> Reported | None:
    """Return a report in tokens as it stands on the wire; None if there is none."""
    if not isinstance(usage, dict) or not usage:
        return None
    into = dict_in(usage.get("input_token_details"))
    cached = dict_in(into.get("cached_tokens_details"))
    out = dict_in(usage.get("output_token_details"))
    return ReportedTokens(
        total=number_in(usage.get("total_tokens")),
        input=number_in(usage.get("input_tokens")),
        output=number_in(usage.get("output_tokens")),
        text_in=number_in(into.get("text_tokens")),
        audio_in=number_in(into.get("audio_tokens")),
        image_in=number_in(into.get("image_tokens")),
        cached=_discount(into.get("cached_tokens")),
        cached_text=_discount(cached.get("text_tokens")),
        cached_audio=_discount(cached.get("audio_tokens")),
        cached_image=_discount(cached.get("image_tokens")),
        text_out=number_in(out.get("text_tokens")),
        audio_out=number_in(out.get("audio_tokens")),
    )


def _discount(value: object) -> float | None:
    """Return a number of cached tokens; NaN for what is no number, since its absence would go unseen."""
    return None if value is None else math.nan if (number := number_in(value)) is None else number


def _committed(fields: Fields) -> Event:
    return events.InputCommitted(id_in(fields.get("item_id")) or "")


def _speech(fields: Fields) -> Event:
    return events.SpeechHeard(whole_in(fields.get("audio_start_ms")), whole_in(fields.get("audio_end_ms")))


def _timed_out(fields: Fields) -> Event:
    start_ms, end_ms = whole_in(fields.get("audio_start_ms")), whole_in(fields.get("audio_end_ms"))
    return events.InputTimedOut(id_in(fields.get("item_id")) or "", start_ms, end_ms)


def _cleared(fields: Fields) -> Event:
    return events.InputCleared()


def _context_cut(fields: Fields) -> Event:
    return events.ContextCut()


def _transcription_completed(fields: Fields) -> Event:
    return events.TranscriptionEnded(
        id_in(fields.get("item_id")) or "", _content_index(fields), _transcription_usage(fields.get("usage"))
    )


def _transcription_usage(usage: object) -> Reported | None:
    """Return a transcription's report. Its output is text, and so says no detail of it."""
    if not isinstance(usage, dict) or not usage:
        return None
    if usage.get("type") == "duration" or "seconds" in usage:
        seconds = number_in(usage.get("seconds"))
        return None if seconds is None else ReportedSeconds(seconds)
    reported = _tokens(usage)
    if isinstance(reported, ReportedTokens) and reported.text_out is None and reported.audio_out is None:
        return dataclasses.replace(reported, text_out=reported.output)
    return reported


def _transcription_failed(fields: Fields) -> Event:
    return events.TranscriptionFailed(id_in(fields.get("item_id")) or "", _content_index(fields))


def _content_index(fields: Fields) -> int:
    return whole_in(fields.get("content_index")) or 0


def _upstream_error(fields: Fields) -> Event:
    error = dict_in(fields.get("error"))
    return events.UpstreamError(event_id_in(error), id_in(error.get("code")))


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
    "response.output_item.added": _item_added,
    **dict.fromkeys(_TEXT_DELTAS, _response_text),
    "response.output_audio.delta": _response_audio,
    "response.audio.delta": _response_audio,
    "response.done": _response_done,
    "input_audio_buffer.committed": _committed,
    "input_audio_buffer.speech_started": _speech,
    "input_audio_buffer.speech_stopped": _speech,
    "input_audio_buffer.timeout_triggered": _timed_out,
    "input_audio_buffer.cleared": _cleared,
    "conversation.item.deleted": _context_cut,
    "conversation.item.truncated": _context_cut,
    "conversation.item.input_audio_transcription.completed": _transcription_completed,
    "conversation.item.input_audio_transcription.failed": _transcription_failed,
    "error": _upstream_error,
}
