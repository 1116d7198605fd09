"""Recognise bulk audio without decoding it: what makes up nearly every byte of a voice session.

An audio message is an *envelope* around one long base64 string:

    {"type":"input_audio_buffer.append","audio":"UklGRg…"}
    └──────────────── envelope ───────────────┘      └┘

Real clients write `type`, `event_id` or `audio` first, with or without a space after `:` and `,`.
The value is cut out by two searches for a byte, which cost about 0.1 µs for 6.4 kB, and the small rest
is decoded strictly. So this is no guess: what is called bulk is a JSON object with known members, each
once, one of them the audio. Anything else is not bulk, which is never wrong, only slower: the dialect
decodes it whole.

Inside the value only `"` and `\\` are looked for: they alone could hide another member. That it is base64
is the upstream's to judge; it refuses what it cannot decode, and nothing is billed for that.
"""

import re
from collections.abc import Callable
from typing import Final

import msgspec

from proxy.core.events import Side

ENVELOPE_BYTES_MAX: Final = 4096  # OpenAI pads deltas with `obfuscation`, so larger than ids alone need
LOOK_BYTES: Final = 128  # where, from either end, the type must stand: an id of 36 characters fits before it

_STRING: Final = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)  # up to the quote that ends it


class Audio(msgspec.Struct, frozen=True, gc=False):
    """One audio message: base64 characters of the value itself, and the response a delta belongs to."""

    chars: int
    response_id: str | None


class Envelope(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The members a bulk message may have, the audio aside. The defaults say that one is absent."""

    type: str
    event_id: str = ""
    response_id: str = ""
    item_id: str = ""
    obfuscation: str = ""
    output_index: int = -1
    content_index: int = -1


class Found(msgspec.Struct, frozen=True, gc=False):
    """Where in a message its audio begins and ends, and what stands around it."""

    begin: int
    end: int
    envelope: Envelope


class _Append(Envelope, kw_only=True):
    audio: str


class _Delta(Envelope, kw_only=True):
    delta: str


def _quotes(envelope: Envelope) -> int:
    """Return how many `"` spell `envelope` if no member stands there twice: type and audio, then the rest.

    Spelled out because it runs for every audio message: a loop takes twice as long.
    """
    quotes = 8
    if envelope.event_id:
        quotes += 4
    if envelope.response_id:
        quotes += 4
    if envelope.item_id:
        quotes += 4
    if envelope.obfuscation:
        quotes += 4
    if envelope.output_index >= 0:
        quotes += 2
    if envelope.content_index >= 0:
        quotes += 2
    return quotes


class Recogniser:
    """Knows the bulk messages of one direction: their types and the member that holds the audio."""

    def __init__(self, shape: type[Envelope], member: bytes, types: frozenset[str], ending: bytes) -> None:
        """`shape` is the envelope, `member` the quoted audio member, `ending` how all of `types` end."""
        self._decode: Callable[[bytes], Envelope] = msgspec.json.Decoder(shape).decode
        self.member = member
        self.ending = ending + b'"'
        self._types = types

    def whole(self, payload: bytes) -> Audio | None:
        """Return what a whole message carries, or None if it is not bulk audio beyond doubt."""
        found = self.find(payload)
        return Audio(found.end - found.begin, found.envelope.response_id or None) if found else None

    def find(self, payload: bytes) -> "Found | None":
        """Return where the audio of a whole message is, or None if it is not bulk audio beyond doubt."""
        # Almost everything else is set aside at once: its type does not stand near either end.
        ending = self.ending
        if payload.find(ending, 0, LOOK_BYTES) < 0 and payload.find(ending, -LOOK_BYTES) < 0:
            return None
        begin = self._value_at(payload)
        end = payload.find(b'"', begin)
        if not begin or end < 0 or payload.find(b"\\") >= 0:
            return None
        if len(payload) - (end - begin) > ENVELOPE_BYTES_MAX:
            return None
        envelope = self._envelope(payload[:begin] + payload[end:])
        return None if envelope is None else Found(begin, end, envelope)

    def arriving(self, beginning: bytes) -> "Arriving | None":
        """Return the bulk message that starts with `beginning`, or None if that is in doubt.

        Doubt includes audio first: then the type comes last, and the message has to be held until then.
        """
        begin = self._value_at(beginning)
        head = beginning[:begin]
        if not begin or b"\\" in head:
            return None
        envelope = self._envelope(head + b'"}')
        return None if envelope is None else Arriving(self, head, envelope.response_id or None)

    def is_envelope(self, envelope: bytes) -> bool:
        """Return whether `envelope`, a message whose audio was cut out, is that of a bulk message."""
        return b"\\" not in envelope and self._envelope(envelope) is not None

    def _value_at(self, payload: bytes) -> int:
        """Return where the audio value's first character is, 0 if it is not found."""
        at = payload.find(self.member, 0, ENVELOPE_BYTES_MAX)
        if at < 0:
            return 0
        at += len(self.member)
        if payload[at : at + 2] == b':"':
            return at + 2
        return at + 3 if payload[at : at + 3] == b': "' else 0

    def _envelope(self, envelope: bytes) -> Envelope | None:
        """Decode `envelope`, or return None if it is not one: wrong type, unknown or repeated members."""
        try:
            known = self._decode(envelope)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        if known.type not in self._types or envelope.count(b'"') != _quotes(known):
            return None
        return known


class Arriving:
    """A bulk message too large to wait for: its value passes by, its envelope is kept for the end."""

    def __init__(self, recogniser: Recogniser, head: bytes, response_id: str | None) -> None:
        """`head` is the message up to its value's first character."""
        self._recogniser = recogniser
        self._envelope = bytearray(head)
        self._response_id = response_id
        self._chars = 0
        self._is_escaping = False  # what was heard ends in the middle of an escape
        self.head_bytes = len(head)
        self.ended = False  # the value is over: what follows belongs to the envelope

    @property
    def audio(self) -> Audio:
        """Return what has been heard of it."""
        return Audio(self._chars, self._response_id)

    def hear(self, piece: bytes) -> int:
        """Take the next bytes after the head; return how many of them, from the first, belong to the value.

        Give what is left, if anything, to `tail`.
        """
        if self.ended:
            return 0
        if self._is_escaping or b"\\" in piece:
            return self._hear_escaped(piece)
        quote = piece.find(b'"')
        self.ended = quote >= 0
        heard = quote if self.ended else len(piece)
        self._chars += heard
        return heard

    def _hear_escaped(self, piece: bytes) -> int:
        """Do the same where the value has escapes: some encoders write `/` as `\\/` and `+` as `\\u002b`."""
        begin = int(self._is_escaping)
        rest = _STRING.match(piece, begin)
        end = rest.end() if rest else begin
        self.ended = piece[end : end + 1] == b'"'
        self._is_escaping = not self.ended and end < len(piece)  # a backslash is its last byte
        value = piece[:end] if self.ended else piece
        wide = value.count(b"\\u") + (begin and value.startswith(b"u"))
        self._chars += len(value) - value.count(b"\\") - 4 * wide
        return len(value)

    def tail(self, piece: bytes) -> bool:
        """Take bytes that follow the value; return whether the envelope is still of a size it may have."""
        if len(self._envelope) <= ENVELOPE_BYTES_MAX:
            self._envelope += piece[: ENVELOPE_BYTES_MAX + 1]
        return len(self._envelope) <= ENVELOPE_BYTES_MAX

    def is_bulk(self) -> bool:
        """Return whether the message, now whole, is what its head promised."""
        return self._recogniser.is_envelope(bytes(self._envelope))


_RECOGNISERS: Final = {
    Side.CLIENT: Recogniser(
        _Append, b'"audio"', frozenset({"input_audio_buffer.append"}), b"input_audio_buffer.append"
    ),
    Side.UPSTREAM: Recogniser(
        _Delta,
        b'"delta"',
        frozenset({"response.output_audio.delta", "response.audio.delta"}),  # GA, beta
        b"audio.delta",
    ),
}


def recogniser_for(side: Side) -> Recogniser:
    """Return what knows the audio that `side` sends: a client's appends, the upstream's deltas."""
    return _RECOGNISERS[side]
