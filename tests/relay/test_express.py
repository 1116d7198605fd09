"""The short way takes whole audio messages of usual size, and stops before anything else."""

import pytest
from websockets.frames import Frame, Opcode

from proxy.core.events import Side
from proxy.dialects.bulk import Audio, recogniser_for
from proxy.dialects.ear import Ear
from proxy.relay.express import audio_run, lone_audio
from proxy.relay.received import Received

LIMIT = 1000
APPEND = b'{"type":"input_audio_buffer.append","audio":"%s"}'
DELTA = b'{"type":"response.audio.delta","response_id":"r1","delta":"%s"}'


def frame(payload: bytes, mask: bool = True, opcode: Opcode = Opcode.TEXT, final: bool = True) -> bytes:
    return Frame(opcode, payload, final).serialize(mask=mask)


def run(data: bytes, side: Side = Side.CLIENT, at: int = 0) -> tuple[int, list[Audio]]:
    heard: list[Audio] = []
    received = Received()
    received.feed(data)
    received.pos = at
    audio_run(received, side is Side.CLIENT, LIMIT, Ear(recogniser_for(side)), heard)
    return received.pos, heard


def test_takes_a_run_of_appends() -> None:
    one, two = frame(APPEND % (b"A" * 100)), frame(APPEND % (b"B" * 200))
    assert run(b"x" + one + two, at=1) == (1 + len(one + two), [Audio(100, None), Audio(200, None)])


def test_takes_a_run_of_deltas() -> None:
    data = frame(DELTA % (b"A" * 100), mask=False) * 3
    assert run(data, Side.UPSTREAM) == (len(data), [Audio(100, "r1")] * 3)


GOOD = frame(APPEND % (b"A" * 100))

OTHERS = {
    "nothing": b"",
    "half a header": b"\x81\xfe\x01",
    "half a frame": GOOD[:-1],
    "another message": frame(b'{"type":"response.create"}' + b" " * 200),
    "a short message": frame(APPEND % b"AAAA"),
    "a message over the limit": frame(APPEND % (b"A" * LIMIT)),
    "a fragment": frame(APPEND % (b"A" * 100), final=False),
    "a binary message": frame(APPEND % (b"A" * 100), opcode=Opcode.BINARY),
    "a ping": frame(b"", opcode=Opcode.PING),
    "a frame that is not masked": frame(APPEND % (b"A" * 100), mask=False),
    "a length that is too long": b"\x81\xfe\x00\x7d" + bytes(4) + APPEND % (b"A" * (125 - len(APPEND % b""))),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_stops_before_anything_else(other: bytes) -> None:
    assert run(other) == (0, [])
    assert run(GOOD + other) == (len(GOOD), [Audio(100, None)])


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_only_a_whole_message_by_itself_is_alone(other: bytes) -> None:
    ear = Ear(recogniser_for(Side.CLIENT))
    assert lone_audio(other, True, LIMIT, ear) == -1
    assert lone_audio(GOOD, True, LIMIT, ear) == 100
    assert lone_audio(other, True, LIMIT, ear) == -1
    if other:
        assert lone_audio(GOOD + other, True, LIMIT, ear) == -1


def test_a_delta_alone() -> None:
    data = frame(DELTA % (b"A" * 100), mask=False)
    ear = Ear(recogniser_for(Side.UPSTREAM))
    assert (lone_audio(data, False, LIMIT, ear), ear.response_id) == (100, "r1")
    assert lone_audio(data, True, LIMIT, ear) == -1


@pytest.mark.parametrize("side", Side)
def test_asks_for_what_is_missing_of_a_message(side: Side) -> None:
    text = APPEND if side is Side.CLIENT else DELTA
    data = frame(text % (b"A" * 100), mask=side is Side.CLIENT)
    for end in range(1, len(data)):
        received = Received()
        received.feed(data + data[:end])
        audio_run(received, side is Side.CLIENT, LIMIT, Ear(recogniser_for(side)), [])
        header = 8 if side is Side.CLIENT else 4
        assert (received.pos, received.need) == (len(data), len(data) if end >= header else 0)
