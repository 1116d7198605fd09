"""One socket of a session: flow control, and our own frames between the ones that are relayed.

What the other side says is written to it as it comes. Frames of our own have to wait for a place:

| own frame | may stand | when there is no such place in time |
|---|---|---|
| to the client: an `error` | between messages | after 10 s: abort; until then it is not read |
| to the client: a close, an `error` before it | between frames, messages | after 1 s: abort |
| to the upstream: a cancel, a pong, a close | the same | after 1 s: finish the half-sent frame |

What the client left half-sent when it went is finished at once.

There is no queue here but the transport's own buffer: while that is over its mark, the other side is
not read.
"""

import asyncio
import socket
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.core.events import Side
from proxy.relay.frames import Scanner, close_frame, finish_frame, pong_frame, text_frame

if TYPE_CHECKING:
    from proxy.relay.lane import Lane

BOUNDARY_S = 1.0
ANSWER_S = 10.0
CLOSE_S = 2.0  # for the answer to a close, and for a closed socket to be gone
WRITE_BUFFER_BYTES = 64 * 1024
NO_CODE = 1005  # what a peer sees when a close frame has no code

# Seconds of silence before a probe, seconds between probes, probes; where the system lets us say it.
KEEP_ALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))


class Hold:
    """Why a side is not read for the moment: bits. Plain integers, since each message looks at them."""

    PEER_FULL: Final = 1  # the other side takes no more
    JOURNAL: Final = 2  # much has come while a record is on its way to the disk
    OWN_FULL: Final = 4  # our answers to it pile up


class State(Enum):
    """How far it may be written to."""

    OPEN = "open"
    CLOSING = "closing"  # our close waits for its place; what is relayed still goes out before it
    SHUT = "shut"  # a close frame was written, or the socket is closed: nothing goes out


class _Own(NamedTuple):
    """A frame of ours that waits for its place."""

    frame: bytes
    is_message: bool


class Half(asyncio.Protocol):
    """One side's socket. Its lane gets what it says; `feeder` scans what the other side says to it."""

    __slots__ = (
        "_boundary_timer",
        "_end_timer",
        "_feeder",
        "_feeder_is_over",
        "_forced",
        "_holds",
        "_loop",
        "_outbox",
        "_own_code",
        "_sent",
        "_swallow",
        "closed_with",
        "is_choked",
        "is_full",
        "is_lost",
        "lane",
        "other",
        "peer_closed",
        "side",
        "state",
        "transport",
    )

    lane: "Lane"  # what it says goes there
    other: "Half"

    def __init__(self, side: Side, transport: asyncio.Transport, feeder: Scanner) -> None:
        self.side = side
        self.transport = transport
        self.state = State.OPEN
        self.closed_with: int | None = None  # the code of the close frame that was written to it
        self.peer_closed = False  # its own close frame has come
        self.is_lost = False
        self.is_full = False  # its transport's buffer is over the mark
        self.is_choked = False  # what we have to say to it waits: it is not listened to either
        self._feeder_is_over = False  # the other side completes nothing any more
        self._sent = 0  # bytes, but for those that took the short way
        self._feeder = feeder
        self._forced = False  # we finished a half-sent frame: here is a boundary
        self._swallow = 0  # bytes of that frame that the other side still sends
        self._outbox: list[_Own] = []
        self._holds = 0
        self._own_code = NO_CODE
        self._loop = asyncio.get_running_loop()
        self._boundary_timer: asyncio.TimerHandle | None = None
        self._end_timer: asyncio.TimerHandle | None = None

    def start(self, early: bytes) -> None:
        """Take the transport; begin with the bytes that came before it was ours."""
        self.transport.set_protocol(self)
        self.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        keep_alive(self.transport)
        if early:
            self.data_received(early)
        if not self._holds and not self.transport.is_closing():
            self.transport.resume_reading()

    # What the transport says

    def data_received(self, data: bytes) -> None:
        """Hand `data` on: an audio message the short way if that is clear, else let it be scanned."""
        lane = self.lane
        if not (lane.is_clear and lane.takes_short_way(data)):
            lane.feed(data)

    def eof_received(self) -> bool:
        """Treat the end of the stream as the loss of the connection: WebSocket knows no half-close.

        After its close frame a peer may stop sending and still wait for the answer.
        """
        if self.peer_closed and self.transport.get_extra_info("sslcontext") is None:
            return True
        self.lane.end()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything that waits for this socket."""
        if self.is_lost:
            return
        self.is_lost = True
        self._shut()
        self._cancel(self._end_timer)
        self.lane.end()

    def pause_writing(self) -> None:
        """Stop reading the other side: this one takes no more."""
        self.is_full = True
        if not self.other.lane.is_deaf:
            self.other.hold(Hold.PEER_FULL)

    def resume_writing(self) -> None:
        """Read the other side again."""
        self.is_full = False
        self.other.release(Hold.PEER_FULL)
        self._unchoke()

    # Reading

    def hold(self, why: int) -> None:
        """Stop reading, until every reason is gone."""
        if not self._holds and not self.transport.is_closing():
            self.transport.pause_reading()
        self._holds |= why

    def release(self, why: int) -> None:
        """Take back one reason not to read."""
        if not self._holds & why:
            return
        self._holds &= ~why
        if not self._holds and not self.transport.is_closing():
            self.transport.resume_reading()

    @property
    def is_held(self) -> bool:
        """Tell whether it is not being read: then its silence is not its fault."""
        return bool(self._holds)

    @property
    def bytes_heard(self) -> int:
        """Return how much it has said."""
        return self.lane.byte_count

    @property
    def bytes_sent(self) -> int:
        """Return how much was written to it."""
        return self._sent + self.other.lane.short_bytes

    @property
    def bytes_taken(self) -> int:
        """Return how much of what was written has left our buffer."""
        return self.bytes_sent - self.transport.get_write_buffer_size()

    # Writing

    @property
    def is_open(self) -> bool:
        return self.state is State.OPEN

    @property
    def is_shut(self) -> bool:
        return self.state is State.SHUT

    @property
    def takes_as_is(self) -> bool:
        """Tell whether what the other side says is written as it comes, and nothing of ours waits for it."""
        return not (self._outbox or self._swallow or self.state is State.SHUT)

    def relay(self, data: bytes | memoryview) -> None:
        """Write what the other side said, unless this side was closed."""
        if self.state is State.SHUT:
            return
        if self._swallow:
            data = self._without_finished(data)
        self._write(data)

    def send(self, text: str) -> None:
        """Send a message of our own, once it may stand here."""
        if self.state is State.OPEN:
            self._queue(_Own(text_frame(text, mask=self._masks), is_message=True))

    def pong(self, payload: bytes) -> None:
        """Answer a ping in the other side's place. Under pressure it goes without."""
        if self.state is State.OPEN and not self.is_full and not self._outbox:
            self._queue(_Own(pong_frame(payload, mask=self._masks), is_message=False))

    def close_with(self, code: int | None, reason: str = "") -> None:
        """Send a close frame of our own after all that is queued, and see that the socket ends."""
        if self.state is State.OPEN:
            self.state = State.CLOSING
            self._own_code = code or NO_CODE
            self._queue(_Own(close_frame(code, reason, mask=self._masks), is_message=False))

    def relay_close(self, raw: bytes, code: int | None) -> None:
        """Relay the other side's close frame, and see that the socket ends."""
        if self.state is not State.SHUT:
            self.closed_with = code or NO_CODE
            self._write(raw)
            self._wait_for_end()

    def close(self) -> None:
        """Close the socket once what was written has left; at the latest after `CLOSE_S`."""
        self._shut()
        if self.is_lost:
            return
        self._abort_later()
        if self.transport.is_closing():  # asyncio: with TLS, a second close() disarms abort()
            return
        try:
            self.transport.close()
        except RuntimeError:  # uvloop: a reset has torn TLS down, and we have not been told yet
            self.transport.abort()

    def abort(self) -> None:
        """Close the socket at once, whatever is still to be written."""
        self._shut()
        self.transport.abort()

    def end_feeder(self) -> None:
        """Note that the other side completes nothing any more: finish what it left half-sent upstream."""
        self._feeder_is_over = True
        if self.side is Side.UPSTREAM and self.state is not State.SHUT:
            self._finish_frame()
            self.flush()

    def flush(self) -> None:
        """Send the own frames that may stand here. The lane calls it after everything it relays."""
        while self._outbox and self._may_send(self._outbox[0]):
            self._write(self._outbox.pop(0).frame)
        if self._outbox:
            return
        self._cancel(self._boundary_timer)
        self._boundary_timer = None
        self._unchoke()
        if self.state is State.CLOSING:
            self.closed_with = self._own_code
            self._wait_for_end()

    @property
    def has_queued(self) -> bool:
        return bool(self._outbox)

    @property
    def _masks(self) -> bool:
        return self.side is Side.UPSTREAM

    def _write(self, data: bytes | memoryview) -> None:
        if data:
            self._sent += len(data)
            self.transport.write(data)

    def _queue(self, own: _Own) -> None:
        self.lane.tunnel.bar()
        self._outbox.append(own)
        self.flush()
        if self._outbox:
            self._wait_for_boundary()
        if self.side is Side.CLIENT and self.state is State.OPEN and (self._outbox or self.is_full):
            self.is_choked = True
            self.hold(Hold.OWN_FULL)

    def _wait_for_boundary(self) -> None:
        is_patient = self.side is Side.CLIENT and self.state is State.OPEN
        if self._boundary_timer is not None and self.state is State.OPEN:
            return  # the first that waits says how long
        self._cancel(self._boundary_timer)
        wait_s = ANSWER_S if is_patient else BOUNDARY_S
        self._boundary_timer = self._loop.call_later(wait_s, self._miss_boundary)

    def _may_send(self, own: _Own) -> bool:
        inside = self._feeder.in_message if own.is_message else self._feeder.in_frame
        return self._forced or not inside

    def _miss_boundary(self) -> None:
        """There was no place for our frame in time: make one upstream; a client is not worth it."""
        self._boundary_timer = None
        if self.side is Side.CLIENT:
            self.abort()
            return
        self._finish_frame()
        self.flush()

    def _finish_frame(self) -> None:
        """End the frame, and the message, that stand half-sent. What still comes of them is dropped."""
        self.lane.tunnel.bar()
        feeder = self._feeder
        if not self._forced:
            self._write(finish_frame(feeder))
        self._forced = True
        if self._feeder_is_over:
            return
        self._swallow = feeder.frame_left
        if feeder.fragmented:  # frames that nobody can count are to come
            self.other.abort()

    def _without_finished(self, data: bytes | memoryview) -> bytes | memoryview:
        dropped = min(self._swallow, len(data))
        self._swallow -= dropped
        self._forced = self._swallow > 0
        return data[dropped:]

    def _unchoke(self) -> None:
        if self.is_choked and (self.state is State.SHUT or not (self.is_full or self._outbox)):
            self.is_choked = False
            self.release(Hold.OWN_FULL)
            self._loop.call_soon(self.lane.pump)

    def _wait_for_end(self) -> None:
        """A close frame went out: the peer answers and goes, or is gone after `CLOSE_S`."""
        self._shut()
        if self.peer_closed:
            self.close()
        else:
            self._abort_later()

    def _abort_later(self) -> None:
        self._cancel(self._end_timer)
        self._end_timer = self._loop.call_later(CLOSE_S, self.transport.abort)

    def _shut(self) -> None:
        """Write nothing any more: neither side waits for the other because of this one."""
        self.lane.tunnel.bar()
        self.state = State.SHUT
        self._outbox.clear()
        self._cancel(self._boundary_timer)
        self._boundary_timer = None
        self._unchoke()
        self.other.release(Hold.PEER_FULL)

    def _cancel(self, timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()


def keep_alive(transport: asyncio.Transport) -> None:
    """Let the system notice, in two minutes, a peer that is gone without a word."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEP_ALIVE:
        if option := getattr(socket, name, None):
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
