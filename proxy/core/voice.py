"""What a conversation is like to listen to: how soon it answers, who breaks in, what nobody hears.

Events in, observations out. `now_s` is a monotonic time in seconds and the same clock for both sides: what
peers say about time is not used. An event is seen here before the session receives it, so that a response
which is over is still among the open ones.

| event                                             | what comes of it                                     |
|---------------------------------------------------|------------------------------------------------------|
| speech has stopped, client commits, or asks       | the wait for an answer begins; the last one counts   |
| turn detection has waited for the user in vain    | nobody waits                                         |
| upstream starts a response in the conversation    | it is the answer that was waited for                 |
| its first audio, if ever, unless we cancelled it  | FirstAudio                                           |
| it is over                                        | Answered, Spoken; Interrupted if speech has ended it |
| client truncates an item before that, or after it | Unheard and Interrupted, once all audio is known     |
| upstream is gone, or the linger has passed        | as when it is over, without Answered                 |
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from proxy.core import events
from proxy.core.estimate import audio_ms
from proxy.core.events import Event, Side
from proxy.core.opened import OPEN_MAX, Opened
from proxy.core.subjects import Response, State

ITEMS_MAX = 8  # of which a client may still say that they were not heard
TURN_DETECTED = "turn_detected"  # the reason of a response that ended since the user spoke


@dataclass(frozen=True, slots=True)
class FirstAudio:
    """An answer can be heard, so long after it was waited for."""

    model: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Answered:
    """A response has ended, so long after it began."""

    model: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Spoken:
    """So much audio of a response came from the upstream."""

    model: str | None
    ms: int


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The user broke into a response; said once of each."""

    model: str | None


@dataclass(frozen=True, slots=True)
class Unheard:
    """So much of what was spoken was not played, says the client."""

    model: str | None
    ms: int


Observation = FirstAudio | Answered | Spoken | Interrupted | Unheard

_NOTHING: tuple[Observation, ...] = ()


@dataclass(slots=True, eq=False)
class _Item:
    """A message of a response: which part of its audio it is."""

    answer: "_Answer"
    from_chars: int
    ms: int | None = None  # of audio, once the response is over
    heard_ms: int | None = None  # as the client says
    told_ms: int = 0  # that were not heard, and observed


@dataclass(slots=True, eq=False)
class _Answer:
    """A response, as it is waited for and listened to."""

    began_s: float
    asked_s: float | None  # since when its first audio is waited for
    model: str | None = None  # known once it is over
    is_interrupted: bool = False
    items: list[_Item] = field(default_factory=list)  # in the order of their audio


class Voice:
    """The fold of one session. What it keeps is bounded, whatever the peers say."""

    __slots__ = ("_answers", "_asked_s", "_items", "_opened")

    def __init__(self, opened: Opened) -> None:
        """`opened` is what is open in the session: it counts the audio."""
        self._opened = opened
        self._asked_s: float | None = None
        self._answers: dict[str, _Answer] = {}
        self._items: dict[str, _Item] = {}

    def see(self, side: Side, event: Event, now_s: float) -> Sequence[Observation]:
        """Return what `event` tells; only those in `TELLING` do. The session receives it afterwards."""
        handler = _HANDLERS.get(type(event))
        return handler(self, side, event, now_s) if handler else _NOTHING

    def heard(self, response_id: str | None, now_s: float) -> Sequence[Observation]:
        """Return what audio of a response tells: the first one. Without an id, of the only response."""
        response = self._opened.find(response_id)
        answer = self._answers.get(response.id) if response else None
        if response is None or answer is None or answer.asked_s is None:
            return _NOTHING
        if response.state is not State.RUNNING:  # cancelled by us: nobody hears it
            return _NOTHING
        waited_s, answer.asked_s = now_s - answer.asked_s, None
        return (FirstAudio(response.model, waited_s),)

    # Waiting

    def _speech(self, side: Side, event: events.SpeechHeard, now_s: float) -> Sequence[Observation]:
        if event.end_ms is not None:
            self._asked_s = now_s
        return _NOTHING

    def _commit_asked(self, side: Side, event: events.CommitAsked, now_s: float) -> Sequence[Observation]:
        self._asked_s = now_s
        return _NOTHING

    def _response_asked(self, side: Side, event: events.ResponseAsked, now_s: float) -> Sequence[Observation]:
        if not event.out_of_band:  # nobody listens for those
            self._asked_s = now_s
        return _NOTHING

    def _timed_out(self, side: Side, event: events.InputTimedOut, now_s: float) -> Sequence[Observation]:
        self._asked_s = None
        return _NOTHING

    # Responses

    def _started(self, side: Side, event: events.ResponseStarted, now_s: float) -> Sequence[Observation]:
        if event.response_id in self._answers:
            return _NOTHING
        answer = self._answers[event.response_id] = _Answer(now_s, None)
        if not event.out_of_band:
            answer.asked_s, self._asked_s = self._asked_s, None
        if len(self._answers) > OPEN_MAX:
            del self._answers[next(iter(self._answers))]
        return _NOTHING

    def _item_added(self, side: Side, event: events.OutputItemAdded, now_s: float) -> Sequence[Observation]:
        response, answer = self._opened.find(event.response_id), self._answers.get(event.response_id)
        if response is None or answer is None or event.item_id in self._items:
            return _NOTHING
        item = self._items[event.item_id] = _Item(answer, response.audio_chars)
        answer.items.append(item)
        if len(self._items) > ITEMS_MAX:
            del self._items[next(iter(self._items))]
        del answer.items[:-ITEMS_MAX]
        return _NOTHING

    def _audio(self, side: Side, event: events.ResponseAudio, now_s: float) -> Sequence[Observation]:
        return self.heard(event.response_id, now_s)

    def _ended(self, side: Side, event: events.ResponseEnded, now_s: float) -> Sequence[Observation]:
        response = self._opened.find(event.response_id)
        answer = self._answers.pop(response.id, None) if response else None
        if response is None or answer is None:
            return _NOTHING
        observed = [Answered(response.model, now_s - answer.began_s), *self._over(answer, response)]
        if event.reason == TURN_DETECTED:
            observed += self._interrupted(answer)
        return observed

    def _gone(self, side: Side, event: events.Gone, now_s: float) -> Sequence[Observation]:
        return self._lost() if side is Side.UPSTREAM else _NOTHING

    def _linger_passed(self, side: Side, event: events.LingerPassed, now_s: float) -> Sequence[Observation]:
        return self._lost()

    def _lost(self) -> Sequence[Observation]:
        """Return what is known of the responses whose end nobody will see."""
        observed: list[Observation] = []
        for response_id, answer in self._answers.items():
            if response := self._opened.find(response_id):
                observed += self._over(answer, response)
        self._answers.clear()
        return observed

    def _over(self, answer: _Answer, response: Response) -> list[Observation]:
        """Return what a response comes to, now that all of its audio has come."""
        answer.model = response.model
        ends = [item.from_chars for item in answer.items[1:]] + [response.audio_chars]
        observed: list[Observation] = [Spoken(response.model, response.audio_ms)] if response.audio_ms else []
        for item, end in zip(answer.items, ends, strict=True) if answer.items else ():
            item.ms = audio_ms(end - item.from_chars, response.bytes_per_s)
            observed += self._unheard(item)
        answer.items.clear()
        return observed

    # What nobody hears

    def _truncate_asked(self, side: Side, event: events.TruncateAsked, now_s: float) -> Sequence[Observation]:
        item = self._items.get(event.item_id)
        if item is None:
            return _NOTHING
        item.heard_ms = event.heard_ms if item.heard_ms is None else min(item.heard_ms, event.heard_ms)
        return self._unheard(item)

    def _unheard(self, item: _Item) -> Sequence[Observation]:
        """Return what is not heard of an item, beyond what was said of it before."""
        if item.ms is None or item.heard_ms is None:
            return _NOTHING
        more = item.ms - item.heard_ms - item.told_ms
        if more <= 0:
            return _NOTHING
        item.told_ms += more
        return (Unheard(item.answer.model, more), *self._interrupted(item.answer))

    def _interrupted(self, answer: _Answer) -> Sequence[Observation]:
        if answer.is_interrupted:
            return _NOTHING
        answer.is_interrupted = True
        return (Interrupted(answer.model),)


_Handler = Callable[[Voice, Side, Any, float], Sequence[Observation]]

_HANDLERS: dict[type, _Handler] = {
    events.SpeechHeard: Voice._speech,
    events.CommitAsked: Voice._commit_asked,
    events.ResponseAsked: Voice._response_asked,
    events.InputTimedOut: Voice._timed_out,
    events.ResponseStarted: Voice._started,
    events.OutputItemAdded: Voice._item_added,
    events.ResponseAudio: Voice._audio,
    events.ResponseEnded: Voice._ended,
    events.TruncateAsked: Voice._truncate_asked,
    events.Gone: Voice._gone,
    events.LingerPassed: Voice._linger_passed,
}
TELLING = frozenset(_HANDLERS)
