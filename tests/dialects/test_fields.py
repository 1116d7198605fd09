"""Reading fields: nothing odd in a message raises, and nothing odd costs a bill."""

import json
from datetime import UTC, datetime

import msgspec
import pytest

from proxy.core import events
from proxy.core.events import Event, Side
from proxy.core.usage import Flag, Meter, ReportedSeconds, measure
from proxy.dialects.fields import (
    EVENT_ID_CHARS_MAX,
    NUMBER_MAX,
    STRUCTURE_MAX,
    UPSTREAM_STRUCTURE_MAX,
    UnreadableJson,
    chars_in,
    dict_in,
    event_id_in,
    id_in,
    list_in,
    number_in,
    read_leniently,
    read_strictly,
    text_in,
    whole_in,
)
from proxy.dialects.openai_realtime import parse

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def upstream(text: str) -> Event:
    return parse(Side.UPSTREAM, text.encode())


def done(payload: bytes) -> events.ResponseEnded:
    event = parse(Side.UPSTREAM, payload)
    assert isinstance(event, events.ResponseEnded)
    return event


@pytest.mark.parametrize(
    "odd",
    [
        rb'"transcript":"half a smile: \ud83d"',
        rb'"score":NaN',
        rb'"score":1e999',
        b'"transcript":"\xff"',
    ],
)
def test_an_oddity_anywhere_in_a_bill_does_not_cost_it(odd: bytes) -> None:
    bill = done(
        b'{"type":"response.done","response":{"id":"r1",' + odd + b',"usage":{"input_tokens":7}}}',
    )
    assert bill.response_id == "r1"
    assert bill.usage is not None
    assert bill.usage.input == 7  # type: ignore[union-attr]


def test_a_byte_order_mark_does_not_cost_a_bill_either() -> None:
    assert done(b'\xef\xbb\xbf{"type":"response.done","response":{"id":"r1"}}').response_id == "r1"


@pytest.mark.parametrize("payload", [b"", b"[]", b"nothing", b"[" * 10_000])
def test_what_is_no_object_is_unreadable(payload: bytes) -> None:
    with pytest.raises(UnreadableJson):
        read_leniently(payload, {})
    with pytest.raises(UnreadableJson):
        read_strictly(payload)


@pytest.mark.parametrize("odd", ['"64"', "true", "{}", "NaN"])
def test_a_discount_that_is_no_number_is_told(odd: str) -> None:
    """It is not given, since nobody knows how much; a reviewer can see it."""
    details = f'"text_tokens":70,"cached_tokens":{odd}'
    report = f'{{"input_tokens":70,"output_tokens":0,"input_token_details":{{{details}}}}}'
    usage = measure(
        done(f'{{"type":"response.done","response":{{"id":"r","usage":{report}}}}}'.encode()).usage
    )
    assert (usage.counts, usage.flags) == ({Meter.TEXT_IN: 70}, frozenset({Flag.COUNT_CLAMPED}))


@pytest.mark.parametrize(
    ("text", "chars"),
    [("talk", 4), ("", 0), ("Зачем", 10), ("打电话", 9), ("é", 2), ("\ud83d", 3), (None, 0), (5, 0)],
)
def test_text_is_as_long_as_its_tokens_go_by(text: object, chars: int) -> None:
    assert chars_in(text) == chars


COMMAS = ", " * STRUCTURE_MAX
MANY: list[list[int]] = [[]] * (STRUCTURE_MAX - 100)


@pytest.mark.parametrize(
    "much", [COMMAS, 'say "\\", ' * STRUCTURE_MAX, MANY, [MANY] * 5, {"a": MANY, "b": MANY}]
)
def test_a_long_message_of_the_upstream_is_read_for_what_it_says(much: object) -> None:
    """A client can have much echoed: neither the session's model nor a bill may go unseen for it."""
    told = {"type": "session.updated", "session": {"tools": much, "model": "gpt-realtime-2.1"}}
    event = parse(Side.UPSTREAM, json.dumps(told).encode())
    assert isinstance(event, events.SessionConfigured) and event.model == "gpt-realtime-2.1"
    response = {"id": "r1", "output": [{"content": much}], "usage": {"input_tokens": 7}}
    bill = done(json.dumps({"type": "response.done", "response": response}).encode())
    assert bill.usage is not None and bill.usage.input == 7  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text",
    [COMMAS, "{[" * STRUCTURE_MAX, '", "' * STRUCTURE_MAX, "\\" * STRUCTURE_MAX, '\\", \\\\' * STRUCTURE_MAX],
)
def test_what_stands_in_a_text_is_no_structure(text: str) -> None:
    assert read_strictly(json.dumps({"a": text}).encode()) == {"a": text}


@pytest.mark.parametrize(
    "bomb",
    [
        [[]] * STRUCTURE_MAX,
        dict.fromkeys(map(str, range(STRUCTURE_MAX + 1)), 0),
        [","] * (STRUCTURE_MAX + 1),
        {str(n): "," for n in range(STRUCTURE_MAX + 1)},
        [""] * (4 * STRUCTURE_MAX),
    ],
)
def test_structure_has_a_limit_whatever_texts_stand_between(bomb: object) -> None:
    with pytest.raises(UnreadableJson, match="more than 65536 JSON elements"):
        read_strictly(json.dumps(bomb).encode())


def test_the_upstreams_structure_has_a_limit_too() -> None:
    payload = b'{"type":"a","b":[' + b"[]," * UPSTREAM_STRUCTURE_MAX + b"0]}"
    with pytest.raises(UnreadableJson, match="out of proportion"):
        read_leniently(payload, {"a": 5})


def test_only_what_is_wanted_is_decoded() -> None:
    assert read_leniently(b'{"type":"a","n":1}', {"a": 5}) == (5, {"type": "a", "n": 1})
    assert read_leniently(b'{"type":"b","n":1}', {"a": 5}) == (None, {})
    assert read_leniently(b'{"type":["a"]}', {"a": 5}) == (None, {})


@pytest.mark.parametrize("number", ["1e308", "9" * 400, "1e999", "-1e308", "NaN", "Infinity"])
def test_no_number_is_too_odd(number: str) -> None:
    """They are counted as far as a database can; whatever is left of them is flagged when it is measured."""
    assert isinstance(
        upstream(
            '{"type":"session.updated","session":{"audio":{"output":'
            f'{{"format":{{"type":"audio/pcm","rate":{number}}}}}}}}}}}'
        ),
        events.SessionConfigured,
    )
    heard = upstream(f'{{"type":"input_audio_buffer.speech_stopped","audio_end_ms":{number}}}')
    assert isinstance(heard, events.SpeechHeard)
    assert 0 <= (heard.end_ms or 0) <= NUMBER_MAX
    transcribed = upstream(
        '{"type":"conversation.item.input_audio_transcription.completed","item_id":"i",'
        f'"content_index":{number},"usage":{{"type":"duration","seconds":{number}}}}}'
    )
    assert isinstance(transcribed, events.TranscriptionEnded)
    assert 0 <= transcribed.content_index <= NUMBER_MAX
    assert transcribed.usage is None or isinstance(transcribed.usage, ReportedSeconds)


@pytest.mark.parametrize("odd", ["r\ud83d", "r\0", "r\n", "r" * 257])
def test_an_odd_id_is_one_that_can_be_kept_and_told_apart(odd: str) -> None:
    kept = id_in(odd)
    assert kept is not None
    assert kept.startswith("r")
    assert kept.isprintable()
    assert len(kept) <= 129
    assert msgspec.json.decode(msgspec.json.encode(kept)) == kept
    assert kept == id_in(odd) != id_in(odd + "x")


def test_an_event_id_has_a_limit_since_it_is_kept() -> None:
    """64 requests may wait: with 16 MiB each they would be a gigabyte."""
    assert event_id_in({"event_id": "e" * EVENT_ID_CHARS_MAX}) == "e" * EVENT_ID_CHARS_MAX
    assert event_id_in({"event_id": "e" * (EVENT_ID_CHARS_MAX + 1)}) is None
    asked = parse(Side.CLIENT, b'{"type":"response.create","event_id":"' + b"e" * 60_000 + b'"}')
    assert asked == events.ResponseAsked(None)


def test_what_is_of_another_type_is_as_if_it_were_absent() -> None:
    assert (dict_in([]), list_in({}), text_in(1), text_in(""), id_in(None)) == ({}, [], None, None, None)
    assert (number_in("1"), number_in(True), number_in(1.5), whole_in(1.5), whole_in(-3)) == (
        None,
        None,
        1.5,
        1,
        0,
    )
