"""A session's two sockets, its two lanes, and how it ends.

| what ended it | the client gets | the upstream gets |
|---|---|---|
| client's close, nothing billed open | the upstream's answer (after 2 s: ours) | that close |
| client's close, something open | our answer | cancel; once settled, a close with its code |
| client lost, or stalled | – | cancel; once settled, close 1001 |
| client broke the protocol | close 1002, 1007, 1008, 1009 | the same |
| client idle | close 1001 | the same |
| the cut, an administrator's stop | error event, close 1008 | the same |
| drain | close 1012 | the same |
| upstream's close | that close | the client's answer (after 2 s: ours) |
| upstream lost | end of stream, no close frame | – |
| upstream broke the protocol | end of stream, no close frame | close 1002, … |

"Once settled": everything billed has reported, or `linger_s` has passed and it was estimated.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from proxy.core.commands import Ask, Close, Journal, Send
from proxy.core.events import BudgetsChanged, Gone, LingerPassed, Side, StopAsked, Tick
from proxy.core.records import Entry, Record
from proxy.core.refusal import Refusal
from proxy.core.session import Session
from proxy.dialects.bulk import recogniser_for
from proxy.dialects.openai_realtime import render
from proxy.observe.listening import Listening
from proxy.relay.clocks import Clocks
from proxy.relay.frames import CloseFrame, Scanner, Violation
from proxy.relay.half import Half
from proxy.relay.lane import Lane
from proxy.relay.reason import Reason

log = logging.getLogger(__name__)

GOING_AWAY = 1001
SERVICE_RESTART = 1012
SAMPLE_SWEEPS = 4  # of as many, one lets the next read of each side be timed
TURNS_MAX = 1_000  # billed things that a live session can show


@dataclass(frozen=True, slots=True)
class TunnelConfig:
    """The limits of a session."""

    message_bytes_max: int
    linger_s: float
    stall_s: float
    idle_timeout_s: float


class Tunnel:
    """One session on its two sockets. Everything happens on the loop, in callbacks; there is no task."""

    def __init__(
        self,
        session: Session,
        client: asyncio.Transport,
        upstream: asyncio.Transport,
        *,
        config: TunnelConfig,
        record: Callable[[Record, Callable[[], None] | None], None],
        ask: Callable[[Ask, Callable[[bool], None]], None],
        clock: Callable[[], datetime],
        watch: Listening,
        on_over: "Callable[[Tunnel], None]",
    ) -> None:
        """`record` keeps a record; `watch` observes; `on_over` hears, once, that the last one is on disk.

        `ask` gets more money into accounts, if there is any, and calls back with whether there was.
        """
        self.session = session
        self.ask = ask
        self.clock = clock
        self.watch = watch
        self.turns: list[Entry] = []
        self.reason: Reason | None = None
        self.is_failed = False
        self.is_watching = False  # something here waits for the session to be settled
        self._config = config
        self._record = record
        self._on_over = on_over
        self._loop = asyncio.get_running_loop()
        said_by_client, said_by_upstream = self._scanner(Side.CLIENT), self._scanner(Side.UPSTREAM)
        self.client = Half(Side.CLIENT, client, said_by_upstream)
        self.upstream = Half(Side.UPSTREAM, upstream, said_by_client)
        self.client.other, self.upstream.other = self.upstream, self.client
        self.client.lane = self.client_lane = Lane(self, said_by_client, self.client, self.upstream)
        self.upstream.lane = self.upstream_lane = Lane(self, said_by_upstream, self.upstream, self.client)
        self._is_client_over = False
        self._is_upstream_over = False
        self._is_over = False
        self._is_leaving = False
        self._client_code: int | None = None  # of the close frame that came from the client …
        self._upstream_code: int | None = None  # … and from the upstream
        self._sweeps = 0
        self._linger_timer: asyncio.TimerHandle | None = None
        self._linger_code: int | None = None
        self._leave_timer: asyncio.TimerHandle | None = None
        self._client_clocks = Clocks(self._loop.time())
        self._upstream_clocks = Clocks(self._loop.time())

    def _scanner(self, side: Side) -> Scanner:
        return Scanner(side, message_bytes_max=self._config.message_bytes_max, bulk=recogniser_for(side))

    def start(self, client_early: bytes, upstream_early: bytes) -> None:
        """Begin, with what either side said before the tunnel was there."""
        self.upstream_lane.do(self.session.open())
        self.client.start(client_early)
        self.upstream.start(upstream_early)

    # What the lanes ask for

    def lane(self, side: Side) -> Lane:
        """Return what `side` says."""
        return self.client_lane if side is Side.CLIENT else self.upstream_lane

    def bar(self) -> None:
        """Let both lanes look again whether something is in their way: something may have come into it."""
        self.client_lane.is_clear = self.upstream_lane.is_clear = False

    def send(self, command: Send) -> None:
        """Send a message of our own."""
        half = self.client if command.to is Side.CLIENT else self.upstream
        half.send(render(command.message))
        self.watch.sent(command.message)

    def record(self, record: Record, durable: Callable[[], None] | None = None) -> None:
        """Keep a record; remember what was billed, to show it."""
        if isinstance(record, Entry) and record.counts and len(self.turns) < TURNS_MAX:
            self.turns.append(record)
        self._record(record, durable)

    def closed(self, lane: Lane, frame: CloseFrame) -> None:
        """A close frame has come."""
        lane.source.peer_closed = True
        if lane is self.client_lane:
            self._client_closed(frame)
        else:
            self._upstream_closed(frame)

    def lost(self, lane: Lane) -> None:
        """A side's stream has ended."""
        if lane is self.client_lane:
            self._client_lost()
        else:
            self._upstream_lost()

    def violated(self, lane: Lane, violation: Violation) -> None:
        """A side broke the protocol, or a limit."""
        if lane.is_deaf:
            lane.source.abort()
        elif lane is self.client_lane:
            self.dismiss(violation.code, violation.reason, Reason.CLIENT_VIOLATION)
        else:
            self._end_upstream(Reason.UPSTREAM_VIOLATION)
            self.upstream.close_with(violation.code, violation.reason)
            self.upstream_lane.then(self._leave_client)

    def cut(self, command: Close) -> None:
        """The session refuses to go on; its error event was sent before this."""
        if command.refusal is not None:
            self.watch.cut(command.refusal)
        self.dismiss(command.code, command.reason, Reason.REFUSED)

    # How the client's side ends

    def dismiss(self, code: int, text: str, reason: Reason) -> None:
        """Close towards the client; the upstream lingers."""
        self.client.close_with(code, text)
        self._end_client(reason)
        self._linger(GOING_AWAY)

    def _client_closed(self, frame: CloseFrame) -> None:
        self._client_code = frame.code
        if self.upstream.peer_closed:  # this is the answer to the upstream's close
            self.upstream.relay_close(frame.raw, frame.code)
            self.client.close()
        elif not self.client.is_open:  # … or to ours, sent or still waiting for its place
            self.client.close()
        elif self.session.is_settled and self.upstream.is_open:
            self.upstream.relay_close(frame.raw, frame.code)
            self._end_client(Reason.CLIENT_CLOSED)
        else:
            self._end_client(Reason.CLIENT_CLOSED)
            self.client.close_with(frame.code)
            self._linger(frame.code)

    def _client_lost(self) -> None:
        self._end_client(Reason.CLIENT_LOST)
        self.client.abort()
        if self.upstream.peer_closed:  # it waits for an answer that the client owes
            self.upstream.close_with(self._upstream_code)
        else:
            self._linger(GOING_AWAY)

    def _end_client(self, reason: Reason) -> None:
        """The client says nothing any more that counts."""
        if self._is_client_over:
            return
        self._is_client_over = True
        self.reason = self.reason or reason
        self.client_lane.deafen()
        self.upstream.end_feeder()
        self.client_lane.receive(Gone(reason))

    # How the upstream's side ends

    def _upstream_closed(self, frame: CloseFrame) -> None:
        self._upstream_code = frame.code
        self._end_upstream(Reason.UPSTREAM_CLOSED)
        self.upstream_lane.then(partial(self._pass_close, frame))

    def _pass_close(self, frame: CloseFrame) -> None:
        """Relay the upstream's close; answer it where no client will."""
        self.client.relay_close(frame.raw, frame.code)
        if self.upstream.is_shut:
            self.upstream.close()
        elif self._is_client_over:
            self.upstream.close_with(frame.code)

    def _upstream_lost(self) -> None:
        self._end_upstream(Reason.UPSTREAM_LOST)
        self.upstream.close()
        self.upstream_lane.then(self._leave_client)

    def _leave_client(self) -> None:
        """The upstream is gone: answer the client's close in its place, or end without one."""
        if self.client.is_shut:
            return
        if self.client.peer_closed:
            self.client.close_with(self._client_code)
        else:
            self.client.close()

    def _end_upstream(self, reason: Reason) -> None:
        """The upstream says nothing any more that counts."""
        if self._is_upstream_over:
            return
        self._is_upstream_over = True
        self.reason = self.reason or reason
        self._cancel_timers()
        self.upstream_lane.deafen()
        self.client_lane.deafen()
        self.upstream.end_feeder()
        self.upstream_lane.receive(Gone(reason))

    # Lingering: the client is gone, the upstream still owes bills

    def _linger(self, code: int | None) -> None:
        if self._linger_timer is not None or not self.upstream.is_open or self._is_upstream_over:
            return
        self._linger_code = code
        self._linger_timer = self._loop.call_later(self._config.linger_s, self._linger_passed)
        self._start_watching()

    def _start_watching(self) -> None:
        self.is_watching = True
        self.bar()
        self.settle()

    def settle(self) -> None:
        """Do what waits for the session to be settled, if it is."""
        if not self.session.is_settled or self.upstream_lane.is_waiting:
            return
        if self._linger_timer is not None:
            self._close_upstream()
        elif self._is_leaving:
            self._leave_now()

    def _linger_passed(self) -> None:
        self.upstream_lane.receive(LingerPassed())
        self.upstream_lane.then(self._close_upstream)

    def _close_upstream(self) -> None:
        self._cancel_timers()
        if not self._is_upstream_over:
            self.upstream_lane.deafen()
            self.upstream.close_with(self._linger_code)

    def _cancel_timers(self) -> None:
        self.is_watching = False
        for timer in (self._linger_timer, self._leave_timer):
            if timer is not None:
                timer.cancel()
        self._linger_timer = self._leave_timer = None

    # What the gateway asks for

    def sweep(self, now_s: float) -> None:
        """Look after the session; called about once a second, with the loop's time."""
        if self.client.is_open:
            self._check_client(now_s)
        if not self.upstream.is_shut:
            self._check_upstream(now_s)
        if self.session.wants_ticks and not self.upstream_lane.is_waiting:
            self.upstream_lane.receive(Tick())
        if self.is_watching:
            self.settle()
        if self._sweeps % SAMPLE_SWEEPS == 0:
            self._sample()
        self._sweeps += 1

    def _sample(self) -> None:
        """Let the next read of each side be timed."""
        self.client_lane.sample()
        self.upstream_lane.sample()

    def _check_upstream(self, now_s: float) -> None:
        if self._upstream_clocks.stalled_s(self.upstream, now_s) >= self._config.idle_timeout_s:
            self._end_upstream(Reason.UPSTREAM_STALLED)
            self.upstream.abort()

    def _check_client(self, now_s: float) -> None:
        config = self._config
        if self._client_clocks.stalled_s(self.client, now_s) >= config.stall_s:
            self._end_client(Reason.CLIENT_STALLED)
            self.client.abort()
            self._linger(GOING_AWAY)
        elif self._client_clocks.silent_s(self.client, now_s) >= config.idle_timeout_s:
            text = f"nothing was heard for {config.idle_timeout_s:g} s"
            self.dismiss(GOING_AWAY, text, Reason.CLIENT_IDLE)

    def stop(self, refusal: Refusal, reason: Reason) -> None:
        """End the session now, telling the client why."""
        if not self._is_client_over:
            self.reason = self.reason or reason
            self.upstream_lane.receive(StopAsked(refusal))
            for lane in (self.client_lane, self.upstream_lane):
                lane.give_up_asking()

    def budgets_changed(self) -> None:
        """Look at what runs: other budgets enclose the session, or they have other amounts."""
        if not self._is_upstream_over:
            self.upstream_lane.receive(BudgetsChanged())

    def leave(self, grace_s: float) -> None:
        """End the session for a restart, once what runs has finished or `grace_s` have passed."""
        if self._is_leaving or self._is_client_over:
            return
        self._is_leaving = True
        self._leave_timer = self._loop.call_later(grace_s, self._leave_now)
        self._start_watching()

    def _leave_now(self) -> None:
        if self._leave_timer is not None:
            self._leave_timer.cancel()
            self._leave_timer = None
        self._is_leaving = False
        self.dismiss(SERVICE_RESTART, "restarting, connect again", Reason.DRAINED)

    def abort(self) -> None:
        """Drop both sockets at once: this process can promise nothing any more."""
        self.reason = self.reason or Reason.ABORTED
        self.client.abort()
        self.upstream.abort()

    # The end

    def fail(self) -> None:
        """End the session because of the exception that is being handled: a bug of ours."""
        facts = self.session.facts
        log.exception("session failed", extra={"session": facts.session_id})
        if not self.is_failed:
            self.is_failed = True
            self.bar()
            for record in (*self.client_lane.salvage(), *self.upstream_lane.salvage()):
                self.record(record)
        self.reason = self.reason or Reason.FAILED
        self.abort()
        self.check_over()

    def check_over(self) -> None:
        """End the session when both sockets are gone and everything they said is dealt with."""
        lanes = (self.client_lane, self.upstream_lane)
        is_done = self.is_failed or all(lane.is_over and not lane.is_waiting for lane in lanes)
        if self._is_over or not (is_done and self.client.is_lost and self.upstream.is_lost):
            return
        self._is_over = True
        self._cancel_timers()
        code, reason = self.client.closed_with, self.reason or Reason.ABORTED
        commands = self.session.close(self.clock(), code, reason)
        records = [command.record for command in commands if isinstance(command, Journal)]
        for record in records[:-1]:
            self.record(record)
        self.record(records[-1], partial(self._on_over, self))
