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
| –            | client asks while no response may begin        | –         | Drop, Send(client, error)      |
| –            | upstream starts one meanwhile                  | doomed    | Journal(open), cancel, Forward,|
|              |                                                |           | Send(client, error)            |
| asked        | upstream refuses it, or 10 s pass              | void      | Forward                        |
| any          | upstream `error` naming one of our event ids   | same      | Drop                           |
| any          | transcription finished                         | –         | Journal(usage), Forward        |
| open at a    | replay at the next start (`store/replay.py`)   | estimated | Journal(estimate)              |
| crash        |                                                |           |                                |

*The cut*: cancel what runs, the error event and close 1008 to the client at once; the upstream lingers to
be settled. Where too little is at hand to hold, more is asked for (`Ask`), and the same event is received
again with the answer, until nothing is missing or the answer is no: nothing is refused that the database
would have granted. The gate that counts is the upstream's `response.created`: turn detection starts
responses that nobody asked for, and a client can disguise its wish. That at the client only saves money.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from proxy.core import events, refusal
from proxy.core.allowance import Account, Allowance, Need, refusers
from proxy.core.asked import BUSY, Asked, AskedQueue
from proxy.core.budgets import OnExhausted
from proxy.core.commands import Ask, Cancel, Close, Command, Drop, Explain, Forward, Journal, Send
from proxy.core.conversation import Conversation, Input, Settings
from proxy.core.events import Event, Side
from proxy.core.farewell import RESERVE, SECONDS_MAX, Farewell
from proxy.core.holds import Blocked, Holds
from proxy.core.limits import LimitWatch
from proxy.core.opened import Opened
from proxy.core.rating import CardBook
from proxy.core.records import Kind, SessionClosed, SessionOpened
from proxy.core.refusal import CLOSE_POLICY, Refusal
from proxy.core.subjects import Booker, Response, State, Transcription
from proxy.core.till import Till
from proxy.core.usage import Flag, measure
from proxy.core.voice import Voice

OUR_EVENT_IDS = "tm_"

_CLIENT = Side.CLIENT  # an attribute of an enum takes long to find, and this is wanted for every message
_FORWARD: tuple[Command, ...] = (Forward(),)
_DROP: tuple[Command, ...] = (Drop(),)
_NOTHING: tuple[Command, ...] = ()


class Session:
    """Meters one conversation and guards its allowance. `receive` never raises on what a peer sends."""

    def __init__(self, facts: SessionOpened, cards: CardBook, allowance: Allowance) -> None:
        self.facts = facts
        self.settings = Settings(facts.model)
        self.allowance = allowance
        self._booker = Booker(facts, cards)
        self.limits = LimitWatch(facts.opened_at, self._booker.billed_of)  # none, until somebody sets them
        self._conversation = Conversation()
        self._holds = Holds(allowance, self._booker, self._conversation, self.settings)
        self.till = Till(self._booker, allowance)
        self._asked = AskedQueue()
        self._opened = Opened()
        self.voice = Voice(self._opened)
        self._client_gone = False
        self._closing: Refusal | None = None  # said to the client: nothing more is forwarded to it
        self._blocked: Blocked | None = None
        self._farewell: Farewell | None = None  # the last words, while they are wanted
        self._serial = 0
        self._is_refused = False  # more was asked for what is received now, and there was not enough
        self.standstill: Refusal | None = None  # why no response may begin now; the session goes on

    # What the tunnel asks

    @property
    def upstream_session_id(self) -> str | None:
        return self._booker.upstream_session_id

    @property
    def is_settled(self) -> bool:
        """Say whether nothing billed is open or about to open: the upstream may be closed."""
        farewell = self._farewell
        return not (self._opened or self._asked or self._parting or (farewell and farewell.is_awaited))

    @property
    def _parting(self) -> Farewell | None:
        """Return the last words while they are wanted: there is somebody left to hear them."""
        return None if self._closing or self._client_gone else self._farewell

    @property
    def running_nanousd(self) -> int:
        """Return what open responses have cost so far, by estimate."""
        return sum(self._holds.spent(one).cost_nanousd for one in self._opened.responses.values())

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

    def receive(
        self, side: Side, event: Event, now: datetime, *, is_refused: bool = False
    ) -> Sequence[Command]:
        """Return what to do about `event`; for a message, Forward or Drop is among it, or Ask is all.

        `is_refused` says that this is an `Ask.again`, and that there was not enough. If there was, what is in
        the accounts decides: more may be asked for, since others hold from them, and time has passed.
        """
        deaf = self._client_gone or self._closing is not None
        handler = _HANDLERS.get(type(event))
        self._is_refused = is_refused
        commands = handler(self, side, event, now) if handler else _FORWARD
        self._is_refused = False
        if deaf and side is Side.UPSTREAM:
            return [Drop() if isinstance(command, Forward) else command for command in commands]
        billed = self.allowance.charged.billed_nanousd
        over = None if deaf else self.limits.after(event, billed, self._opened, now)
        return commands if over is None or self._closing else (*commands, *self._cut(over, now))

    def hear(self, side: Side, chars: int, response_id: str | None) -> bool:
        """Note that bulk audio passed, `chars` base64 characters of it.

        Return whether a `CostLook` is due: the cost of the response that it belongs to may matter now.
        """
        if side is _CLIENT:
            self._conversation.user_audio.chars += chars
            return False
        response = self._opened.find(response_id)
        if response is None:
            return False
        response.audio_chars += chars
        return response.audio_chars >= response.look_at_chars

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
        if ask := self._ask_for_transcription(event, now):
            return (ask,)
        ms = self._conversation.commit()
        self._asked.committed()
        if self.settings.answers_by_itself:
            self._asked.expected_at = now
        model = self.settings.transcription_model
        if model is None or event.item_id in self._opened.transcriptions:
            return _FORWARD
        item_id = event.item_id or self._next_id("unnamed_")
        opened = Transcription(item_id, model, now, self._booker.terms(model, now), ms)
        room = self.till.lose(self._opened.add(opened), Flag.ESTIMATE_LINGER_PASSED, now)
        opening = (*room, Journal(self._booker.opened(opened)))
        return (*opening, *self._admit(self._holds.hold_transcription(opened, now), now))

    def _ask_for_transcription(self, event: events.InputCommitted, now: datetime) -> Ask | None:
        """Return what to ask for before what was committed can be held."""
        model = self.settings.transcription_model
        if model is None or event.item_id in self._opened.transcriptions or not self.allowance.accounts:
            return None
        ms, terms = self._conversation.user_audio.committed_ms, self._booker.terms(model, now)
        amount = self._holds.transcription(Transcription("", model, now, terms, ms))
        return self._ask(self.allowance.needs(amount), event, now)

    def _admit(self, short: Account | None, now: datetime) -> Sequence[Command]:
        """Forward what costs money at the upstream already, and refuse what follows if none is left."""
        if short is None or self._closing or self._client_gone:
            return _FORWARD
        if short.policy is OnExhausted.BLOCK:
            self._blocked = Blocked.by(short, now)
            return (*_FORWARD, *self._say_blocked(now))
        return self._end_at_message(short, now)

    # Responses

    def _response_asked(self, side: Side, event: events.ResponseAsked, now: datetime) -> Sequence[Command]:
        if self._closing or self._farewell or self._client_gone:
            return _DROP
        if self.standstill:
            return (Drop(), self._explain(self.standstill, event.event_id))
        if self._blocked:
            return (Drop(), self._explain(self._blocked.account.refusal, event.event_id))
        brought = self._conversation.brought(event)
        amount = self._holds.first(now, brought)
        if ask := self._ask(self._holds.needs(amount, now), event, now):
            return (ask,)
        if over := self.limits.asks(event, self._conversation.predict(brought), now):
            return (Drop(), *self._cut(over, now))
        key = self._next_id("ask_")
        if refused := self._holds.hold(key, amount, now):
            if refused.policy is OnExhausted.BLOCK:
                return (Drop(), self._explain(refused.refusal, event.event_id))
            return (Drop(), *self._end(refused, now))
        self._void(self._asked.put(Asked(key, event.event_id, now, brought, event.out_of_band)))
        return _FORWARD

    def _ask(self, needs: tuple[Need, ...], again: Event, now: datetime) -> Ask | None:
        """Return what to ask for, where that can help and was not refused for this event."""
        hopeful = not self._is_refused and needs and all(need.may_ask(now) for need in needs)
        return Ask(needs, again) if hopeful else None

    def _response_started(
        self, side: Side, event: events.ResponseStarted, now: datetime
    ) -> Sequence[Command]:
        if event.response_id in self._opened.responses or self._booker.settled(
            Kind.RESPONSE, event.response_id
        ):
            return _FORWARD
        is_over = self._client_gone or self._closing is not None
        asked = self._asked.next(out_of_band=event.out_of_band)
        unwanted = None if is_over or asked or self._farewell else self.standstill
        is_free = is_over or asked or self._farewell or unwanted  # no hold is made for it, or one was made
        needs = () if is_free else self._holds.needs(self._holds.first(now), now)
        if ask := self._ask(needs, event, now):
            return (ask,)
        predicted = self._conversation.predict(asked.brought if asked else None)
        response = self._booker.start(event, self.settings, predicted, now)
        room = self.till.lose(self._opened.add(response), Flag.ESTIMATE_LINGER_PASSED, now)
        journal = Journal(self._booker.opened(response))
        if unwanted:
            self._asked.answer(out_of_band=event.out_of_band)  # nobody's request: what was expected has come
            return (*room, journal, self._doom(response), Forward(), self._explain(unwanted))
        over = self.limits.starts(response, now)
        if farewell := self._parting:
            return (*room, journal, *self._start_farewell(farewell, response, now), Forward())
        if self._farewell:  # nobody hears the last words, and they are billed all the same
            self._farewell.take(response, is_expected=self._asked.expected_at is not None)
        refused = self._hold_for(response, now)
        if is_over:
            return (*room, journal, Drop(), self._doom(response))
        if over is not None:
            return (*room, journal, Drop(), *self._cut(over, now))
        if refused is None:
            return (*room, journal, Forward())
        if refused.policy is OnExhausted.BLOCK:
            self._blocked = Blocked.by(refused, now)
            return (*room, journal, self._doom(response), Forward())
        return (*room, journal, *self._end_at_message(refused, now))

    def _hold_for(self, response: Response, now: datetime) -> Account | None:
        """Let the hold of the request that it answers pass to it, or hold anew for one nobody asked for."""
        if asked := self._asked.answer(out_of_band=response.out_of_band):
            self.allowance.rename(asked.key, response.id)
            return None
        return self._holds.hold(response.id, self._holds.first(now), now)

    def _response_text(self, side: Side, event: events.ResponseText, now: datetime) -> Sequence[Command]:
        if response := self._opened.find(event.response_id):
            response.text_chars += event.chars
            return (Forward(), *self._watch(response, now))
        return _FORWARD

    def _response_audio(self, side: Side, event: events.ResponseAudio, now: datetime) -> Sequence[Command]:
        if not self.hear(Side.UPSTREAM, event.chars, event.response_id):
            return _FORWARD
        return (Forward(), *self._cost_look(side, events.CostLook(event.response_id), now))

    def _watch(self, response: Response, now: datetime) -> Sequence[Command]:
        """Let the hold grow with the running cost; cut when there is nothing more to hold."""
        self.allowance.is_finishing = self._blocked is not None
        if response.state is State.DOOMED or self._closing or not self.allowance.is_binding:
            response.look_again()
            return _NOTHING
        needs = self._holds.lacks(response, now, with_reserve=self._farewell is None)
        if ask := self._ask(needs, events.CostLook(response.id), now):
            return (ask,)
        short = refusers(needs, now)
        blocking = [account for account in short if account.policy is OnExhausted.BLOCK]
        if blocking:  # it finishes, unless another budget has nothing left, which was not asked yet
            self._blocked, self._is_refused = Blocked.by(blocking[0], now), False
            return self._watch(response, now)
        return self._end(short[0], now) if short else _NOTHING

    def _cost_look(self, side: Side, event: events.CostLook, now: datetime) -> Sequence[Command]:
        response = self._opened.find(event.response_id)
        return self._watch(response, now) if response else _NOTHING

    def _budgets_changed(self, side: Side, event: events.BudgetsChanged, now: datetime) -> Sequence[Command]:
        """Look at what runs now, and do not wait for it to move on; what was blocked may go on again."""
        if self._blocked and self._blocked.is_over(self.allowance.accounts, now):
            self._blocked = None
        if self._farewell is None:
            self._holds.renew_reserve()
        for response in self._opened.running:
            if commands := self._watch(response, now):
                return commands
        return _NOTHING

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
            passed=response.usage() if response else None,
        )
        if response and not (event.out_of_band or response.out_of_band):
            self._conversation.bill(usage)
        self._opened.responses.pop(subject_id, None)
        return (*self.till.settle(entry), Forward(), *self._say_blocked(now))

    def _say_blocked(self, now: datetime) -> Sequence[Command]:
        """Say what could not be said while a response ran."""
        if self._closing or self._client_gone or self._opened.responses:
            return _NOTHING
        if self._farewell:
            return self._part(self._farewell, now)
        return self._cut(self._blocked.account.refusal, now) if self._blocked else _NOTHING

    # The last words, under `wrap_up`

    def _end(self, account: Account, now: datetime) -> Sequence[Command]:
        """End the session since `account` has nothing left: with last words if it wants them, else now."""
        if account.policy is not OnExhausted.WRAP_UP or self._farewell or self._client_gone:
            return self._cut(account.refusal, now, account)
        self._farewell = Farewell(account, account.refusal, now + SECONDS_MAX)
        return (*self._stop(self._opened.running, account, now), *self._say_blocked(now))

    def _end_at_message(self, account: Account, now: datetime) -> Sequence[Command]:
        """As `_end`, for a message of the upstream: the client sees it if the session goes on for a while."""
        ending = self._end(account, now)
        return (Drop() if self._closing else Forward(), *ending)

    def _part(self, farewell: Farewell, now: datetime) -> Sequence[Command]:
        """Ask for the last words once nothing else is open or about to be; when they are said, the cut."""
        if farewell.response_id is not None:
            return self._cut(farewell.why, now, farewell.account)
        if farewell.event_id is not None or self._asked.is_due:
            return _NOTHING
        tokens = self._holds.last_words_tokens(now)
        if request := farewell.request(tokens, lambda: self._next_id(OUR_EVENT_IDS)):
            return [Send(Side.UPSTREAM, message) for message in request]
        return self._cut(farewell.why, now, farewell.account)

    def _start_farewell(self, farewell: Farewell, response: Response, now: datetime) -> Sequence[Command]:
        """Let the response that was asked for speak from the reserve, and no other."""
        is_last = farewell.take(response, is_expected=self._asked.expected_at is not None)
        asked = self._asked.answer(out_of_band=response.out_of_band)  # held before the end was near
        if not (is_last or asked):
            return self._stop([response], farewell.account, now)
        self.allowance.rename(asked.key if asked else RESERVE, response.id)
        return _NOTHING

    def _lose_farewell(self, farewell: Farewell, code: str | None, now: datetime) -> Sequence[Command]:
        """The request for last words failed: make it again once what was in its way is over, else the cut."""
        mistaken = self._opened.responses.get(farewell.give_up() or "")
        if self._parting and code != BUSY:
            return self._cut(farewell.why, now, farewell.account)
        if self._parting and mistaken:
            self.allowance.rename(mistaken.id, RESERVE)
            return self._stop([mistaken], farewell.account, now)
        return _NOTHING  # for a second at most: the upstream is not asked without end

    # Transcriptions

    def _transcription_ended(self, side: Side, event: events.Transcribed, now: datetime) -> Sequence[Command]:
        item_id = event.item_id or self._opened.only_item or self._next_id("unnamed_")
        opened = self._opened.transcriptions.pop(item_id, None)
        subject_id = f"{item_id}:{event.content_index}"
        if opened:
            self.allowance.rename(opened.subject_id, subject_id)
        known = opened or self._booker.settled(Kind.TRANSCRIPTION, subject_id)
        model = known.model if known else self.settings.transcription_model
        flags = () if opened else (Flag.NEVER_OPENED,)
        entry = self._booker.transcribed(
            event, subject_id, model, now, flags, opened.usage() if opened else None
        )
        return (*self.till.settle(entry), Forward())

    # Refusals and endings

    def _upstream_error(self, side: Side, event: events.UpstreamError, now: datetime) -> Sequence[Command]:
        if event.caused_by and event.caused_by.startswith(OUR_EVENT_IDS):
            if self._farewell and event.caused_by == self._farewell.event_id:
                return (*_DROP, *self._lose_farewell(self._farewell, event.code, now))
            return _DROP
        if asked := self._asked.refuse(event.caused_by, event.code):
            self._void([asked])
        return _FORWARD

    def _void(self, requests: Iterable[Asked]) -> None:
        for asked in requests:
            self.allowance.void(asked.key)

    def _unreadable(self, side: Side, event: events.Unreadable, now: datetime) -> Sequence[Command]:
        if side is Side.UPSTREAM:  # what bills the client must reach it, understood or not
            return _FORWARD
        return (Drop(), self._explain(refusal.unreadable(event.problem), event.event_id))

    def _stop_asked(self, side: Side, event: events.StopAsked, now: datetime) -> Sequence[Command]:
        return _NOTHING if self._closing or self._client_gone else self._cut(event.refusal, now)

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
        if (farewell := self._parting) and now >= farewell.until:
            return self._cut(farewell.why, now, farewell.account)
        progress = [Journal(self._booker.progress(response), wait=False) for response in self._opened.moved]
        return (*progress, *self._say_blocked(now))

    def _cut(self, why: Refusal, now: datetime, account: Account | None = None) -> Sequence[Command]:
        """Return the cut; what runs is recorded if `account` is why."""
        stopped = self._stop(self._opened.running, account, now)
        self._closing = why = why.as_final()
        return (*stopped, self._explain(why), Close(CLOSE_POLICY, why.close_reason, why))

    def _stop(self, some: Sequence[Response], account: Account | None, now: datetime) -> Sequence[Command]:
        """Cancel some responses; each is recorded if `account` is why. A reserve pays what they lack."""
        for response in some:
            self._holds.cover(response)
        cancels = [self._doom(response) for response in some]
        records = [Journal(self._holds.cut(one, account, now), wait=False) for one in some if account]
        return (*cancels, *records)

    def _doom(self, response: Response) -> Send:
        response.state = State.DOOMED
        return Send(Side.UPSTREAM, Cancel(self._next_id(OUR_EVENT_IDS), response.id))

    def _explain(self, why: Refusal, caused_by: str | None = None) -> Send:
        return Send(Side.CLIENT, Explain(self._next_id(OUR_EVENT_IDS), why, caused_by))

    def _estimate_open(self, why: Flag, now: datetime) -> Sequence[Command]:
        """Book what is open as far as it has passed: nothing more will be heard of it."""
        self._void(self._asked.clear())
        if self._farewell:
            self._farewell.give_up()
        return self.till.lose(self._opened.clear(), why, now)

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
    events.InputTimedOut: Session._input,
    events.InputCleared: Session._input,
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
    events.CostLook: Session._cost_look,
    events.BudgetsChanged: Session._budgets_changed,
    events.Tick: Session._tick,
}
