"""Limits: rules against runaway conversations that are not money over a calendar window.

They belong to a tenant or to an API key, and all are off unless set. `LimitWatch` is told what happens
in one session and answers when a limit is reached; `core/session.py` cuts then. The two that are about
letting sessions in (`sessions`, `sessions_per_minute`) are kept by `relay/turnstile.py`.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from proxy.core import events
from proxy.core.events import Event
from proxy.core.money import format_usd
from proxy.core.opened import Opened
from proxy.core.refusal import Refusal, limit_reached
from proxy.core.subjects import Response, Transcription
from proxy.core.usage import Meter, measure

MINUTE_S = 60


class Unit(StrEnum):
    """What the value of a limit counts, as it is stored: always a whole number."""

    MS = "ms"
    NANOUSD = "nanousd"
    COUNT = "count"


class LimitName(StrEnum):
    """The limits, as a person names them."""

    SESSION_SECONDS = "session_seconds"
    IDLE_SECONDS = "idle_seconds"
    SESSION_COST = "session_cost"
    MINUTE_COST = "minute_cost"
    RESPONSES = "responses"
    SELF_TALK = "self_talk"
    INPUT_TOKENS = "input_tokens"
    SESSIONS = "sessions"
    SESSIONS_PER_MINUTE = "sessions_per_minute"

    @property
    def unit(self) -> Unit:
        return _UNITS.get(self, Unit.COUNT)

    def figure(self, value: int) -> str:
        """Return a stored value as people read it: `600 s`, `$0.50`, `3`."""
        match self.unit:
            case Unit.MS:
                return f"{value / 1_000:g} s"
            case Unit.NANOUSD:
                dollars, _, parts = format_usd(value).partition(".")
                return f"${dollars}.{parts.rstrip('0').ljust(2, '0')}"
            case Unit.COUNT:
                return str(value)

    def refusal(self, value: int) -> Refusal:
        """Return what a peer is told that meets this limit, set to `value`."""
        return limit_reached(self.value, self.figure(value))


_UNITS = {
    LimitName.SESSION_SECONDS: Unit.MS,
    LimitName.IDLE_SECONDS: Unit.MS,
    LimitName.SESSION_COST: Unit.NANOUSD,
    LimitName.MINUTE_COST: Unit.NANOUSD,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one owner, or of all that enclose a session. None: off.

    Seconds, costs and the sliding minute end a session once they are reached; of what is counted so
    many are allowed, and the next one is refused.
    """

    session_s: float | None = None
    idle_s: float | None = None
    session_cost_nanousd: int | None = None
    minute_cost_nanousd: int | None = None
    responses: int | None = None
    self_talk: int | None = None  # consecutive responses without anything from the user
    input_tokens: int | None = None  # of one response
    sessions: int | None = None  # at the same time
    sessions_per_minute: int | None = None

    @classmethod
    def of(cls, values: Mapping[str, int]) -> "Limits":
        """Return limits from stored values by name. A name that only a newer version knows sets nothing."""
        known = {name: values[name] for name in LimitName if name in values}
        return cls(**{_FIELDS[name]: _in_field(name, value) for name, value in known.items()})

    @property
    def is_timed(self) -> bool:
        """Say whether time alone can end a session."""
        return self.session_s is not None or self.idle_s is not None

    @property
    def counts_cost(self) -> bool:
        return self.session_cost_nanousd is not None or self.minute_cost_nanousd is not None


_FIELDS = dict(zip(LimitName, (field.name for field in fields(Limits)), strict=True))

NO_LIMITS = Limits()


def _in_field(name: LimitName, value: int) -> Any:
    return value / 1_000 if name.unit is Unit.MS else value


def narrowest(tenants: Limits, keys: Limits) -> Limits:
    """Return the limits of a session that both a tenant's and a key's enclose: the smaller of each."""
    if keys is NO_LIMITS:
        return tenants
    both = {name: (getattr(tenants, name), getattr(keys, name)) for name in _FIELDS.values()}
    return Limits(
        **{name: min((v for v in pair if v is not None), default=None) for name, pair in both.items()}
    )


class SlidingMinute:
    """The sum of what was added in this second and the 59 before it: at most 60 numbers are kept."""

    __slots__ = ("_buckets", "_sum")

    def __init__(self) -> None:
        self._buckets: deque[list[int]] = deque()  # [second, amount], the oldest first
        self._sum = 0

    def add(self, amount: int, now: datetime) -> None:
        """Add `amount`, which may be negative. A clock that went back does not matter."""
        second = int(now.timestamp())
        if self._buckets and self._buckets[-1][0] >= second:
            self._buckets[-1][1] += amount
        else:
            self._buckets.append([second, amount])
        self._sum += amount
        self.total(now)

    def total(self, now: datetime) -> int:
        """Return the sum, after forgetting what is too old."""
        oldest = int(now.timestamp()) - MINUTE_S
        while self._buckets and self._buckets[0][0] <= oldest:
            self._sum -= self._buckets.popleft()[1]
        return self._sum


ModelRefusal = Callable[[str | None], Refusal | None]


def any_model(model: str | None) -> Refusal | None:
    """Allow every model."""
    return None


class LimitWatch:
    """What one session has done, held against its limits and the models it may use.

    The owner may replace `limits` and `model_refusal` at any time: counts go on, and the new figures
    hold from the next event on.

    A session is *idle* while no response runs and nothing comes from the user: turn detection hears no
    speech, nothing is committed, no item is added and no response is asked for. Audio that flows does
    not count, since a silent microphone makes as much of it as a talking one; where turn detection is
    off, a turn is heard of when it is committed. A completed answer is over when it has been spoken at
    the speed of speech, however quickly it was generated.

    *From the user* are speech that was heard, audio that was committed and messages whose role is
    `user`. The output of a function is not: a model that goes on calling tools talks to itself. Nor is the
    silence that turn detection commits when it has waited for the user in vain.
    """

    def __init__(self, opened_at: datetime, charge_of: Callable[[Response | Transcription], int]) -> None:
        """`charge_of` tells what something open costs by now: what has no price, by the dearest card."""
        self._charge_of = charge_of
        self.limits = NO_LIMITS
        self.model_refusal: ModelRefusal = any_model
        self._opened_at = opened_at
        self._active_at = opened_at
        self._is_speaking = False
        self._silent_item: str | None = None  # committed since nobody spoke
        self._is_context_cut = False  # since the last bill: what the next input comes to is not known
        self._started = 0
        self._alone = 0  # responses that have started since the user was heard of
        self._last: Response | None = None
        self._total_nanousd = 0
        self._minute = SlidingMinute()

    # What may be refused before it happens

    def asks(
        self, event: events.ResponseAsked, predicted: Mapping[Meter, int], now: datetime
    ) -> Refusal | None:
        """Note that the client asks for a response; return why there will be none."""
        self._active_at = now
        if event.from_user:
            self._alone = 0
        return self._beyond(predicted, event.out_of_band)

    def starts(self, response: Response, now: datetime) -> Refusal | None:
        """Note that the upstream has started a response; return why it must not go on."""
        refused = self._beyond(response.predicted, response.out_of_band)
        self._active_at = now
        self._started += 1
        self._alone += 1
        self._last = response
        return refused

    def _beyond(self, predicted: Mapping[Meter, int], out_of_band: bool) -> Refusal | None:
        """Return why there may not be another response."""
        limits = self.limits
        if limits.session_cost_nanousd is not None and self._total_nanousd >= limits.session_cost_nanousd:
            return LimitName.SESSION_COST.refusal(limits.session_cost_nanousd)
        if limits.responses is not None and self._started >= limits.responses:
            return LimitName.RESPONSES.refusal(limits.responses)
        if limits.self_talk is not None and self._alone >= limits.self_talk:
            return LimitName.SELF_TALK.refusal(limits.self_talk)
        if limits.input_tokens is None or out_of_band or self._is_context_cut:  # its input may be another one
            return None
        return self._too_long(sum(predicted.values()))

    def _too_long(self, input_tokens: int) -> Refusal | None:
        most = self.limits.input_tokens
        return None if most is None or input_tokens <= most else LimitName.INPUT_TOKENS.refusal(most)

    def names(self, event: events.SessionUpdateAsked | events.SessionConfigured) -> Refusal | None:
        """Return why a session may not have the models that `event` names."""
        return self.model_refusal(event.model) or self.model_refusal(event.transcription_model)

    # What is seen after it has happened

    def after(self, event: Event, cost_nanousd: int, opened: Opened, now: datetime) -> Refusal | None:
        """Note `event`, which the session has dealt with; return why the session has to end now.

        `cost_nanousd` is what is booked so far, what has no price by the dearest card, and `opened` what is
        not over yet.
        """
        note = _NOTES.get(type(event))
        return note(self, event, cost_nanousd, opened, now) if note else None

    def _item(self, event: events.ItemAsked, cost: int, opened: Opened, now: datetime) -> None:
        self._active_at = now
        if event.from_user:
            self._alone = 0

    def _speech(self, event: events.SpeechHeard, cost: int, opened: Opened, now: datetime) -> None:
        self._from_user(now)
        self._is_speaking = event.end_ms is None

    def _committed(
        self, event: events.CommitAsked | events.InputCommitted, cost: int, opened: Opened, now: datetime
    ) -> None:
        self._is_speaking = False
        if isinstance(event, events.CommitAsked) or event.item_id != self._silent_item:
            self._from_user(now)

    def _timed_out(self, event: events.InputTimedOut, cost: int, opened: Opened, now: datetime) -> None:
        self._silent_item, self._is_speaking = event.item_id, False

    def _cleared(self, event: Event, cost: int, opened: Opened, now: datetime) -> None:
        if self._is_speaking:
            self._active_at, self._is_speaking = now, False

    def _context_cut(self, event: Event, cost: int, opened: Opened, now: datetime) -> None:
        self._is_context_cut = True

    def _from_user(self, now: datetime) -> None:
        self._active_at = now
        self._alone = 0

    def _configured(
        self, event: events.SessionConfigured, cost: int, opened: Opened, now: datetime
    ) -> Refusal | None:
        return self.names(event)

    def _ended(self, event: events.ResponseEnded, cost: int, opened: Opened, now: datetime) -> Refusal | None:
        self._active_at = now
        last = self._last
        if last is not None and last.id == event.response_id and event.status == "completed":
            self._active_at = max(now, last.opened_at + timedelta(milliseconds=last.audio_ms))
        if not event.out_of_band:
            self._is_context_cut = False
        if self.limits.input_tokens is not None:
            refused = self._too_long(measure(event.usage).input_tokens)
            if refused is not None:
                return refused
        return self._spent(event, cost, opened, now)

    def _spent(self, event: Event, cost: int, opened: Opened, now: datetime) -> Refusal | None:
        limits = self.limits
        if not limits.counts_cost:
            self._total_nanousd = cost  # where the sliding minute begins, should a limit be set
            return None
        total = cost + sum(map(self._charge_of, opened.every))
        self._minute.add(total - self._total_nanousd, now)
        self._total_nanousd = total
        if limits.session_cost_nanousd is not None and total >= limits.session_cost_nanousd:
            return LimitName.SESSION_COST.refusal(limits.session_cost_nanousd)
        most = limits.minute_cost_nanousd
        if most is not None and self._minute.total(now) >= most:
            return LimitName.MINUTE_COST.refusal(most)
        return None

    def _ticked(self, event: Event, cost: int, opened: Opened, now: datetime) -> Refusal | None:
        if opened.responses or self._is_speaking:
            self._active_at = max(self._active_at, now)
        limits = self.limits
        if limits.session_s is not None and (now - self._opened_at).total_seconds() >= limits.session_s:
            return LimitName.SESSION_SECONDS.refusal(round(limits.session_s * 1_000))
        if limits.idle_s is not None and (now - self._active_at).total_seconds() >= limits.idle_s:
            return LimitName.IDLE_SECONDS.refusal(round(limits.idle_s * 1_000))
        return self._spent(event, cost, opened, now)


_Note = Callable[[LimitWatch, Any, int, Opened, datetime], Refusal | None]

_NOTES: dict[type, _Note] = {
    events.ItemAsked: LimitWatch._item,
    events.SpeechHeard: LimitWatch._speech,
    events.CommitAsked: LimitWatch._committed,
    events.InputCommitted: LimitWatch._committed,
    events.InputTimedOut: LimitWatch._timed_out,
    events.InputCleared: LimitWatch._cleared,
    events.ContextCut: LimitWatch._context_cut,
    events.SessionConfigured: LimitWatch._configured,
    events.ResponseEnded: LimitWatch._ended,
    events.TranscriptionEnded: LimitWatch._spent,
    events.TranscriptionFailed: LimitWatch._spent,
    events.Tick: LimitWatch._ticked,
}
