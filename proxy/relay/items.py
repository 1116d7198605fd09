"""What a scan of one direction gives, in the order of the wire."""

import msgspec

from proxy.dialects.bulk import Audio


class Pass(msgspec.Struct, frozen=True):
    """Bytes to relay now, and the audio messages that ended in them.

    They may end inside a frame: see `Scanner.in_frame`. A part of what was read is a view of it, not a copy.
    """

    data: bytes | memoryview
    audio: tuple[Audio, ...] = ()


class Message(msgspec.Struct, frozen=True):
    """A whole text message that is not bulk: its frames as received, and its payload.

    A client's payload is UTF-8; an upstream's may be anything.
    """

    raw: bytes
    payload: bytes


class Ping(msgspec.Struct, frozen=True):
    """A ping, also one between the fragments of a message."""

    raw: bytes
    payload: bytes


class Pong(msgspec.Struct, frozen=True):
    """A pong, also one between the fragments of a message."""

    raw: bytes
    payload: bytes


class CloseFrame(msgspec.Struct, frozen=True):
    """A close frame, the last item: what comes after it is discarded. Without a code it was empty."""

    raw: bytes
    code: int | None
    reason: str


class Violation(msgspec.Struct, frozen=True):
    """The peer broke the protocol or a limit: close with `code`. The last item."""

    code: int
    reason: str


Item = Pass | Message | Ping | Pong | CloseFrame | Violation
