"""Bulk audio is recognised in every spelling clients use, and nothing else is taken for it."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.events import Side
from proxy.dialects.bulk import ENVELOPE_BYTES_MAX, Arriving, Audio, recogniser_for

SAMPLES = Path(__file__).parents[1] / "samples"
APPEND = "input_audio_buffer.append"
DELTA = "response.output_audio.delta"
BASE64 = "UklGRiQA+/8=" * 20
UUID = "6f1d0a52-3c59-4b5c-9d2e-0d4a3c1b7f10"

DELTA_MEMBERS: dict[str, Any] = {
    "type": DELTA,
    "event_id": "event_CCXHxcMy86rrKhBLDdqCh",
    "response_id": "resp_CCXHw0UJld10EzIUXQCNh",
    "item_id": "item_CCXHwJjjeOmIcwmQsTQTs",
    "output_index": 0,
    "content_index": 0,
    "delta": BASE64,
}


def compact(**members: Any) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode()


def spaced(**members: Any) -> bytes:
    return json.dumps(members).encode()


def whole(side: Side, payload: bytes) -> Audio | None:
    return recogniser_for(side).whole(payload)


CLIENT_SPELLINGS = {
    "openai-python, openai-node": compact(type=APPEND, audio=BASE64),
    "hand-written Python": spaced(type=APPEND, audio=BASE64),
    "an event id between": compact(type=APPEND, event_id="e1", audio=BASE64),
    "an event id behind": compact(type=APPEND, audio=BASE64, event_id="e1"),
    "Pipecat": spaced(event_id=UUID, type=APPEND, audio=BASE64),
    "openai-agents, LiveKit": compact(audio=BASE64, type=APPEND),
    "the same with spaces": spaced(audio=BASE64, type=APPEND),
    "audio first, event id last": spaced(audio=BASE64, type=APPEND, event_id=UUID),
    "audio first, event id next": spaced(audio=BASE64, event_id=UUID, type=APPEND),
    "indented": json.dumps({"type": APPEND, "audio": BASE64}, indent=2).encode(),
    "a line feed at the end": compact(type=APPEND, audio=BASE64) + b"\n",
}


@pytest.mark.parametrize("payload", CLIENT_SPELLINGS.values(), ids=CLIENT_SPELLINGS)
def test_appends_of_real_clients_are_bulk(payload: bytes) -> None:
    assert whole(Side.CLIENT, payload) == Audio(len(BASE64), None)


UPSTREAM_SPELLINGS = {
    "OpenAI": compact(**DELTA_MEMBERS),
    "with spaces": spaced(**DELTA_MEMBERS),
    "beta": compact(**DELTA_MEMBERS | {"type": "response.audio.delta"}),
    "obfuscation behind": compact(**DELTA_MEMBERS, obfuscation="xK2" * 300),
    "obfuscation before": compact(obfuscation="xK2", **DELTA_MEMBERS),
    "event id first": compact(
        event_id="event_1", **{k: v for k, v in DELTA_MEMBERS.items() if k != "event_id"}
    ),
    "delta first, type last": compact(delta=BASE64, response_id=DELTA_MEMBERS["response_id"], type=DELTA),
}


@pytest.mark.parametrize("payload", UPSTREAM_SPELLINGS.values(), ids=UPSTREAM_SPELLINGS)
def test_deltas_credit_their_response_and_count_no_obfuscation(payload: bytes) -> None:
    response_id = "resp_CCXHw0UJld10EzIUXQCNh"
    assert whole(Side.UPSTREAM, payload) == Audio(len(BASE64), response_id)


@pytest.mark.parametrize(
    ("side", "name", "member"),
    [
        (Side.CLIENT, "client.input_audio_buffer.append", "audio"),
        (Side.UPSTREAM, "response.output_audio.delta", "delta"),
        (Side.UPSTREAM, "beta.response.audio.delta", "delta"),
    ],
)
def test_samples(side: Side, name: str, member: str) -> None:
    text = (SAMPLES / f"{name}.json").read_bytes()
    sample = json.loads(text)
    expected = Audio(len(sample[member]), sample.get("response_id"))
    assert [whole(side, spelling) for spelling in (text, compact(**sample), spaced(**sample))] == [
        expected
    ] * 3


def test_a_delta_without_a_response_is_credited_to_none() -> None:
    assert whole(Side.UPSTREAM, compact(type=DELTA, delta="AAAA")) == Audio(4, None)


def test_an_empty_value_is_no_audio_but_bulk() -> None:
    assert whole(Side.CLIENT, compact(type=APPEND, audio="")) == Audio(0, None)


NOT_BULK = {
    "another type": b'{"type":"session.update","audio":"AAAA"}',
    "a type that contains ours": b'{"type":"x.input_audio_buffer.append","audio":"AAAA"}',
    "the type of a translation": b'{"type":"session.input_audio_buffer.append","audio":"AAAA"}',
    "the type twice": compact(type=APPEND, audio="AAAA")[:-1] + b',"type":"input_audio_buffer.append"}',
    "another type behind": b'{"type":"input_audio_buffer.append","audio":"AAAA","type":"response.create"}',
    "another type before": b'{"type":"response.create","type":"input_audio_buffer.append","audio":"AAAA"}',
    "the audio twice": b'{"type":"input_audio_buffer.append","audio":"AAAA","audio":"BBBB"}',
    "the audio twice, far apart": b'{"audio":"AAAA","type":"input_audio_buffer.append","audio":"BBBB"}',
    "a member hidden in the middle": (
        b'{"type":"input_audio_buffer.append","audio":"AAAA","type":"response.create","event_id":"AAA"}'
    ),
    "an event id twice": b'{"type":"input_audio_buffer.append","event_id":"a","event_id":"b","audio":"AAAA"}',
    "an empty event id": b'{"type":"input_audio_buffer.append","event_id":"","audio":"AAAA"}',
    "an event id of null": b'{"type":"input_audio_buffer.append","event_id":null,"audio":"AAAA"}',
    "an unknown member": b'{"type":"input_audio_buffer.append","audio":"AAAA","metadata":"x"}',
    "an object": b'{"type":"input_audio_buffer.append","audio":"AAAA","event_id":{"a":1}}',
    "audio that is no string": b'{"type":"input_audio_buffer.append","audio":["AAAA"]}',
    "audio that is null": b'{"type":"input_audio_buffer.append","audio":null}',
    "an escape in the audio": b'{"type":"input_audio_buffer.append","audio":"AA\\/A"}',
    "an escaped quote": b'{"type":"input_audio_buffer.append","audio":"AA\\"A"}',
    "an escape in a name": compact(type=APPEND, audio="AAAA")[:-1] + b',"t\\u0079pe":"response.create"}',
    "an escape in the type": b'{"type":"input_audio_buffer.append\\u0000","audio":"AAAA"}',
    "audio as a value": b'{"type":"input_audio_buffer.append","event_id":"audio","audio":"AAAA"}',
    "no type": b'{"event_id":"input_audio_buffer.append","audio":"AAAA"}',
    "no audio": b'{"type":"input_audio_buffer.append"}',
    "an array": b'["input_audio_buffer.append","audio","AAAA"]',
    "two objects": b'{"type":"input_audio_buffer.append","audio":"AAAA"}{}',
    "cut in the value": b'{"type":"input_audio_buffer.append","audio":"AAAA',
    "cut behind the value": b'{"type":"input_audio_buffer.append","audio":"AAAA"',
    "a comma too many": b'{"type":"input_audio_buffer.append","audio":"AAAA",}',
    "a byte order mark": b'\xef\xbb\xbf{"type":"input_audio_buffer.append","audio":"AAAA"}',
    "not UTF-8": b'{"type":"input_audio_buffer.append","event_id":"\xff","audio":"AAAA"}',
    "a control character": b'{"type":"input_audio_buffer.append","event_id":"\x01","audio":"AAAA"}',
    "empty": b"",
}


@pytest.mark.parametrize("payload", NOT_BULK.values(), ids=NOT_BULK)
def test_what_is_in_doubt_is_not_bulk(payload: bytes) -> None:
    assert whole(Side.CLIENT, payload) is None


def test_neither_side_sends_what_the_other_does() -> None:
    assert whole(Side.UPSTREAM, compact(type=APPEND, audio="AAAA")) is None
    assert whole(Side.CLIENT, compact(**DELTA_MEMBERS)) is None


def test_a_transcript_is_not_audio() -> None:
    text = (SAMPLES / "response.output_audio_transcript.delta.json").read_bytes()
    assert whole(Side.UPSTREAM, text) is None


@pytest.mark.parametrize(("excess", "is_bulk"), [(0, True), (1, False)])
def test_the_envelope_has_a_limit(excess: int, is_bulk: bool) -> None:
    rest = len(compact(type=DELTA, delta="", obfuscation=""))
    padding = "x" * (ENVELOPE_BYTES_MAX - rest + excess)
    found = whole(Side.UPSTREAM, compact(type=DELTA, delta=BASE64, obfuscation=padding))
    assert found == (Audio(len(BASE64), None) if is_bulk else None)


def test_a_type_in_the_middle_is_not_looked_for() -> None:
    payload = compact(event_id="x" * 200, type=APPEND, audio="A" * 200)
    assert whole(Side.CLIENT, payload) is None


MEMBERS = st.sampled_from(
    [
        ("type", APPEND),
        ("type", "response.create"),
        ("audio", "AAAA"),
        ("audio", 'A","type":"x'),
        ("event_id", "e"),
        ("event_id", "audio"),
        ("item_id", "i"),
        ("output_index", 7),
        ("output_index", -7),
        ("content_index", 1.5),
        ("extra", "x"),
    ]
)
MEMBER_LISTS = st.lists(MEMBERS, max_size=5)
SEPARATORS = st.tuples(st.sampled_from([",", ", ", " ,", ""]), st.sampled_from([":", ": ", " :", "\t:\n"]))


def spell(members: list[tuple[str, Any]], comma: str, colon: str) -> bytes:
    """Spell an object whose members may repeat, with separators that may be wrong."""
    return ("{" + comma.join(f"{json.dumps(k)}{colon}{json.dumps(v)}" for k, v in members) + "}").encode()


@given(MEMBER_LISTS, SEPARATORS, st.data())
def test_bulk_is_what_a_strict_parser_says(
    members: list[tuple[str, Any]], separators: tuple[str, str], data: st.DataObject
) -> None:
    """Whatever is called bulk, bytes changed at random included, is an object with each member once."""
    payload = bytearray(spell(members, *separators))
    for at in data.draw(st.lists(st.integers(0, len(payload) - 1), max_size=2)):
        payload[at] = data.draw(st.sampled_from(b'"\\,:{} A0'))
    found = whole(Side.CLIENT, bytes(payload))
    if found is None:
        return
    pairs = json.loads(payload, object_pairs_hook=list)
    assert len({name for name, _ in pairs}) == len(pairs)
    assert dict(pairs)["type"] == APPEND
    assert found == Audio(len(dict(pairs)["audio"]), dict(pairs).get("response_id"))


# A message that is still arriving


def arriving(side: Side, payload: bytes) -> Arriving:
    found = recogniser_for(side).arriving(payload)
    assert found is not None
    return found


def take(message: Arriving, rest: bytes, cuts: list[int]) -> bool:
    """Give `rest` to `message` in pieces; return whether it has proved to be bulk."""
    fits = True
    for begin, end in zip([0, *cuts], [*cuts, len(rest)], strict=True):
        piece = rest[begin:end]
        tail = piece[message.hear(piece) :]
        fits = message.tail(tail) and fits
    return fits and message.is_bulk()


TYPE_FIRST = [
    (Side.CLIENT, CLIENT_SPELLINGS["openai-python, openai-node"]),
    (Side.CLIENT, CLIENT_SPELLINGS["Pipecat"]),
    (Side.UPSTREAM, UPSTREAM_SPELLINGS["OpenAI"]),
    (Side.UPSTREAM, UPSTREAM_SPELLINGS["obfuscation behind"]),
]


@pytest.mark.parametrize(("side", "payload"), TYPE_FIRST)
def test_an_arriving_message_is_the_same_however_it_is_cut(side: Side, payload: bytes) -> None:
    for cut in range(len(payload)):
        message = recogniser_for(side).arriving(payload[:cut])
        if message is None:
            continue
        assert take(message, payload[message.head_bytes :], [cut - message.head_bytes])
        assert message.audio == whole(side, payload)


@pytest.mark.parametrize("name", ["openai-agents, LiveKit", "audio first, event id last"])
def test_audio_first_has_to_be_held(name: str) -> None:
    assert recogniser_for(Side.CLIENT).arriving(CLIENT_SPELLINGS[name][:200]) is None


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b'{"type":"response.create","audio":"AAAA',
        b'{"type":"input_audio_buffer.append","x":1,"audio":"AAAA',
        b'{"type":"input_audio_buffer.append","event_id":"\\u0041","audio":"AAAA',
        b'{"type":"input_audio_buffer.append","type":"input_audio_buffer.append","audio":"AAAA',
    ],
)
def test_a_beginning_in_doubt_is_held(beginning: bytes) -> None:
    assert recogniser_for(Side.CLIENT).arriving(beginning) is None


@pytest.mark.parametrize(
    "tail",
    [
        b'","type":"response.create"}',
        b'","audio":"AAAA"}',
        b'","event_id":"a","event_id":"b"}',
        b'","event_id":"\\u0041"}',
        b'","x":1}',
        b'"}{}',
        b'"',
        b"",
    ],
)
def test_an_end_that_does_not_fit(tail: bytes) -> None:
    message = arriving(Side.CLIENT, b'{"type":"input_audio_buffer.append","audio":"')
    assert not take(message, b"AAAA" + tail, [])
    assert message.audio == Audio(4, None)


def test_the_end_has_a_limit() -> None:
    message = arriving(Side.UPSTREAM, b'{"type":"response.output_audio.delta","delta":"')
    assert message.hear(b'AAAA"') == 4
    assert not message.tail(b" " * ENVELOPE_BYTES_MAX)


ENCODINGS = [("AB/CD+EF", r"AB\/CD\u002bEF"), ("//++", r"\/\/\u002B\u002b"), ("+", r"\u002B"), ("A", "A")]


@pytest.mark.parametrize(("value", "spelling"), ENCODINGS)
def test_escapes_in_the_audio_count_as_what_they_stand_for(value: str, spelling: str) -> None:
    rest = spelling.encode() + b'","event_id":"e1"}'
    for cut in range(len(rest)):
        message = arriving(Side.CLIENT, b'{"type":"input_audio_buffer.append","audio":"')
        pieces = [cut] if cut else []
        assert take(message, rest, pieces)
        assert message.audio == Audio(len(value), None)


def test_an_escaped_quote_does_not_end_the_audio() -> None:
    rest = rb'AA\",\"type\":\"response.create\\","event_id":"e1"}'
    for cut in range(1, len(rest)):
        message = arriving(Side.CLIENT, b'{"type":"input_audio_buffer.append","audio":"')
        assert take(message, rest, [cut])
