"""One metered conversation: events in, commands out.

What decides about a message lives here and nowhere else, and this file knows no socket, clock or
database. The life of a response:

| state        | event                                          | next      | commands                       |
|--------------|------------------------------------------------|-----------|--------------------------------|
| –            | client asks (`response.create`), hold granted  | asked     | Forward                        |
| –            | client asks, refused, policy `block`           | –         | Drop, Send(client, error)      |
| –            | client asks, refused, policy `cut`             | –         | Drop, the cut                  |
| asked / –    | upstream starts one, hold granted              | running   | Journal(open), Forward         |
| –            | upstream starts one (server VAD), refused, cut | doomed    | Journal(open), cancel, the cut |
| –            | … refused, `block`                             | doomed    | Journal(open), cancel, Forward |
|              |                                                |           | and the cut after the last one |
| running      | the estimate nears the hold, more granted      | running   | –                              |
| running      | … nothing more, and the estimate reaches it    | doomed    | cancel, the cut                |
| any, or –    | `response.done`, any status                    | settled   | Journal(usage), Forward        |
| running,     | upstream gone                                  | estimated | Journal(estimate)              |
| doomed       |                                                |           |                                |
| running, or  | client gone                                    | lingering | cancel; wait ≤ `LINGER_S`      |
| transcribing |                                                |           |                                |
| lingering    | upstream starts one                            | lingering | Journal(open), cancel          |
| –            | client asks beyond a limit (`core/limits.py`)  | –         | Drop, the cut                  |
| asked / –    | upstream starts one beyond a limit             | doomed    | Journal(open), the cut         |
| any          | a limit is reached, a model is not allowed     | same      | as without it, then the cut    |
| asked        | upstream refuses it, or 10 s pass              | void      | Forward                        |
| any          | upstream `error` naming one of our event ids   | same      | Drop                           |
| any          | transcription finished                         | –         | Journal(usage), Forward        |
| open at a    | replay at the next start (`store/replay.py`)   | estimated | Journal(estimate)              |
| crash        |                                                |           |                                |

*The cut*: cancel what runs, the error event and close 1008 to the client at once; the upstream
lingers to be settled. The gate that counts is the upstream's `response.created`: turn detection
starts responses that nobody asked for, and a client can disguise its wish. The gate at the client
only saves money earlier.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from proxy.core import estimate, events, refusal
from proxy.core.allowance import Account, Allowance, Policy
from proxy.core.asked import Asked, AskedQueue
from proxy.core.commands import Cancel, Close, Command, Drop, Explain, Forward, Journal, Send
from proxy.core.conversation import Conversation, Input, Settings
from proxy.core.events import Event, Side
from proxy.core.limits import LimitWatch
from proxy.core.opened import Opened
from proxy.core.rating import CardBook
from proxy.core.records import Entry, Kind, SessionClosed, SessionOpened
from proxy.core.refusal import CLOSE_POLICY, Refusal
from proxy.core.subjects import Booker, Response, State, Transcription, disputed, first_hold_nanousd
from proxy.core.usage import Flag, Meter, measure

OUR_EVENT_IDS = "tm_"

_CLIENT = Side.CLIENT  # an attribute of an enum takes long to find, and this is wanted for every message
_FORWARD: tuple[Command, ...] = (Forward(),)
_DROP: tuple[Command, ...] = (Drop(),)
_NOTHING: tuple[Command, ...] = ()


class Session:
    """Meters one conversation and guards its allowance. `receive` never raises on what a peer sends."""

    def __init__(self, facts: SessionOpened, cards: CardBook, allowance: Allowance) -> None:
        self.facts = facts
        self.cost_nanousd = 0
        self.responses = 0
        self.unrated = 0
        self.settings = Settings(facts.model)
        self.limits = LimitWatch(facts.opened_at)  # none, until somebody sets them
        self._allowance = allowance
        self._booker = Booker(facts, cards)
        self._conversation = Conversation()
        self._asked = AskedQueue()
        self._opened = Opened()
        self._client_gone = False
        self._closing: Refusal | None = None  # said to the client: nothing more is forwarded to it
        self._blocked: Refusal | None = None  # will be said once what runs has ended
        self._serial = 0

    # What the tunnel asks

    @property
    def upstream_session_id(self) -> str | None:
        return self._booker.upstream_session_id

    @property
    def is_settled(self) -> bool:
        """Say whether nothing billed is open or about to open: the upstream may be closed."""
        return not (self._opened or self._asked)

    @property
    def wants_ticks(self) -> bool:
        """Say whether the time that passes can matter to it."""
        return not self.is_settled or self.limits.limits.is_timed

    def open(self) -> Sequence[Command]:
        """Return what to do first. Entries wait for the disk, and this record stands before them."""
        return (Journal(self.facts, wait=False),)

    def close(self, now: datetime, close_code: int | None, reason: str) -> Sequence[Command]:
        """Return what to do last: `close_code` is what the client saw, `reason` one of a fixed set."""
        ending = self._estimate_open(Flag.ESTIMATE_UPSTREAM_LOST, now)
        closed = SessionClosed(
            session_id=self.facts.session_id, closed_at=now, close_code=close_code, reason=reason
        )
        return (*ending, Journal(closed, wait=False))

    def receive(self, side: Side, event: Event, now: datetime) -> Sequence[Command]:
        """Return what to do about `event`; for a message, Forward or Drop is among it."""
        deaf = self._client_gone or self._closing is not None
        handler = _HANDLERS.get(type(event))
        commands = handler(self, side, event, now) if handler else _FORWARD
        if deaf and side is Side.UPSTREAM:
            return [Drop() if isinstance(command, Forward) else command for command in commands]
        over = None if deaf else self.limits.after(event, self.cost_nanousd, self._opened, now)
        return commands if over is None or self._closing else (*commands, *self._cut(over))

    def hear(self, side: Side, chars: int, response_id: str | None) -> Sequence[Command]:
        """Note that bulk audio passed, `chars` base64 characters of it; mostly returns nothing."""
        if side is _CLIENT:
            self._conversation.user_audio.chars += chars
            return _NOTHING
        response = self._opened.find(response_id)
        if response is None:
            return _NOTHING
        response.audio_chars += chars
        return _NOTHING if response.audio_chars < response.look_at_chars else self._watch(response)

    # Settings and input

    def _update_asked(self, side: Side, event: events.SessionUpdateAsked, now: datetime) -> Sequence[Command]:
        if refused := self.limits.names(event):
            return (Drop(), self._explain(refused, event.event_id))
        return self._input(side, event, now)

    def _input(self, side: Side, event: Input, now: datetime) -> Sequence[Command]:
        self._conversation.take(event)
        return _FORWARD

    def _configured(self, side: Side, event: events.SessionConfigured, now: datetime) -> Sequence[Command]:
        known = (self.upstream_session_id, self.settings.model, self.settings.transcription_model)
        if self._booker.upstream_session_id is None:
            self._booker.upstream_session_id = event.upstream_session_id
        self.settings.take(event)
        user_audio = self._conversation.user_audio
        user_audio.bytes_per_s = event.input_bytes_per_s or user_audio.bytes_per_s
        model, transcription_model = self.settings.model, self.settings.transcription_model
        if known == (self.upstream_session_id, model, transcription_model):
            return _FORWARD
        return (Journal(self._booker.bound(model or transcription_model, now), wait=False), Forward())

    def _commit_asked(self, side: Side, event: events.CommitAsked, now: datetime) -> Sequence[Command]:
        if self.settings.transcription_model is not None:
            self._asked.commit(now)
        return _FORWARD

    def _input_committed(self, side: Side, event: events.InputCommitted, now: datetime) -> Sequence[Command]:
        ms = self._conversation.commit()
        self._asked.committed()
        if self.settings.answers_by_itself:
            self._asked.expected_at = now
        model = self.settings.transcription_model
        if model is None or event.item_id in self._opened.transcriptions:
            return _FORWARD
        item_id = event.item_id or self._next_id("unnamed_")
        opened = Transcription(item_id, model, now, self._booker.card(model, now), ms)
        room = self._lose(self._opened.add(opened), Flag.ESTIMATE_LINGER_PASSED, now)
        return (*room, Journal(self._booker.opened(opened)), Forward())

    # Responses

    def _response_asked(self, side: Side, event: events.ResponseAsked, now: datetime) -> Sequence[Command]:
        if self._closing or self._blocked:
            return _DROP
        self._conversation.add(Meter.TEXT_IN, estimate.text_tokens(event.text_chars))
        if over := self.limits.asks(event, self._conversation.predict(), now):
            return (Drop(), *self._cut(over))
        key = self._next_id("ask_")
        if refused := self._allowance.hold(key, self._hold_nanousd(now)):
            return self._refuse_asked(refused, event, now)
        self._void(self._asked.put(Asked(key, event.event_id, now)))
        return _FORWARD

    def _refuse_asked(
        self, account: Account, event: events.ResponseAsked, now: datetime
    ) -> Sequence[Command]:
        if account.policy is Policy.BLOCK:
            return (Drop(), self._explain(account.refusal, event.event_id))
        return (Drop(), *self._cut(account.refusal))

    def _response_started(
        self, side: Side, event: events.ResponseStarted, now: datetime
    ) -> Sequence[Command]:
        if event.response_id in self._opened.responses or self._booker.settled(
            Kind.RESPONSE, event.response_id
        ):
            return _FORWARD
        response = self._booker.start(event, self.settings, self._conversation.predict(), now)
        room = self._lose(self._opened.add(response), Flag.ESTIMATE_LINGER_PASSED, now)
        journal = Journal(self._booker.opened(response))
        refused, over = self._hold_for(response.id, now), self.limits.starts(response, now)
        if self._client_gone or self._closing:
            return (*room, journal, Drop(), self._doom(response))
        if over is not None:
            return (*room, journal, Drop(), *self._cut(over))
        if refused is None:
            return (*room, journal, Forward())
        if refused.policy is Policy.BLOCK:
            self._blocked = refused.refusal
            return (*room, journal, self._doom(response), Forward())
        return (*room, journal, Drop(), *self._cut(refused.refusal))

    def _hold_for(self, response_id: str, now: datetime) -> Account | None:
        """Let the oldest request's hold pass to this response, or hold anew for one nobody asked for."""
        if asked := self._asked.answer():
            self._allowance.rename(asked.key, response_id)
            return None
        return self._allowance.hold(response_id, self._hold_nanousd(now))

    def _hold_nanousd(self, now: datetime) -> int:
        predicted = self._conversation.predict()
        return first_hold_nanousd(predicted, self._booker.card(self.settings.model, now))

    def _response_text(self, side: Side, event: events.ResponseText, now: datetime) -> Sequence[Command]:
        if response := self._opened.find(event.response_id):
            response.text_chars += event.chars
            return (Forward(), *self._watch(response))
        return _FORWARD

    def _response_audio(self, side: Side, event: events.ResponseAudio, now: datetime) -> Sequence[Command]:
        return (Forward(), *self.hear(Side.UPSTREAM, event.chars, event.response_id))

    def _watch(self, response: Response) -> Sequence[Command]:
        """Let the hold grow with the running cost; cut when there is nothing more to hold."""
        if not self._allowance.accounts or response.state is State.DOOMED or self._closing:
            response.look_again()
            return _NOTHING
        held = self._allowance.held.get(response.id, 0)
        spent = response.rated().cost_nanousd or 0
        growth = response.growth_nanousd(spent, held)
        if growth:
            held += self._allowance.grow(response.id, growth)
        response.look_again(held - spent)
        if not growth or spent < held:
            return _NOTHING
        account = self._allowance.narrowest()
        assert account is not None
        if account.policy is Policy.BLOCK:  # the running one finishes
            self._blocked = account.refusal
            return _NOTHING
        return self._cut(account.refusal)

    def _response_ended(self, side: Side, event: events.ResponseEnded, now: datetime) -> Sequence[Command]:
        response = self._opened.find(event.response_id)
        subject_id = event.response_id or (response.id if response else self._next_id("unnamed_"))
        known = response or self._booker.settled(Kind.RESPONSE, subject_id)
        usage = measure(event.usage)
        entry = self._booker.entry(
            Kind.RESPONSE,
            subject_id,
            usage,
            model=known.model if known else self.settings.model,
            at=known.opened_at if known else now,
            status=event.status,
            reason=event.reason,
            flags=() if response else (Flag.NEVER_OPENED,),
        )
        if response and not (event.out_of_band or response.out_of_band):
            self._conversation.bill(usage)
        self._opened.responses.pop(subject_id, None)
        return (*self._settle(entry), Forward(), *self._say_blocked())

    def _settle(self, entry: Entry) -> Sequence[Command]:
        """Book `entry` in place of the hold; a bill that was booked already is not booked again."""
        if before := self._booker.settled(entry.kind, entry.subject_id):
            # Billed differently this time: the ledger keeps the first bill and raises an alarm.
            return (Journal(disputed(entry)),) if before.is_news(entry.digest) else _NOTHING
        self._booker.settle(entry)
        cost = entry.cost_nanousd
        if cost is None:
            self.unrated += 1
            cost = self._allowance.held.get(entry.subject_id, 0)
        self._allowance.settle(entry.subject_id, cost)
        self.cost_nanousd += entry.cost_nanousd or 0
        self.responses += entry.kind is Kind.RESPONSE
        return (Journal(entry),)

    def _say_blocked(self) -> Sequence[Command]:
        if self._blocked is None or self._opened.responses or self._closing:
            return _NOTHING
        return self._cut(self._blocked)

    # Transcriptions

    def _transcription_ended(self, side: Side, event: events.Transcribed, now: datetime) -> Sequence[Command]:
        item_id = event.item_id or self._opened.only_item or self._next_id("unnamed_")
        opened = self._opened.transcriptions.pop(item_id, None)
        subject_id = f"{item_id}:{event.content_index}"
        known = opened or self._booker.settled(Kind.TRANSCRIPTION, subject_id)
        model = known.model if known else self.settings.transcription_model
        entry = self._booker.transcribed(
            event, subject_id, model, now, () if opened else (Flag.NEVER_OPENED,)
        )
        return (*self._settle(entry), Forward())

    # Refusals and endings

    def _upstream_error(self, side: Side, event: events.UpstreamError, now: datetime) -> Sequence[Command]:
        if event.caused_by and event.caused_by.startswith(OUR_EVENT_IDS):
            return _DROP
        if asked := self._asked.refuse(event.caused_by, event.code):
            self._void([asked])
        return _FORWARD

    def _void(self, requests: Iterable[Asked]) -> None:
        for asked in requests:
            self._allowance.void(asked.key)

    def _unreadable(self, side: Side, event: events.Unreadable, now: datetime) -> Sequence[Command]:
        if side is Side.UPSTREAM:  # what bills the client must reach it, understood or not
            return _FORWARD
        return (Drop(), self._explain(refusal.unreadable(event.problem), event.event_id))

    def _stop_asked(self, side: Side, event: events.StopAsked, now: datetime) -> Sequence[Command]:
        return _NOTHING if self._closing or self._client_gone else self._cut(event.refusal)

    def _gone(self, side: Side, event: events.Gone, now: datetime) -> Sequence[Command]:
        if side is Side.UPSTREAM:
            return self._estimate_open(Flag.ESTIMATE_UPSTREAM_LOST, now)
        if self._client_gone:
            return _NOTHING
        self._client_gone = True
        return [self._doom(response) for response in self._opened.running]

    def _linger_passed(self, side: Side, event: events.LingerPassed, now: datetime) -> Sequence[Command]:
        return self._estimate_open(Flag.ESTIMATE_LINGER_PASSED, now)

    def _tick(self, side: Side, event: events.Tick, now: datetime) -> Sequence[Command]:
        self._void(self._asked.expire(now))
        return [Journal(self._booker.progress(response), wait=False) for response in self._opened.moved]

    def _cut(self, why: Refusal) -> Sequence[Command]:
        cancels = [self._doom(response) for response in self._opened.running]
        self._closing = why
        return (*cancels, self._explain(why), Close(CLOSE_POLICY, why.close_reason, why))

    def _doom(self, response: Response) -> Send:
        response.state = State.DOOMED
        return Send(Side.UPSTREAM, Cancel(self._next_id(OUR_EVENT_IDS), response.id))

    def _explain(self, why: Refusal, caused_by: str | None = None) -> Send:
        return Send(Side.CLIENT, Explain(self._next_id(OUR_EVENT_IDS), why, caused_by))

    def _estimate_open(self, why: Flag, now: datetime) -> Sequence[Command]:
        """Book what is open as far as it has passed: nothing more will be heard of it."""
        self._void(self._asked.clear())
        return self._lose(self._opened.clear(), why, now)

    def _lose(self, lost: Iterable[Response | Transcription], why: Flag, now: datetime) -> Sequence[Command]:
        """Book an estimate of each, in place of the bill that will not come."""
        return [command for one in lost for command in self._settle(self._booker.estimate(one, why, now))]

    def _next_id(self, prefix: str) -> str:
        self._serial += 1
        return f"{prefix}{self._serial}"


_Handler = Callable[[Session, Side, Any, datetime], Sequence[Command]]

_HANDLERS: dict[type, _Handler] = {
    events.SessionUpdateAsked: Session._update_asked,
    events.SessionConfigured: Session._configured,
    events.ItemAsked: Session._input,
    events.InputAudio: Session._input,
    events.SpeechHeard: Session._input,
    events.CommitAsked: Session._commit_asked,
    events.InputCommitted: Session._input_committed,
    events.ResponseAsked: Session._response_asked,
    events.ResponseStarted: Session._response_started,
    events.ResponseText: Session._response_text,
    events.ResponseAudio: Session._response_audio,
    events.ResponseEnded: Session._response_ended,
    events.TranscriptionEnded: Session._transcription_ended,
    events.TranscriptionFailed: Session._transcription_ended,
    events.UpstreamError: Session._upstream_error,
    events.Unreadable: Session._unreadable,
    events.StopAsked: Session._stop_asked,
    events.Gone: Session._gone,
    events.LingerPassed: Session._linger_passed,
    events.Tick: Session._tick,
}
