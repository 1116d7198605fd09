"""WebSocket framing, one frame at a time: read a header strictly, read a close, build our own frames."""

from typing import Final

import msgspec
from websockets.frames import Close, Frame, Opcode

from proxy.relay.items import CloseFrame, Violation

try:
    from websockets.speedups import apply_mask
except ImportError:  # no C extension for this platform
    from websockets.utils import apply_mask

toggle_mask: Final = apply_mask  # masks or unmasks what begins with the key's first byte

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

_DATA: Final = frozenset({0x00, 0x01, 0x02, 0x80, 0x81, 0x82})  # first bytes of data frames without a flaw
_OPCODES: Final = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})
_CONTROL_BYTES_MAX: Final = 125  # RFC 6455 section 5.5
_REASON_BYTES_MAX: Final = _CONTROL_BYTES_MAX - 2
_RESERVED_CODES: Final = frozenset({1004, 1005, 1006})


class Header(msgspec.Struct, frozen=True, gc=False):
    """A frame's header. `size` is its own bytes, `length` those of the payload that follows."""

    opcode: int
    final: bool
    size: int
    length: int
    mask: bytes | None


def read_header(data: bytes, at: int, masked: bool) -> Header | int | str:
    """Read the header of the frame that begins at `data[at]`, sent by a side that has to mask or must not.

    Returns how many bytes it needs when there are fewer, and what is wrong with it when it is malformed.
    """
    here = len(data) - at
    if here < 2:
        return 2
    first, second = data[at], data[at + 1]
    if first not in _DATA or (second > 0x7F) is not masked:
        flaw = _flaw(first, second, masked)
        if flaw:
            return flaw
    length, size = second & 0x7F, 2
    if length > _CONTROL_BYTES_MAX:
        size = 4 if length == 126 else 10
        if here < size:
            return size
        length = int.from_bytes(data[at + 2 : at + size], "big")
        if length < (126 if size == 4 else 0x10000) or length >> 63:
            return "the length is not encoded in the shortest form"
    if not masked:
        return Header(first & 0xF, first > 0x7F, size, length, None)
    if here < size + 4:
        return size + 4
    return Header(first & 0xF, first > 0x7F, size + 4, length, data[at + size : at + size + 4])


def _flaw(first: int, second: int, masked: bool) -> str | None:
    """Return what is wrong with a header's first two bytes."""
    if first & 0x70:
        return "reserved bits are set"
    if first & 0xF not in _OPCODES:
        return "unknown opcode"
    if (second > 0x7F) is not masked:
        return "the frame is not masked" if masked else "the frame is masked"
    if first & 0x8 and (first < 0x80 or second & 0x7F > _CONTROL_BYTES_MAX):
        return "a control frame is fragmented or too long"
    return None


def unmask(data: bytes, mask: bytes | None, offset: int = 0) -> bytes:
    """Return `data`, payload of a frame masked with `mask` (None: not masked) from its byte `offset` on."""
    if mask is None:
        return data
    turn = offset & 3
    return apply_mask(data, mask[turn:] + mask[:turn] if turn else mask)


def is_utf8(payload: bytes) -> bool:
    """Return whether `payload` is what a text message has to be."""
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def read_close(raw: bytes, payload: bytes) -> CloseFrame | Violation:
    """Return the close frame `raw`, which carries `payload`, or what is wrong with it."""
    if not payload:
        return CloseFrame(raw, None, "")
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or not _may_be_sent(code):
        return Violation(1002, "a close has an invalid code")
    if not is_utf8(payload[2:]):
        return Violation(1007, "the reason of a close is not UTF-8")
    return CloseFrame(raw, code, payload[2:].decode())


def _may_be_sent(code: int) -> bool:
    """Return whether RFC 6455 section 7.4 and IANA's registry allow `code` in a close frame."""
    return (1000 <= code <= 1014 and code not in _RESERVED_CODES) or 3000 <= code <= 4999


def text_frame(payload: str | bytes, mask: bool) -> bytes:
    """Return a whole text message in one frame; `mask` it when it goes upstream."""
    data = payload.encode() if isinstance(payload, str) else payload
    return Frame(Opcode.TEXT, data).serialize(mask=mask)


def close_frame(code: int | None, reason: str, mask: bool) -> bytes:
    """Return a close frame, empty without a code; the reason is cut to the 123 bytes there are."""
    if code is None:
        return Frame(Opcode.CLOSE, b"").serialize(mask=mask)
    short = reason.encode()[:_REASON_BYTES_MAX].decode(errors="ignore")
    return Frame(Opcode.CLOSE, Close(code, short).serialize()).serialize(mask=mask)


def pong_frame(payload: bytes, mask: bool) -> bytes:
    """Return the answer to a ping with `payload`, at most 125 bytes."""
    return Frame(Opcode.PONG, payload).serialize(mask=mask)


def continuation_frame(mask: bool) -> bytes:
    """Return an empty final continuation: it ends a fragmented message."""
    return Frame(Opcode.CONT, b"").serialize(mask=mask)
