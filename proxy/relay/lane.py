"""One direction of a session: what a side says is scanned, decided about, and carried out in order.

The session decides (`core/session.py`); this obeys. At a `Journal` command that waits, the lane
stops: what it handed on before has gone out, what comes later queues behind, the end of the stream
included, until the record is on disk.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from proxy.core.commands import Ask, Close, Command, Drop, Forward, Journal, Send
from proxy.core.events import CostLook, Event, Side, Unreadable
from proxy.core.records import Record
from proxy.core.voice import TELLING
from proxy.dialects.openai_realtime import parse
from proxy.relay.express import lone_audio
from proxy.relay.frames import CloseFrame, Item, Message, Pass, Ping, Pong, Scanner, Violation
from proxy.relay.half import Half, Hold

if TYPE_CHECKING:
    from proxy.relay.tunnel import Tunnel

WAITING_BYTES_MAX = 256 * 1024  # kept from one side while a record is on its way to the disk


class _Later(NamedTuple):
    """A command that waits for the disk, and the message it is about."""

    command: Command
    raw: bytes


class Lane:
    """What `source` says, on its way to `target`."""

    __slots__ = (
        "_at_end",
        "_backlog",
        "_ear",
        "_hear",
        "_is_waiting",
        "_length_max",
        "_long_bytes",
        "_masked",
        "_open_ask",
        "_told",
        "_write",
        "is_clear",
        "is_deaf",
        "is_over",
        "is_sampled",
        "message_count",
        "scanner",
        "short_bytes",
        "side",
        "source",
        "target",
        "tunnel",
    )

    def __init__(self, tunnel: "Tunnel", scanner: Scanner, source: Half, target: Half) -> None:
        self.tunnel = tunnel
        self.scanner = scanner
        self.side = source.side
        self.source = source
        self.target = target
        self.is_deaf = False  # nothing counts any more but a close frame
        self.is_over = False  # the end of the stream was reached, and everything before it is done
        self.is_clear = False  # audio may take the short way: `looks_clear` said so, and nobody barred it
        self.is_sampled = False  # the next read is timed
        self.message_count = 0
        self.short_bytes = 0  # that took the short way …
        self._long_bytes = 0  # … and the others that came
        self._told = (0, 0)  # messages and bytes that somebody was told of
        self._at_end = False
        self._is_waiting = False
        self._open_ask: tuple[Ask, bytes] | None = None  # more money is asked for, about this message
        self._backlog: deque[_Later | Callable[[], None]] = deque()
        # What the short way needs, within one step: every object on the way costs it.
        self._ear = scanner.ear
        self._masked = scanner.masked
        self._length_max = scanner.usual_bytes_max
        self._write = target.transport.write
        self._hear = tunnel.session.hear

    @property
    def is_waiting(self) -> bool:
        """Tell whether something is on its way to the disk, or behind that."""
        return self._is_waiting or bool(self._backlog)

    @property
    def byte_count(self) -> int:
        """Return how many bytes the source has sent."""
        return self.short_bytes + self._long_bytes

    def untold(self) -> tuple[int, int]:
        """Return how many messages, and bytes, have come since this was last asked."""
        messages, byte_count = self._told
        self._told = self.message_count, self.byte_count
        return self.message_count - messages, self.byte_count - byte_count

    # The short way: what nearly every message takes

    def takes_short_way(self, data: bytes) -> bool:
        """Relay `data` and account for it if it is one audio message, while the way `is_clear`.

        If it is anything else, return False: `feed` it. This does what `feed` would do, and no more.
        """
        try:
            chars = lone_audio(data, self._masked, self._length_max, self._ear)
            if chars < 0:
                return False
            write, hear = self._write, self._hear
            write(data)
            self.short_bytes += len(data)
            self.message_count += 1
            if hear(self.side, chars, self._ear.response_id):
                self._look(self._ear.response_id)
                self.pump()
        except Exception:  # noqa: BLE001  it is logged, and both connections are dropped
            self.tunnel.fail()
        return True

    def looks_clear(self) -> bool:
        """Look whether nothing is in the way of an audio message: nothing waits before it, all is as usual.

        `pump` looks when it is done. Whoever puts something in the way later has to call `Tunnel.bar`; doing
        that too often costs a message the long way, at whose end this is looked at again.
        """
        if self.is_waiting or self.is_deaf or not self.scanner.is_between or not self.target.takes_as_is:
            return False
        if self.is_sampled:
            return False
        return not (self.source.is_choked or self.tunnel.is_watching or self.tunnel.is_failed)

    # The long way

    def feed(self, data: bytes) -> None:
        """Take bytes that the source sent."""
        if self.is_sampled:
            self._time(data)
            return
        self._long_bytes += len(data)
        self.pump(data)
        if self._is_waiting and self.scanner.buffered > WAITING_BYTES_MAX:
            self.source.hold(Hold.JOURNAL)

    def sample(self) -> None:
        """Let the next read be timed. It comes by `feed`, so that others need not ask whether they are."""
        self.is_sampled, self.is_clear = True, False

    def _time(self, data: bytes) -> None:
        """Take bytes as ever, short way or long, and tell how long it is until they are written on."""
        self.is_sampled = False
        self.is_clear = self.looks_clear()
        told = partial(self._tell, time.perf_counter())
        if not (self.is_clear and self.takes_short_way(data)):
            self.feed(data)
        self.then(told)

    def _tell(self, began_s: float) -> None:
        if not self.is_deaf:
            self.tunnel.watch.relayed(self.side, time.perf_counter() - began_s)

    def end(self) -> None:
        """Note the end of the source's stream; it comes after everything that was received."""
        self._at_end = True
        self.pump()
        self.tunnel.check_over()

    def deafen(self) -> None:
        """Discard what the source says from now on, but for its close frame; do not let it wait."""
        self.is_deaf = True
        self.tunnel.bar()
        self.source.release(Hold.PEER_FULL)

    def pump(self, data: bytes = b"") -> None:
        """Take `data`, go on as far as possible. A bug met on the way ends this session, and no other."""
        if self.tunnel.is_failed:
            return
        try:
            if not data or self.scanner.feed(data):
                self._pump()
            self.is_clear = self.looks_clear()
        except Exception:  # noqa: BLE001  it is logged, and both connections are dropped
            self.tunnel.fail()

    def _pump(self) -> None:
        source, scanner = self.source, self.scanner
        while self._backlog and not self._is_waiting:
            later = self._backlog.popleft()
            if isinstance(later, _Later):
                self._perform(*later)
            else:
                later()
        if not self._is_waiting:
            source.release(Hold.JOURNAL)
        while not (self._is_waiting or source.is_choked):
            item = scanner.next()
            if item is None:
                if self._at_end and not self.is_over:
                    self.is_over = True
                    self.tunnel.lost(self)
                break
            self._take(item)
            if self.target.has_queued:
                self.target.flush()
        if self.tunnel.is_watching:
            self.tunnel.settle()

    def receive(self, event: Event) -> None:
        """Let the session answer something that is no message."""
        self._listen(event)
        self.do(self.tunnel.session.receive(self.side, event, self.now()))

    def do(self, commands: Iterable[Command], raw: bytes = b"") -> None:
        """Perform `commands` in order, behind what waits; `raw` is the message they are about."""
        for command in commands:
            if self.is_waiting:
                self._backlog.append(_Later(command, raw))
            else:
                self._perform(command, raw)

    def then(self, step: Callable[[], None]) -> None:
        """Do `step` behind what waits."""
        if self.is_waiting:
            self._backlog.append(step)
        else:
            step()

    def salvage(self) -> Iterator[Record]:
        """Yield the records that waited for their turn: a bug must not cost a bill."""
        for later in self._backlog:
            if isinstance(later, _Later) and isinstance(later.command, Journal):
                yield later.command.record

    def now(self) -> datetime:
        return self.tunnel.clock()

    # Items

    def _take(self, item: Item) -> None:
        kind = type(item)
        if kind is CloseFrame or kind is Violation:
            self.then(partial(self._end_early, item))
        elif not self.is_deaf:
            _TAKE[kind](self, item)

    def _pass(self, item: Pass) -> None:
        """Relay bytes whoever listens; account for the audio in them."""
        self.target.relay(item.data)
        if not item.audio:
            return
        self.message_count += len(item.audio)
        heard: dict[str | None, int] = {}
        for audio in item.audio:
            heard[audio.response_id] = heard.get(audio.response_id, 0) + audio.chars
        due = [
            response_id for response_id, chars in heard.items() if self._hear(self.side, chars, response_id)
        ]
        for response_id in due:
            self._look(response_id)

    def _look(self, response_id: str | None) -> None:
        """Look at a response whose audio was heard: what it costs now, and whether that was the first."""
        voice = self.tunnel.session.voice
        self.tunnel.watch.observed(voice.heard(response_id, time.monotonic()))
        self.receive(CostLook(response_id))

    def _listen(self, event: Event) -> None:
        """Observe what an event says about the voice, before the session receives it."""
        if type(event) in TELLING:
            voice = self.tunnel.session.voice
            self.tunnel.watch.observed(voice.see(self.side, event, time.monotonic()))

    def _message(self, item: Message) -> None:
        self.message_count += 1
        event = parse(self.side, item.payload)
        if type(event) is Unreadable and self.side is Side.UPSTREAM:
            self.tunnel.watch.unread(event.problem)
        self._listen(event)
        self.do(self.tunnel.session.receive(self.side, event, self.now()), item.raw)

    def _ping(self, item: Ping) -> None:
        if self.target.is_shut:
            self.source.pong(item.payload)
        else:
            self.target.relay(item.raw)

    def _pong(self, item: Pong) -> None:
        self.target.relay(item.raw)

    def _end_early(self, item: Item) -> None:
        if isinstance(item, CloseFrame):
            self.tunnel.closed(self, item)
        elif isinstance(item, Violation):
            self.tunnel.violated(self, item)

    # Commands

    def _perform(self, command: Command, raw: bytes) -> None:
        if isinstance(command, Forward):
            self.target.relay(raw)
        elif isinstance(command, Journal):
            self._journal(command.record, command.wait)
        elif isinstance(command, Send):
            self.tunnel.send(command)
        elif isinstance(command, Close):
            self.tunnel.cut(command)
        elif isinstance(command, Ask):
            self._ask(command, raw)
        else:
            assert isinstance(command, Drop)

    def _journal(self, record: Record, wait: bool) -> None:
        if not wait:
            self.tunnel.record(record)
            return
        self._is_waiting = True
        self.tunnel.bar()
        self.tunnel.record(record, self._durable)

    def _ask(self, ask: Ask, raw: bytes) -> None:
        self._is_waiting = True
        self.tunnel.bar()
        self._open_ask = ask, raw
        self.tunnel.ask(ask, partial(self._answered, ask, raw))

    def give_up_asking(self) -> None:
        """Take the answer for a no: the session ends, and does not wait for anything."""
        if self._open_ask is not None:
            self._answered(*self._open_ask, False)

    def _answered(self, ask: Ask, raw: bytes, granted: bool) -> None:
        """The accounts hold what there was: decide again, before anything that came later."""
        if self._open_ask is None or self._open_ask[0] is not ask:
            return  # it was given up
        self._open_ask = None
        self._is_waiting = False
        if not self.tunnel.is_failed:
            try:
                receive = self.tunnel.session.receive
                commands = receive(self.side, ask.again, self.now(), is_refused=not granted)
                self._backlog.extendleft(_Later(command, raw) for command in reversed(commands))
            except Exception:  # noqa: BLE001  it is logged, and both connections are dropped
                self.tunnel.fail()
        self.pump()
        self.tunnel.check_over()

    def _durable(self) -> None:
        """The record is on disk: go on with what waited for it."""
        self._is_waiting = False
        self.pump()
        self.tunnel.check_over()


_TAKE: dict[type, Callable[..., None]] = {
    Pass: Lane._pass,
    Message: Lane._message,
    Ping: Lane._ping,
    Pong: Lane._pong,
}
