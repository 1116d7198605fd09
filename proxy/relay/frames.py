"""Scan one direction of a WebSocket connection: bytes in, items out, no I/O.

    scanner.feed(data)
    while (item := scanner.next()) is not None:
        …                                      # the caller may stop here and go on later

What may go on unseen comes as `Pass`; what somebody has to decide about is held until it is whole and
comes as one item. Every item has its bytes exactly as they were received: frames, masks, fragments. Put
together, the items are the input, but for one thing: control frames that stood between the fragments
of a held message come before it.

How a text message is treated:

| message | is |
|---|---|
| up to `HOLD_BYTES_MAX`, or audio first | held until whole, then `Pass` if bulk, else `Message` |
| larger, its head that of bulk audio | passed on as it comes, what follows the audio once that is judged |
| larger, any other head | held until whole |

When a message that is passing by turns out not to be bulk, a client is refused (1008): no client sends
that, and one that has come whole by then is still a `Message`. One that ends inside its audio passes: it is
no JSON. From the upstream all pass; what it bills comes in other, smaller messages. If a client hides a
`response.create` in fragments that have already left, the upstream's `response.created` still meters it.
"""

from typing import Final

from proxy.core.events import Side
from proxy.dialects.bulk import ENVELOPE_BYTES_MAX, Arriving, Audio, Recogniser
from proxy.dialects.ear import Ear
from proxy.relay import wire
from proxy.relay.express import audio_run
from proxy.relay.items import CloseFrame, Item, Message, Pass, Ping, Pong, Violation
from proxy.relay.received import Received
from proxy.relay.wire import Header, close_frame, pong_frame, text_frame

HOLD_BYTES_MAX: Final = 64 * 1024  # ten times the usual audio message
FRAGMENTS_MAX: Final = 4096  # of one message


class Scanner:
    """Scans what one side sends: a client has to mask its frames, the upstream must not.

    `masked` says so. Four more attributes say where the bytes handed out so far *end*, so that the caller
    can finish a half-sent frame (`finish_frame`) or wait for a boundary. Held bytes do not count.

    * `frame_left`: payload bytes missing from the frame that was handed out in part; 0 between frames;
    * `frame_mask`: that frame's key, None from upstream; of no meaning between frames;
    * `frame_offset`: how many of its payload bytes were handed out;
    * `fragmented`: the message that was handed out in part does not end with the frame handed out
      last: a final continuation has to follow, once `frame_left` is 0.
    """

    def __init__(
        self, side: Side, *, message_bytes_max: int, bulk: Recogniser, hold_bytes_max: int = HOLD_BYTES_MAX
    ) -> None:
        """`side` is the sender; `message_bytes_max` limits the payload of one message, fragments summed."""
        self.masked = side is Side.CLIENT
        self._message_bytes_max = message_bytes_max
        self._hold_bytes_max = hold_bytes_max
        self.usual_bytes_max = min(message_bytes_max, hold_bytes_max)
        self._bulk = bulk
        self.ear = Ear(bulk)
        self._in = Received()
        self._run = 0  # from here to `_in.pos` everything goes out with the next `Pass`
        self._over = False
        # What goes out with the next item.
        self._out: list[bytes | memoryview] = []
        self._audio: list[Audio] = []
        self._ready: Item | None = None
        # The message under way: how it is treated, its limits.
        self._flowing = False  # its bytes pass on as they come
        self._arriving: Arriving | None = None  # it flows because it is bulk
        self._frames = 0  # 0: none under way
        self._size = 0
        self._raw: list[bytes] = []  # its whole frames that are held …
        self._payload: list[bytes] = []  # … and what they carry
        self._judged = False
        self.frame_left = 0
        self.frame_mask: bytes | None = None
        self.frame_offset = 0
        self.fragmented = False

    @property
    def in_frame(self) -> bool:
        """Whether the bytes handed out end inside a frame: nothing of our own may follow."""
        return self.frame_left > 0

    @property
    def in_message(self) -> bool:
        """Whether the bytes handed out end inside a message: no message of our own may follow."""
        return self.frame_left > 0 or self.fragmented

    @property
    def buffered(self) -> int:
        """Bytes received and not handed out."""
        ready: bytes = getattr(self._ready, "raw", b"")
        return len(self._in) + sum(map(len, self._raw)) + len(ready)

    @property
    def is_between(self) -> bool:
        """Whether the stream stands between messages, and all that was fed was handed out."""
        return not self._frames and not self._over and self._ready is None and self._in.is_empty

    def feed(self, data: bytes) -> bool:
        """Append received bytes; if it returns True, call `next` until that returns None."""
        return not self._over and self._in.feed(data)

    def next(self) -> Item | None:
        """Return the next item, or None when more bytes have to be fed first or the end was reached."""
        if self._ready is not None:
            ready, self._ready = self._ready, None
            return ready
        item = None
        while item is None and not self._over and self._in.fill():
            item = self._scan()
        return item

    def _scan(self) -> Item | None:
        """Make steps until one gives an item or needs more bytes; what has passed goes out before it."""
        self._run = self._in.pos
        if not self._frames:
            audio_run(self._in, self.masked, self.usual_bytes_max, self.ear, self._audio)
        item = None
        while item is None and not self._in.need and self._in.pos < len(self._in.data):
            item = self._step()
        self._flush()
        if self._over:
            self._forget()
        passed = self._passed()
        if passed is None:
            return item
        self._ready = item
        return passed

    def _step(self) -> Item | None:
        """Scan a piece of the frame that is passing by, or the header of the next frame."""
        if self.frame_left:
            return self._flow()
        header = wire.read_header(self._in.data, self._in.pos, self.masked)
        if isinstance(header, int):
            self._in.need = header
            return None
        if isinstance(header, str):
            return self._violation(1002, header)
        if header.opcode & 0x8:
            return self._control(header)
        refused = self._out_of_bounds(header)
        if refused is not None:
            return refused
        if self._flowing or header.opcode == wire.BINARY:
            return self._flow_frame(header)
        return self._hold(header)

    def _out_of_bounds(self, header: Header) -> Violation | None:
        """Return why a data frame may not stand here, or is too much for one message."""
        if header.opcode == wire.CONTINUATION:
            if not self._frames:
                return self._violation(1002, "a continuation without a start")
        elif self._frames:
            return self._violation(1002, "a new message inside a fragmented one")
        if self._size + header.length > self._message_bytes_max:
            return self._violation(1009, f"a message is limited to {self._message_bytes_max} bytes")
        if self._frames >= FRAGMENTS_MAX:
            return self._violation(1009, f"a message is limited to {FRAGMENTS_MAX} fragments")
        return None

    # Messages that are held

    def _hold(self, header: Header) -> Item | None:
        """Take a frame of a text message once it is whole; judge the message once that is whole."""
        begin = self._in.pos + header.size
        end = begin + header.length
        if end > len(self._in.data):
            return self._hold_part(header)
        payload = wire.unmask(self._in.data[begin:end], header.mask)
        if not header.final or self._frames:
            return self._hold_fragment(header, self._take(end), payload)
        audio = self._bulk.whole(payload)
        if audio is None:
            return self._message(self._take(end), payload)
        self._audio.append(audio)
        self._in.pos = end
        return None

    def _hold_part(self, header: Header) -> Item | None:
        """Wait for the rest of a frame, or let it flow: a large first one with a head that says bulk."""
        if header.length <= self._hold_bytes_max or self._frames:
            self._in.need = header.size + header.length
            return None
        begin = self._in.pos + header.size
        if len(self._in.data) - begin < self._hold_bytes_max:
            self._in.need = header.size + self._hold_bytes_max
            return None
        beginning = self._in.data[begin : begin + ENVELOPE_BYTES_MAX]
        self._arriving = self._bulk.arriving(wire.unmask(beginning, header.mask))
        if self._arriving is None:
            self._in.need = header.size + header.length
            return None
        self._flow_frame(header)
        self._advance(self._arriving.head_bytes)
        return None

    def _hold_fragment(self, header: Header, raw: bytes, payload: bytes) -> Item | None:
        """Add a whole frame to the fragmented message that is held."""
        self._raw.append(raw)
        self._payload.append(payload)
        self._frames += 1
        self._size += header.length
        if header.final:
            return self._assemble()
        if self._size >= self._hold_bytes_max and not self._judged:
            self._release()
        return None

    def _assemble(self) -> Item | None:
        """Judge a fragmented message that has become whole."""
        raw, payload = b"".join(self._raw), b"".join(self._payload)
        self._end_message()
        audio = self._bulk.whole(payload)
        if audio is None:
            return self._message(raw, payload)
        self._out.append(raw)
        self._audio.append(audio)
        return None

    def _release(self) -> None:
        """Let a large fragmented message flow from here on, if its head says bulk. Asked once a message."""
        self._judged = True
        beginning = b"".join(self._payload)
        arriving = self._bulk.arriving(beginning)
        if arriving is None:
            return
        rest = beginning[arriving.head_bytes :]
        heard = arriving.hear(rest)
        if not arriving.tail(rest[heard:]):
            return
        self._out += self._raw
        self._raw, self._payload = [], []
        self._arriving, self._flowing, self.fragmented = arriving, True, True

    def _message(self, raw: bytes, payload: bytes) -> Item:
        """Give out a whole message for the session to decide about."""
        if self.masked and not wire.is_utf8(payload):
            return self._violation(1007, "a text message is not UTF-8")
        return Message(raw, payload)

    # Messages that flow

    def _flow_frame(self, header: Header) -> Item | None:
        """Pass on the header of a frame whose payload passes on as it comes."""
        arriving = self._arriving
        if arriving is not None and header.final and not header.length and not arriving.is_bulk():
            refused = self._unfit()
            if refused is not None:
                return refused
        self._flowing = True
        self._frames += 1
        self._size += header.length
        self.frame_left, self.frame_mask, self.frame_offset = header.length, header.mask, 0
        self.fragmented = not header.final
        self._in.pos += header.size
        self._advance(0)
        return None

    def _flow(self) -> Item | None:
        """Pass on what has come of the frame's payload."""
        here = min(self.frame_left, len(self._in.data) - self._in.pos)
        arriving = self._arriving
        if arriving is None:
            self._advance(here)
            return None
        piece = wire.unmask(
            self._in.data[self._in.pos : self._in.pos + here], self.frame_mask, self.frame_offset
        )
        heard = arriving.hear(piece)
        if not heard:
            return self._flow_tail(arriving, piece)
        self._advance(heard)
        return None

    def _flow_tail(self, arriving: Arriving, piece: bytes) -> Item | None:
        """Pass on what follows the audio, in the message's last frame only once all of it is known."""
        here = len(piece)
        last = not self.fragmented
        if last and here < self.frame_left <= ENVELOPE_BYTES_MAX:
            self._in.need = self.frame_left
            return None
        fits = arriving.tail(piece) and (not last or (here == self.frame_left and arriving.is_bulk()))
        refused = None if fits else self._unfit()
        if refused is None:
            self._advance(here)
        return refused

    def _unfit(self) -> Violation | None:
        """Say what happens to a message that is not the bulk its head promised, after most of it has left."""
        if self.masked:
            return self._violation(1008, "an audio message has unexpected members")
        return None

    def _advance(self, count: int) -> None:
        """Let `count` bytes of the frame's payload go out; end the frame, and the message, where they end."""
        self._in.pos += count
        self.frame_left -= count
        self.frame_offset += count
        if not self.frame_left and not self.fragmented:
            if self._arriving is not None:
                self._audio.append(self._arriving.audio)
            self._end_message()

    # Frames between frames

    def _control(self, header: Header) -> Item | None:
        """Give out a control frame once it is whole."""
        begin = self._in.pos + header.size
        end = begin + header.length
        if end > len(self._in.data):
            self._in.need = header.size + header.length
            return None
        payload = wire.unmask(self._in.data[begin:end], header.mask)
        raw = self._take(end)
        if header.opcode == wire.PING:
            return Ping(raw, payload)
        if header.opcode == wire.PONG:
            return Pong(raw, payload)
        self._over = True
        return wire.read_close(raw, payload)

    # Bytes

    def _take(self, end: int) -> bytes:
        """Return the bytes up to `end`, which do not go out with those before them."""
        self._flush()
        raw = self._in.data[self._in.pos : end]
        self._in.pos = self._run = end
        return raw

    def _flush(self) -> None:
        """Let the bytes from `_run` on go out."""
        if self._run < self._in.pos:
            self._out.append(self._in.since(self._run))
            self._run = self._in.pos

    def _passed(self) -> Pass | None:
        """Return what goes out since the last item, if anything."""
        if not self._out:
            return None
        out, audio = self._out, self._audio
        self._out, self._audio = [], []
        return Pass(out[0] if len(out) == 1 else b"".join(out), tuple(audio))

    def _end_message(self) -> None:
        """Be between messages again."""
        self._flowing, self._arriving, self._judged = False, None, False
        self._frames = self._size = 0
        self._raw, self._payload = [], []

    def _violation(self, code: int, reason: str) -> Violation:
        """End the scan: the peer may not do that."""
        self._over = True
        return Violation(code, reason)

    def _forget(self) -> None:
        """Drop what came after the last item."""
        self._in.clear()
        self._raw, self._payload = [], []


def finish_frame(scanner: Scanner) -> bytes:
    """Return the bytes that end what was handed out in part, so that a frame of our own can follow.

    Spaces, as payload of that frame: they leave broken JSON, which the upstream answers with an error.
    Then, if the message was to be continued, an empty final continuation. Nothing at a boundary.
    """
    rest = b""
    if scanner.frame_left:
        rest = wire.unmask(b" " * scanner.frame_left, scanner.frame_mask, scanner.frame_offset)
    if scanner.fragmented:
        rest += wire.continuation_frame(mask=scanner.masked)
    return rest


__all__ = [
    "CloseFrame",
    "Item",
    "Message",
    "Pass",
    "Ping",
    "Pong",
    "Scanner",
    "Violation",
    "close_frame",
    "finish_frame",
    "pong_frame",
    "text_frame",
]
