"""The two ends of a session: a client, and the upstream that it reaches through a relay.

Both are in this process. So what one end sends is counted and timed at the other without a look at a
byte of it: a relay may change neither the order nor the length of messages.
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import ClassVar, cast

from websockets.utils import accept_key

from tests.bench import traffic

RATE_HZ = 20  # messages a second, either way, of a session that speaks in real time
WRITE_BUFFER_BYTES = 256 * 1024

_HEAD_END = b"\r\n\r\n"


class Way:
    """One direction of a session: what was sent, and what of it has arrived."""

    def __init__(self) -> None:
        self.messages = 0  # that arrived
        self.delays_s: list[float] = []  # of each burst
        self._sent = self._arrived = 0  # bytes
        self._under_way: deque[tuple[int, int, float]] = (
            deque()
        )  # where a burst ends, its messages, when sent

    def put(self, size: int, messages: int) -> None:
        """Note that a burst of `messages`, `size` bytes together, is sent."""
        self._sent += size
        self._under_way.append((self._sent, messages, perf_counter()))

    def take(self, size: int) -> None:
        """Note that `size` bytes arrived."""
        self._arrived += size
        while self._under_way and self._under_way[0][0] <= self._arrived:
            _, messages, sent_at = self._under_way.popleft()
            self.messages += messages
            self.delays_s.append(perf_counter() - sent_at)

    @property
    def is_empty(self) -> bool:
        return self._sent == self._arrived


class End(asyncio.BufferedProtocol):
    """One end of a session: shakes hands, then says what it is told to and counts what arrives."""

    buffer: ClassVar = memoryview(bytearray(256 * 1024))  # of all ends: nobody reads what is in it
    transport: asyncio.Transport
    out: Way
    into: Way

    def __init__(self) -> None:
        self.head = b""
        self.is_open = False
        self.is_lost = False
        self._is_full = False
        self._burst: Callable[[], list[bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self.is_open:
            self.into.take(nbytes)
            return
        self.head += self.buffer[:nbytes]
        head, end, rest = self.head.partition(_HEAD_END)
        if end:
            self.is_open = self.shake_hands(head.decode("latin-1"))
        if rest and self.is_open:
            self.into.take(len(rest))

    def shake_hands(self, head: str) -> bool:
        """Deal with the other side's half of the handshake; return whether the session is open."""
        raise NotImplementedError

    def say(self, frames: list[bytes]) -> None:
        """Send whole messages."""
        data = b"".join(frames)
        self.out.put(len(data), len(frames))
        self.transport.write(data)

    def flood(self, burst: Callable[[], list[bytes]] | None) -> None:
        """Send one `burst` after the other, whenever there is room for it; None: no longer."""
        self._burst = burst
        while self._burst is not None and not self._is_full:
            self.say(self._burst())

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        self.flood(self._burst)


class Client(End):
    """Asks for session `number`."""

    def __init__(self, session: "Session", target: str, host: str, key: str) -> None:
        super().__init__()
        self.out, self.into = session.up, session.down
        self._request = (
            f"GET {target}?model=gpt-realtime-2.1&number={session.number} HTTP/1.1\r\nHost: {host}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {key}\r\n\r\n"
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.write(self._request.encode())

    def shake_hands(self, head: str) -> bool:
        return head.startswith("HTTP/1.1 101")


class Upstream(End):
    """Learns from the request which session it belongs to."""

    def __init__(self, sessions: "dict[int, Session]") -> None:
        super().__init__()
        self._sessions = sessions

    def shake_hands(self, head: str) -> bool:
        number, key = re.search(r"number=(\d+)", head), re.search(r"(?i)sec-websocket-key: *(\S+)", head)
        assert number and key, head
        session = self._sessions[int(number[1])]
        session.upstream = self
        self.out, self.into = session.down, session.up
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %s\r\n\r\n" % accept_key(key[1]).encode()
        )
        self.say([traffic.session_created(session.number)])
        return True


class Session:
    """Both ends of session `number`, and how they talk."""

    upstream: Upstream
    client: Client

    def __init__(self, number: int, deltas: int) -> None:
        self.number = number
        self._deltas = deltas  # of a response
        self.up, self.down = Way(), Way()
        self._responses = traffic.responses(number, deltas)
        self._answer: list[bytes] = []

    @property
    def is_open(self) -> bool:
        return self.down.messages > 0

    @property
    def messages(self) -> int:
        """Return how many arrived, both ways."""
        return self.up.messages + self.down.messages

    def say_one(self) -> None:
        """Send one message either way."""
        self._answer = self._answer or next(self._responses)
        self.client.say([traffic.APPEND])
        self.upstream.say([self._answer.pop(0)])

    async def speak(self, seconds: float, phase: float) -> None:
        """Talk at the pace of speech, `phase` messages later: sessions do not all send at one moment."""
        loop = asyncio.get_running_loop()
        began_at = loop.time() + phase / RATE_HZ
        for turn in range(int(seconds * RATE_HZ)):
            await asyncio.sleep(began_at + turn / RATE_HZ - loop.time())
            self.say_one()

    async def flood(self, seconds: float) -> None:
        """Talk as fast as the relay takes it, in bursts as long as a response."""
        appends = [traffic.APPEND] * self._deltas
        self.client.flood(lambda: appends)
        self.upstream.flood(lambda: next(self._responses))
        await asyncio.sleep(seconds)
        self.client.flood(None)
        self.upstream.flood(None)
