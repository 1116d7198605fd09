"""Headers are read strictly, and frames of our own are what a WebSocket library accepts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, Protocol, Side

from proxy.relay import wire
from proxy.relay.items import CloseFrame, Violation

OPCODES = st.sampled_from(list(Opcode))
LENGTHS = st.one_of(st.integers(0, 300), st.sampled_from([125, 126, 65535, 65536, 70000]))


def received(data: bytes, mask: bool) -> list[Frame]:
    """Return the frames that a websockets peer reads from `data`."""
    peer = Protocol(Side.SERVER if mask else Side.CLIENT, state=OPEN)
    peer.receive_data(data)
    assert peer.parser_exc is None
    return [event for event in peer.events_received() if isinstance(event, Frame)]


@given(OPCODES, LENGTHS, st.booleans(), st.booleans(), st.binary(max_size=3))
def test_reads_what_websockets_writes(
    opcode: Opcode, length: int, final: bool, masked: bool, before: bytes
) -> None:
    if opcode >= Opcode.CLOSE:
        final, length = True, min(length, 125)
    data = Frame(opcode, b"x" * length, final).serialize(mask=masked)
    header = wire.read_header(before + data, len(before), masked)
    assert isinstance(header, wire.Header)
    assert (header.opcode, header.final, header.length) == (opcode, final, length)
    assert wire.unmask(data[header.size :], header.mask) == b"x" * length


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("length", [0, 125, 126, 65535, 65536])
def test_says_how_many_bytes_a_header_needs(masked: bool, length: int) -> None:
    """Fed as many bytes as it asks for, it asks again or is done; it never asks for payload."""
    data = Frame(Opcode.TEXT, b"x" * length).serialize(mask=masked)
    header: wire.Header | int | str = 0
    asked = []
    while isinstance(header, int):
        asked.append(header)
        header = wire.read_header(data[:header], 0, masked)
    assert isinstance(header, wire.Header)
    assert asked[-1] == header.size == len(data) - length
    assert asked == sorted(set(asked))


FLAWED = {
    "RSV1": (b"\xc1\x80", True),
    "RSV2": (b"\xa1\x80", True),
    "RSV3": (b"\x91\x80", True),
    "opcode 3": (b"\x83\x80", True),
    "opcode 7": (b"\x87\x80", True),
    "opcode 11": (b"\x8b\x80", True),
    "opcode 15": (b"\x8f\x80", True),
    "a client that does not mask": (b"\x81\x00", True),
    "an upstream that masks": (b"\x81\x80", False),
    "a fragmented ping": (b"\x09\x80", True),
    "a fragmented close": (b"\x08\x00", False),
    "a ping of 126 bytes": (b"\x89\xfe\x00\x7e", True),
    "a close of 64-bit length": (b"\x88\x7f", False),
    "125 in two bytes": (b"\x81\x7e\x00\x7d", False),
    "0 in two bytes": (b"\x82\xfe\x00\x00", True),
    "65535 in eight bytes": (b"\x81\x7f\x00\x00\x00\x00\x00\x00\xff\xff", False),
    "the top bit": (b"\x81\xff\x80\x00\x00\x00\x00\x01\x00\x00", True),
}


@pytest.mark.parametrize(("data", "masked"), FLAWED.values(), ids=FLAWED)
def test_flaws_are_seen_without_waiting_for_more(data: bytes, masked: bool) -> None:
    assert isinstance(wire.read_header(data, 0, masked), str)


@given(st.binary(max_size=40), st.binary(min_size=4, max_size=4), st.integers(0, 40))
def test_unmasks_from_any_offset(payload: bytes, mask: bytes, cut: int) -> None:
    masked = wire.unmask(payload, mask)
    assert (
        wire.unmask(masked[:cut], mask) + wire.unmask(masked[cut:], mask, min(cut, len(payload))) == payload
    )
    assert wire.unmask(payload, None, cut) == payload


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1008, 1011, 1012, 1014, 3000, 3999, 4000, 4999])
def test_close_codes_that_may_be_sent(code: int) -> None:
    assert wire.read_close(b"raw", code.to_bytes(2, "big") + "ähm".encode()) == CloseFrame(
        b"raw", code, "ähm"
    )


@pytest.mark.parametrize("code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535])
def test_close_codes_that_may_not(code: int) -> None:
    found = wire.read_close(b"raw", code.to_bytes(2, "big"))
    assert isinstance(found, Violation)
    assert found.code == 1002


def test_closes_without_code_half_a_code_and_a_reason_that_is_no_text() -> None:
    assert wire.read_close(b"raw", b"") == CloseFrame(b"raw", None, "")
    half, reason = wire.read_close(b"raw", b"\x03"), wire.read_close(b"raw", b"\x03\xe8\xff")
    assert isinstance(half, Violation) and half.code == 1002
    assert isinstance(reason, Violation) and reason.code == 1007


@pytest.mark.parametrize("mask", [True, False])
def test_own_frames_are_accepted(mask: bool) -> None:
    data = wire.text_frame("grün", mask) + wire.text_frame(b"{}", mask) + wire.pong_frame(b"p", mask)
    frames = received(data + wire.close_frame(1008, "spent", mask), mask)
    assert [(frame.opcode, bytes(frame.data)) for frame in frames] == [
        (Opcode.TEXT, "grün".encode()),
        (Opcode.TEXT, b"{}"),
        (Opcode.PONG, b"p"),
        (Opcode.CLOSE, b"\x03\xf0spent"),
    ]


def test_an_own_close_fits_a_frame() -> None:
    (frame,) = received(wire.close_frame(1008, "x" + "ä" * 100, mask=True), mask=True)
    assert bytes(frame.data)[2:].decode() == "x" + "ä" * 61
    (empty,) = received(wire.close_frame(None, "", mask=False), mask=False)
    assert bytes(empty.data) == b""


def test_a_continuation_ends_a_message() -> None:
    first = Frame(Opcode.TEXT, b"a", fin=False).serialize(mask=True)
    frames = received(first + wire.continuation_frame(mask=True), mask=True)
    assert [(frame.opcode, frame.fin) for frame in frames] == [(Opcode.TEXT, False), (Opcode.CONT, True)]
