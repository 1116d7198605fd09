"""The scanner: however a stream is cut, the same items come out, with every byte as it was."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, Protocol
from websockets.protocol import Side as Role

from proxy.core.events import Side
from proxy.dialects.bulk import ENVELOPE_BYTES_MAX, Arriving, Audio, Recogniser, recogniser_for
from proxy.relay.frames import (
    FRAGMENTS_MAX,
    HOLD_BYTES_MAX,
    CloseFrame,
    Item,
    Message,
    Pass,
    Ping,
    Pong,
    Scanner,
    Violation,
    finish_frame,
    text_frame,
)
from proxy.relay.wire import unmask

SAMPLES = Path(__file__).parents[1] / "samples"
LIMIT = 1 << 20
HOLD = 150  # instead of 64 KiB, so that streaming is tested with messages that can be cut at every byte
KEY = b"\x1d\xfa\x07\x80"
BOTH = pytest.mark.parametrize("side", list(Side))


def frame(side: Side, payload: bytes, opcode: Opcode = Opcode.TEXT, *, final: bool = True) -> bytes:
    """Return a frame, masked with a fixed key if a client sends it: a failure can be replayed."""
    data = Frame(opcode, payload, final).serialize(mask=False)
    if side is Side.UPSTREAM:
        return data
    size = len(data) - len(payload)
    return bytes([data[0], data[1] | 0x80]) + data[2:size] + KEY + unmask(payload, KEY)


def fragments(side: Side, *payloads: bytes, opcode: Opcode = Opcode.TEXT) -> list[bytes]:
    """Return the frames of one message."""
    last = len(payloads) - 1
    return [
        frame(side, payload, Opcode.CONT if at else opcode, final=at == last)
        for at, payload in enumerate(payloads)
    ]


def bulk(side: Side, chars: int, spelling: str = "type first") -> bytes:
    """Return an audio message with `chars` base64 characters."""
    value = ("AbC/+9" * (chars // 6 + 1))[:chars]
    members = {"type": "input_audio_buffer.append", "audio": value}
    if side is Side.UPSTREAM:
        members = {"type": "response.output_audio.delta", "response_id": "r1", "item_id": "i", "delta": value}
    if spelling == "audio first":
        return json.dumps(dict(reversed(members.items()))).encode()
    if spelling == "id first":
        return json.dumps({"event_id": "e1", **members}).encode()
    return json.dumps(members, separators=(",", ":")).encode()


def audio(side: Side, chars: int) -> Audio:
    return Audio(chars, "r1" if side is Side.UPSTREAM else None)


def scanner_for(side: Side, limit: int = LIMIT, hold: int = HOLD) -> Scanner:
    return Scanner(side, message_bytes_max=limit, bulk=recogniser_for(side), hold_bytes_max=hold)


def drain(scanner: Scanner) -> list[Item]:
    items = []
    while (item := scanner.next()) is not None:
        items.append(item)
    return items


def scan(side: Side, chunks: Iterable[bytes], limit: int = LIMIT, hold: int = HOLD) -> list[Item]:
    scanner = scanner_for(side, limit, hold)
    items = []
    for chunk in chunks:
        has_enough = scanner.feed(chunk)
        came = drain(scanner)
        assert has_enough or not came
        items += came
    return items


def merged(items: Iterable[Item]) -> list[Item]:
    """Return `items` with runs of Pass made one."""
    out: list[Item] = []
    for item in items:
        last = out[-1] if out else None
        if isinstance(item, Pass) and isinstance(last, Pass):
            out[-1] = Pass(b"".join((last.data, item.data)), last.audio + item.audio)
        else:
            out.append(item)
    return out


def raw(items: Iterable[Item]) -> bytes:
    """Return what the tunnel would write if it forwarded everything."""
    parts = (b"" if isinstance(i, Violation) else i.data if isinstance(i, Pass) else i.raw for i in items)
    return b"".join(parts)


def read_by_peer(side: Side, data: bytes) -> list[Frame]:
    """Return the frames that the other side's WebSocket library reads; it must find nothing wrong."""
    peer = Protocol(Role.SERVER if side is Side.CLIENT else Role.CLIENT, state=OPEN, max_size=None)
    peer.receive_data(data)
    assert peer.parser_exc is None
    return [event for event in peer.events_received() if isinstance(event, Frame)]


def messages_in(frames: Iterable[Frame]) -> list[bytes]:
    """Return the payloads of the data messages that are complete."""
    done: list[bytes] = []
    parts = b""
    for each in frames:
        if each.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            parts += bytes(each.data)
            if each.fin:
                done.append(parts)
                parts = b""
    return done


# Single messages


@BOTH
@pytest.mark.parametrize("spelling", ["type first", "id first", "audio first"])
@pytest.mark.parametrize("chars", [0, 4, 80, 6400, 70_000])
def test_bulk_passes_and_is_counted(side: Side, spelling: str, chars: int) -> None:
    data = frame(side, bulk(side, chars, spelling))
    assert scan(side, [data]) == [Pass(data, (audio(side, chars),))]


@BOTH
def test_a_run_of_bulk_is_one_write(side: Side) -> None:
    data = [frame(side, bulk(side, chars)) for chars in (6400, 4, 70_000, 640)]
    (item,) = scan(side, [b"".join(data)])
    assert item == Pass(b"".join(data), tuple(audio(side, chars) for chars in (6400, 4, 70_000, 640)))


@BOTH
def test_a_stream_is_between_messages_or_not(side: Side) -> None:
    begun = {
        "half a header": frame(side, b"{}")[:1],
        "a held frame": frame(side, bulk(side, 80))[:-1],
        "a held fragment": frame(side, b'{"type":', final=False),
        "a frame that flows": frame(side, bulk(side, 1000))[:500],
        "a binary fragment": frame(side, b"x", opcode=Opcode.BINARY, final=False),
        "the end": frame(side, b"", opcode=Opcode.CLOSE),
    }
    for name, start in begun.items():
        scanner = scanner_for(side)
        assert scanner.is_between
        scanner.feed(frame(side, bulk(side, 80)))
        drain(scanner)
        assert scanner.is_between
        scanner.feed(start)
        drain(scanner)
        assert not scanner.is_between, name


@BOTH
def test_what_nobody_has_taken_yet_is_in_the_way(side: Side) -> None:
    scanner = scanner_for(side)
    scanner.feed(frame(side, bulk(side, 80)) + frame(side, b"{}"))
    assert not scanner.is_between
    assert isinstance(scanner.next(), Pass) and not scanner.is_between
    assert isinstance(scanner.next(), Message) and scanner.is_between


@BOTH
def test_anything_else_is_a_message(side: Side) -> None:
    payload = b'{"type":"response.create"}'
    data = frame(side, payload)
    assert scan(side, [data + data]) == [Message(data, payload)] * 2


@BOTH
def test_an_empty_message_is_a_message(side: Side) -> None:
    data = frame(side, b"")
    assert scan(side, [data]) == [Message(data, b"")]


@BOTH
@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_samples_pass_through(side: Side, path: Path) -> None:
    payload = path.read_bytes()
    data = frame(side, payload)
    (item,) = scan(side, [data])
    assert raw([item]) == data
    assert isinstance(item, Pass) or item == Message(data, payload)


@BOTH
def test_binary_passes_as_it_comes_and_counts_for_nothing(side: Side) -> None:
    data = frame(side, bulk(side, 1000), Opcode.BINARY)
    items = scan(side, [data[:9], data[9:500], data[500:]])
    assert len(items) == 3
    assert merged(items) == [Pass(data, ())]


@BOTH
def test_control_frames_are_items(side: Side) -> None:
    ping, pong = frame(side, b"a", Opcode.PING), frame(side, b"b" * 125, Opcode.PONG)
    assert scan(side, [ping + pong]) == [Ping(ping, b"a"), Pong(pong, b"b" * 125)]


@BOTH
def test_a_close_is_the_last_item(side: Side) -> None:
    data = frame(side, b"\x0f\xa0bye", Opcode.CLOSE)
    scanner = scanner_for(side)
    scanner.feed(data + frame(side, b"more"))
    assert drain(scanner) == [CloseFrame(data, 4000, "bye")]
    scanner.feed(frame(side, b"more"))
    assert drain(scanner) == []
    assert scanner.buffered == 0


@BOTH
def test_a_close_may_be_empty(side: Side) -> None:
    data = frame(side, b"", Opcode.CLOSE)
    assert scan(side, [data]) == [CloseFrame(data, None, "")]


# Held messages


@BOTH
def test_a_message_is_held_until_it_is_whole(side: Side) -> None:
    payload = b'{"type":"conversation.item.create","x":"' + b"x" * 100_000 + b'"}'
    data = frame(side, payload)
    scanner = scanner_for(side)
    for at in range(0, len(data) - 1, 1000):
        scanner.feed(data[at : min(at + 1000, len(data) - 1)])
        assert drain(scanner) == []
        assert not scanner.in_message
    assert scanner.buffered == len(data) - 1
    scanner.feed(data[-1:])
    assert drain(scanner) == [Message(data, payload)]
    assert scanner.buffered == 0


@BOTH
def test_control_frames_come_before_the_message_they_stand_in(side: Side) -> None:
    one, two, three = fragments(side, b'{"ty', b"", b'pe":"x"}')
    ping, pong = frame(side, b"1", Opcode.PING), frame(side, b"2", Opcode.PONG)
    assert scan(side, [one + ping + two + pong + three]) == [
        Ping(ping, b"1"),
        Pong(pong, b"2"),
        Message(one + two + three, b'{"type":"x"}'),
    ]


@BOTH
@pytest.mark.parametrize("spelling", ["type first", "id first", "audio first"])
def test_fragmented_bulk_that_is_held_passes_whole(side: Side, spelling: str) -> None:
    payload = bulk(side, 20, spelling)
    frames = fragments(side, payload[:7], payload[7:60], payload[60:])
    ping = frame(side, b"", Opcode.PING)
    items = scan(side, [frames[0] + ping + frames[1] + frames[2]])
    assert items == [Ping(ping, b""), Pass(b"".join(frames), (audio(side, 20),))]


@BOTH
def test_a_half_message_dies_with_a_close(side: Side) -> None:
    close = frame(side, b"\x03\xe8", Opcode.CLOSE)
    assert scan(side, [fragments(side, b"{", b"}")[0] + close]) == [CloseFrame(close, 1000, "")]


@BOTH
def test_a_character_may_be_cut_by_fragments(side: Side) -> None:
    frames = fragments(side, b'{"a":"\xc3', b'\xa4"}')
    assert scan(side, frames) == [Message(b"".join(frames), '{"a":"ä"}'.encode())]


def test_text_that_is_none_is_refused_from_a_client_and_relayed_from_upstream() -> None:
    (item,) = scan(Side.CLIENT, [frame(Side.CLIENT, b'{"a":"\xff"}')])
    assert isinstance(item, Violation) and item.code == 1007
    data = frame(Side.UPSTREAM, b'{"a":"\xff"}')
    assert scan(Side.UPSTREAM, [data]) == [Message(data, b'{"a":"\xff"}')]


# Messages that flow


@BOTH
def test_a_large_audio_message_flows(side: Side) -> None:
    """Only its beginning, up to the limit, and its end are ever held."""
    data = frame(side, bulk(side, 1_000_000))
    scanner = scanner_for(side, hold=HOLD_BYTES_MAX)
    items: list[Item] = []
    for at in range(0, len(data), 4096):
        scanner.feed(data[at : at + 4096])
        items += drain(scanner)
        assert scanner.buffered <= HOLD_BYTES_MAX + 4096
        assert scanner.buffered == 0 or at < HOLD_BYTES_MAX + 4096 or at + 8192 > len(data)
    assert merged(items) == [Pass(data, (audio(side, 1_000_000),))]
    assert len(items) > 200


@BOTH
@pytest.mark.parametrize("tail", [1, 2, 3, 40])
def test_fragmented_audio_flows_once_it_is_large(side: Side, tail: int) -> None:
    """Wherever the last fragment begins, before it or inside what follows the audio."""
    payload = bulk(side, 400, "id first")
    one, two, three = fragments(side, payload[:300], payload[300:-tail], payload[-tail:])
    pong = frame(side, b"", Opcode.PONG)
    items = scan(side, [one, two + pong, three])
    assert items[0] == Pass(one)
    assert items[1:3] == [Pass(two), Pong(pong, b"")]
    assert merged(items[3:]) == [Pass(three, (audio(side, 400),))]


@BOTH
def test_only_the_last_fragment_is_held_behind_the_audio(side: Side) -> None:
    payload = bulk(side, 400)
    one, two, three = fragments(side, payload[:300], payload[300:-1] + b" " * 20, b"  }")
    scanner = scanner_for(side)
    for piece, held in ((one, 0), (two[:-10], 0), (two[-10:], 0), (three[:-1], 2), (three[-1:], 0)):
        scanner.feed(piece)
        drain(scanner)
        assert scanner.buffered == held


@BOTH
def test_a_last_fragment_may_be_empty(side: Side) -> None:
    frames = fragments(side, bulk(side, 400), b"")
    assert merged(scan(side, frames)) == [Pass(b"".join(frames), (audio(side, 400),))]


@BOTH
def test_large_audio_with_type_last_is_held(side: Side) -> None:
    data = frame(side, bulk(side, 400, "audio first"))
    assert scan(side, [data[:-1], data[-1:]]) == [Pass(data, (audio(side, 400),))]


@BOTH
def test_audio_with_escapes_flows(side: Side) -> None:
    """Some encoders write `/` as `\\/`: their audio must not be taken for an attack."""
    payload = bulk(side, 6000).replace(b"/", b"\\/").replace(b"+", b"\\u002b")
    data = frame(side, payload)
    items = scan(side, [data[at : at + 1] for at in range(len(data))])
    assert merged(items) == [Pass(data, (audio(side, 6000),))]


def misleading(side: Side, tail: bytes) -> bytes:
    """Return a large message that starts as audio and ends with `tail` instead of a brace."""
    return bulk(side, 400)[:-1] + tail


MISLEADING = {
    "another type": b',"type":"response.create"}',
    "more audio": b',"audio":"AAAA","delta":"AAAA"}',
    "an unknown member": b',"x":"y"}',
    "too much": b',"obfuscation":"' + b"x" * ENVELOPE_BYTES_MAX + b'"}',
    "no end": b"",
}
EACH_MISLEADING = pytest.mark.parametrize("tail", MISLEADING.values(), ids=MISLEADING)


@EACH_MISLEADING
def test_a_client_that_streams_something_else_is_refused(tail: bytes) -> None:
    data = frame(Side.CLIENT, misleading(Side.CLIENT, tail))
    scanner = scanner_for(Side.CLIENT)
    scanner.feed(data[:300])
    items = drain(scanner)
    assert isinstance(items[0], Pass)
    scanner.feed(data[300:])
    *passed, violation = items + drain(scanner)
    assert isinstance(violation, Violation) and violation.code == 1008
    (message,) = messages_in(read_by_peer(Side.CLIENT, raw(passed) + finish_frame(scanner)))
    with pytest.raises(json.JSONDecodeError):  # the upstream must not get what was refused
        json.loads(message)


def test_what_follows_the_audio_is_not_held_when_it_is_too_much() -> None:
    data = frame(Side.CLIENT, misleading(Side.CLIENT, b" " * (ENVELOPE_BYTES_MAX + 1) + b"}"))
    scanner = scanner_for(Side.CLIENT)
    scanner.feed(data[:500])  # the quote that ends the audio is among them
    assert isinstance(drain(scanner)[-1], Violation)


@EACH_MISLEADING
@pytest.mark.parametrize("empty_end", [True, False])
def test_fragments_that_stream_something_else_are_refused(tail: bytes, empty_end: bool) -> None:
    payload = misleading(Side.CLIENT, tail)
    frames = fragments(Side.CLIENT, payload[:300], payload[300:], b"" if empty_end else b" ")
    *_, violation = scan(Side.CLIENT, frames)
    assert isinstance(violation, Violation) and violation.code == 1008


@EACH_MISLEADING
@pytest.mark.parametrize("split", [True, False])
def test_from_upstream_it_passes_and_what_was_heard_counts(tail: bytes, split: bool) -> None:
    payload = misleading(Side.UPSTREAM, tail)
    frames = (
        fragments(Side.UPSTREAM, payload[:300], payload[300:], b"")
        if split
        else [frame(Side.UPSTREAM, payload)]
    )
    data = b"".join(frames)
    items = scan(Side.UPSTREAM, [data[at : at + 7] for at in range(0, len(data), 7)])
    assert merged(items) == [Pass(data, (audio(Side.UPSTREAM, 400),))]


@BOTH
def test_what_is_in_doubt_but_has_come_whole_is_a_message(side: Side) -> None:
    payload = misleading(side, b',"x":"y"}')
    data = frame(side, payload)
    assert scan(side, [data]) == [Message(data, payload)]


@BOTH
def test_fragments_that_end_oddly_before_they_flow_are_held(side: Side) -> None:
    payload = bulk(side, 400)[:-1] + b" " * (ENVELOPE_BYTES_MAX + 1) + b"}"
    frames = fragments(side, payload, b"")
    assert scan(side, frames) == [Message(b"".join(frames), payload)]


# The same however it is cut


def conversation(side: Side) -> list[bytes]:
    """Return frames of every kind, small enough to be cut at every byte."""
    large = bulk(side, 400, "id first")
    ping = frame(side, b"hello", Opcode.PING)
    parts = fragments(side, large[:170], large[170:300], large[300:-1], large[-1:])
    return [
        frame(side, bulk(side, 60)),
        frame(side, bulk(side, 120)),
        frame(side, b'{"type":"session.update"}'),
        frame(side, large),
        frame(side, bulk(side, 300, "audio first")),
        *fragments(side, b'{"type"', b':"x', b'"}'),
        ping,
        parts[0],
        ping,
        *parts[1:3],
        frame(side, b"", Opcode.PONG),
        parts[3],
        *fragments(side, b"\x00" * 20, b"\xff" * 200, opcode=Opcode.BINARY),
        frame(side, b"x" * 200),
        *fragments(side, b"y" * 170, b"", b"z"),
        frame(side, bulk(side, 88, "audio first")),
        frame(side, b"\x03\xe8bye", Opcode.CLOSE),
    ]


@BOTH
def test_cut_at_every_byte(side: Side) -> None:
    data = b"".join(conversation(side))
    expected = merged(scan(side, [data]))
    assert raw(expected) == data
    for cut in range(1, len(data)):
        assert merged(scan(side, [data[:cut], data[cut:]])) == expected


@BOTH
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 200, 1000])
def test_cut_into_equal_pieces(side: Side, size: int) -> None:
    data = b"".join(conversation(side))
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert merged(scan(side, pieces)) == merged(scan(side, [data]))


@dataclass
class Sent:
    """One message as a peer sends it: its payload, the frames, what stands between them."""

    payload: bytes
    opcode: Opcode
    audio: Audio | None
    frames: list[bytes] = field(default_factory=list)


@st.composite
def sent(draw: st.DrawFn, side: Side) -> Sent:
    """Draw a message, cut into fragments, with control frames in between."""
    kind = draw(st.sampled_from(["bulk", "bulk", "text", "binary"]))
    chars = draw(st.integers(0, 500))
    spelling = draw(st.sampled_from(["type first", "id first", "audio first"]))
    payload = bulk(side, chars, spelling) if kind == "bulk" else draw(st.text(max_size=300)).encode()
    opcode = Opcode.BINARY if kind == "binary" else Opcode.TEXT
    message = Sent(payload, opcode, audio(side, chars) if kind == "bulk" else None)
    cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=4)))
    pieces = [payload[a:b] for a, b in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
    for each in fragments(side, *pieces, opcode=opcode):
        if draw(st.integers(0, 4)) == 0:
            message.frames.append(frame(side, draw(st.binary(max_size=5)), Opcode.PING))
        message.frames.append(each)
    return message


@st.composite
def feeding(draw: st.DrawFn, data: bytes) -> list[tuple[bytes, int]]:
    """Draw chunks of `data`, and how many items the caller asks for after each."""
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))
    chunks = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    return [(chunk, draw(st.integers(0, 3))) for chunk in chunks]


def items_of(scanner: Scanner, plan: Sequence[tuple[bytes, int]]) -> list[Item]:
    """Feed as planned, stopping between items; then take the rest."""
    items: list[Item] = []
    for chunk, count in plan:
        scanner.feed(chunk)
        for _ in range(count):
            item = scanner.next()
            if item is not None:
                items.append(item)
    return items + drain(scanner)


@given(st.sampled_from(list(Side)), st.data())
def test_every_message_arrives_as_it_was_sent(side: Side, data: st.DataObject) -> None:
    messages = data.draw(st.lists(sent(side), max_size=6))
    stream = b"".join(each for message in messages for each in message.frames)
    scanner = scanner_for(side)
    items = items_of(scanner, data.draw(feeding(stream)))
    out = raw(items)

    assert len(out) == len(stream) and scanner.buffered == 0 and not scanner.in_message
    assert merged(items) == merged(scan(side, [stream]))
    before, after = read_by_peer(side, stream), read_by_peer(side, out)
    assert messages_in(after) == [message.payload for message in messages]
    assert [f for f in before if f.opcode is not Opcode.PING] == [
        f for f in after if f.opcode is not Opcode.PING
    ]
    assert [f for f in before if f.opcode is Opcode.PING] == [f for f in after if f.opcode is Opcode.PING]

    heard = [each for item in items if isinstance(item, Pass) for each in item.audio]
    assert heard == [message.audio for message in messages if message.audio is not None]
    decided = [item.payload for item in items if isinstance(item, Message)]
    assert decided == [m.payload for m in messages if m.audio is None and m.opcode is Opcode.TEXT]


@given(st.sampled_from(list(Side)), st.binary(max_size=200), st.integers(1, 50))
def test_no_bytes_upset_it(side: Side, data: bytes, size: int) -> None:
    """Noise ends in a violation at the same place, or waits for more, and never in an exception."""
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert merged(scan(side, pieces)) == merged(scan(side, [data]))


# Violations


C, U = Side.CLIENT, Side.UPSTREAM
VIOLATIONS = {
    "a reserved bit": (C, b"\xc1\x80", 1002),
    "an unknown opcode": (U, b"\x83\x00", 1002),
    "a client that does not mask": (C, frame(U, b"x"), 1002),
    "an upstream that masks": (U, frame(C, b"x"), 1002),
    "a fragmented ping": (C, b"\x09\x80\x00\x00\x00\x00", 1002),
    "a ping of 126 bytes": (U, b"\x89\x7e\x00\x7e", 1002),
    "a long length for little": (U, b"\x81\x7e\x00\x05hello", 1002),
    "a continuation of nothing": (C, frame(C, b"x", Opcode.CONT), 1002),
    "a text inside a text": (C, frame(C, b"x", final=False) + frame(C, b"y"), 1002),
    "a binary inside a text": (U, frame(U, b"x", final=False) + frame(U, b"y", Opcode.BINARY), 1002),
    "a text inside a binary": (U, frame(U, b"x", Opcode.BINARY, final=False) + frame(U, b"y"), 1002),
    "an audio message inside a text": (C, frame(C, b"x", final=False) + frame(C, bulk(C, 200)), 1002),
    "a continuation after the end": (C, frame(C, b"x") + frame(C, b"y", Opcode.CONT), 1002),
    "a close of one byte": (C, frame(C, b"\x03", Opcode.CLOSE), 1002),
    "a close with 1005": (U, frame(U, b"\x03\xed", Opcode.CLOSE), 1002),
    "a close with a reason that is no text": (C, frame(C, b"\x03\xe8\xff", Opcode.CLOSE), 1007),
    "a text that is none": (C, frame(C, b"\xff"), 1007),
    "fragments that are no text": (C, b"".join(fragments(C, b"\xc3", b"(")), 1007),
}


@pytest.mark.parametrize(("side", "data", "code"), VIOLATIONS.values(), ids=VIOLATIONS)
@pytest.mark.parametrize("size", [1, 10_000])
def test_violations(side: Side, data: bytes, code: int, size: int) -> None:
    """What is fine before it still goes out; nothing after it."""
    good = frame(side, bulk(side, 40))
    stream = good + data + good
    scanner = scanner_for(side)
    items: list[Item] = []
    for at in range(0, len(stream), size):
        scanner.feed(stream[at : at + size])
        items += drain(scanner)
    *before, violation = merged(items)
    assert isinstance(violation, Violation) and violation.code == code
    assert isinstance(before[0], Pass) and before[0].audio == (audio(side, 40),)
    assert (good + data).startswith(raw(before))
    assert scanner.buffered == 0


def test_audio_that_comes_alone_inside_a_text_is_seen() -> None:
    (violation,) = scan(C, [frame(C, b"x", final=False), frame(C, bulk(C, 100))])
    assert isinstance(violation, Violation) and violation.code == 1002


# Limits


@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
def test_a_length_of_a_gibibyte_is_refused_by_its_header(opcode: Opcode) -> None:
    scanner = scanner_for(Side.CLIENT)
    scanner.feed(bytes([0x80 | opcode, 0xFF]) + (1 << 30).to_bytes(8, "big") + b"mask" + b"x" * 1000)
    (item,) = drain(scanner)
    assert isinstance(item, Violation) and item.code == 1009
    for _ in range(100):
        scanner.feed(b"x" * 65536)
    assert scanner.buffered == 0 and scanner.next() is None


@BOTH
@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
def test_the_limit_holds_over_all_fragments(side: Side, opcode: Opcode) -> None:
    fitting = fragments(side, b"x" * 60, b"y" * 30, b"z" * 10, opcode=opcode)
    items = scan(side, fitting, limit=100)
    assert raw(items) == b"".join(fitting)
    assert isinstance(scan(side, fitting, limit=99)[-1], Violation)


@BOTH
def test_audio_has_the_same_limit(side: Side) -> None:
    payload = bulk(side, 300)
    data = frame(side, payload)
    assert scan(side, [data], limit=len(payload)) == [Pass(data, (audio(side, 300),))]
    (item,) = scan(side, [data], limit=len(payload) - 1)
    assert isinstance(item, Violation) and item.code == 1009


@BOTH
@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
def test_fragments_have_a_limit(side: Side, opcode: Opcode) -> None:
    frames = fragments(side, *[b"x"] * FRAGMENTS_MAX, opcode=opcode)
    assert raw(scan(side, [b"".join(frames)])) == b"".join(frames)
    more = fragments(side, *[b""] * (FRAGMENTS_MAX + 1), opcode=opcode)
    last = scan(side, [b"".join(more)])[-1]
    assert isinstance(last, Violation) and last.code == 1009


class Deaf(Recogniser):
    """Recognises nothing, and counts how often it was asked about a beginning."""

    def __init__(self) -> None:
        self.asked = 0

    def whole(self, payload: bytes) -> Audio | None:
        return None

    def arriving(self, beginning: bytes) -> Arriving | None:
        self.asked += 1
        return None


def test_many_fragments_are_looked_at_once() -> None:
    """Else a message of 4096 fragments would be put together 4096 times."""
    deaf = Deaf()
    scanner = Scanner(Side.CLIENT, message_bytes_max=LIMIT, bulk=deaf, hold_bytes_max=HOLD)
    frames = fragments(Side.CLIENT, *[b"x" * 100] * 50)
    scanner.feed(b"".join(frames))
    assert drain(scanner) == [Message(b"".join(frames), b"x" * 5000)]
    assert deaf.asked == 1


@BOTH
def test_everything_that_is_held_is_counted(side: Side) -> None:
    first, last = fragments(side, b'{"type":', b'"x"}')
    audio_frame = frame(side, bulk(side, 100))
    scanner = scanner_for(side)
    scanner.feed(first + last[:3])
    assert scanner.next() is None
    assert scanner.buffered == len(first) + 3
    scanner.feed(last[3:] + audio_frame + first + last)
    assert isinstance(scanner.next(), Message)
    assert isinstance(scanner.next(), Pass)
    assert scanner.buffered == len(first + last)
    assert scanner.next() == Message(first + last, b'{"type":"x"}')
    assert scanner.buffered == 0


def test_a_message_that_drips_is_put_together_once() -> None:
    """Byte by byte, it takes no more room than its length; the scanner does not look at it each time."""
    data = frame(Side.CLIENT, b'"' + b"x" * 50_000 + b'"')
    scanner = scanner_for(Side.CLIENT, hold=HOLD_BYTES_MAX)
    for at in range(len(data) - 1):
        scanner.feed(data[at : at + 1])
        assert scanner.next() is None
    assert scanner.buffered == len(data) - 1
    scanner.feed(data[-1:])
    assert raw(drain(scanner)) == data


# Half-sent frames


def half_sent(side: Side) -> dict[str, list[bytes]]:
    large = bulk(side, 400)
    return {
        "audio in one frame": [frame(side, large)],
        "audio in fragments": fragments(side, large[:200], large[200:350], large[350:]),
        "binary": fragments(side, b"a" * 100, b"", b"b" * 70_000, opcode=Opcode.BINARY),
        "held": [frame(side, b"x" * 200), *fragments(side, b"y", b"z")],
    }


@BOTH
@pytest.mark.parametrize("name", half_sent(Side.CLIENT))
def test_what_was_handed_out_in_part_can_be_finished_anywhere(side: Side, name: str) -> None:
    """The peer finds nothing wrong, and reads our message as one of its own."""
    data = b"".join(half_sent(side)[name])
    ours = text_frame(b'{"type":"response.cancel"}', side is Side.CLIENT)
    for cut in [*range(min(len(data), 600)), len(data)]:
        scanner = scanner_for(side)
        scanner.feed(data[:cut])
        out = raw(drain(scanner))
        rest = finish_frame(scanner)
        assert bool(rest) is scanner.in_message
        frames = read_by_peer(side, out + rest + ours)
        assert frames[-1].opcode is Opcode.TEXT
        assert messages_in(frames)[-1] == b'{"type":"response.cancel"}'


def test_where_the_bytes_handed_out_end() -> None:
    first, last = fragments(Side.CLIENT, b"a" * 10, b"b" * 10, opcode=Opcode.BINARY)
    scanner = scanner_for(Side.CLIENT)
    assert (scanner.in_frame, scanner.in_message, scanner.fragmented) == (False, False, False)
    scanner.feed(first[:9])
    drain(scanner)
    assert (scanner.in_frame, scanner.in_message, scanner.fragmented) == (True, True, True)
    assert (scanner.frame_left, scanner.frame_mask, scanner.frame_offset) == (7, first[2:6], 3)
    scanner.feed(first[9:])
    drain(scanner)
    assert (scanner.in_frame, scanner.in_message, scanner.fragmented) == (False, True, True)
    scanner.feed(last[:7])
    drain(scanner)
    assert (scanner.in_frame, scanner.in_message, scanner.fragmented) == (True, True, False)
    scanner.feed(last[7:])
    drain(scanner)
    assert (scanner.in_frame, scanner.in_message, scanner.fragmented) == (False, False, False)
