"""The billed things of a session while they are open, and the entries they become."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

import msgspec

from proxy.core import estimate
from proxy.core.conversation import Settings
from proxy.core.events import ResponseStarted, Transcribed, TranscriptionEnded
from proxy.core.rating import (
    NO_AMOUNTS,
    Amounts,
    CardBook,
    RateCard,
    Rated,
    Terms,
    amounts,
    rate,
    rating_flags,
)
from proxy.core.records import Entry, Kind, Progress, SessionBound, SessionOpened, SubjectOpened
from proxy.core.usage import Flag, Meter, Usage, measure

AUDIO_OUT_PER_S = 20  # tokens
LOOK_MS_MAX = 2_000  # of speech between two looks at what it costs
ROUNDING_NANOUSD = 3  # amounts that were rounded one by one differ by less from what they are together
HOLD_AUDIO = {Meter.AUDIO_OUT: 2 * AUDIO_OUT_PER_S}
HOLD_TEXT = {Meter.TEXT_OUT: 100}
SETTLED_MAX = 512
BILLS_MAX = 8  # different ones for the same thing; one is right, a second is an alarm already


def first_usage(predicted: Mapping[Meter, int], card: RateCard | None) -> Usage:
    """Return what to hold for before a response: its predicted input and two seconds of output."""
    speaks = card is None or Meter.AUDIO_OUT in card.prices
    return Usage({**predicted, **(HOLD_AUDIO if speaks else HOLD_TEXT)})


class State(Enum):
    """Where an open response stands."""

    RUNNING = "running"
    DOOMED = "doomed"  # cancelled by us; only its bill is still wanted


@dataclass(slots=True)
class Response:
    """A response that has started and is not over."""

    id: str
    model: str | None
    opened_at: datetime
    terms: Terms
    predicted: Mapping[Meter, int]  # its input, as far as it can be known beforehand
    bytes_per_s: int
    out_of_band: bool = False
    state: State = State.RUNNING
    audio_chars: int = 0
    text_chars: int = 0
    look_at_chars: int = 0  # so much audio has to pass before its cost can matter again
    reported_chars: int = -1  # how much had passed when its progress was last journalled
    second: Amounts = field(init=False)  # what a second of speech costs
    _input: Amounts | None = field(init=False)  # what `predicted` comes to: asked at every look

    def __post_init__(self) -> None:
        self.second = amounts(Usage({Meter.AUDIO_OUT: AUDIO_OUT_PER_S}), self.terms) or NO_AMOUNTS
        self._input = amounts(Usage(self.predicted), self.terms)

    @property
    def audio_ms(self) -> int:
        return estimate.audio_ms(self.audio_chars, self.bytes_per_s)

    @property
    def passed_chars(self) -> int:
        return self.audio_chars + self.text_chars

    def usage(self) -> Usage:
        """Return what it would be billed as if it ended now."""
        return _estimated({**self.predicted, **estimate.output(self.audio_ms, self.text_chars)})

    def rated(self) -> Rated:
        return rate(self.usage(), self.terms)

    def amounts(self) -> Amounts | None:
        """Return what `usage` comes to, None where it has no price. What is predicted was priced before."""
        output = amounts(Usage(estimate.output(self.audio_ms, self.text_chars)), self.terms)
        return None if output is None or self._input is None else self._input.plus(output)

    def growth(self, spent: Amounts, held: Amounts) -> Amounts:
        """Return how much more to hold: for two seconds of speech once one or less is left."""
        return Amounts(*map(_growth, self.second, spent, held))

    def look_again(self, left: Amounts | None = None) -> None:
        """Set when its cost is looked at again: with the token of speech that makes its hold grow.

        `left` is what it may still spend of that. A look is due after two seconds at the latest, and with
        the first audio: it is a news by itself. Rating it for every message would cost more than all else,
        and a look that comes too early costs another one.
        """
        if not self.audio_chars:
            return
        heard_ms = self.audio_ms
        ms, spoken = heard_ms + LOOK_MS_MAX, estimate.speech_tokens(heard_ms)
        for second, rest in zip(self.second, left or (), strict=False):
            if second:
                tokens = -((second + ROUNDING_NANOUSD - rest) * AUDIO_OUT_PER_S // second)
                ms = min(ms, estimate.begins_ms(spoken + tokens))
        self.look_at_chars = -(-ms * self.bytes_per_s // 750)


def _growth(second: int, spent: int, held: int) -> int:
    left = held - spent
    return 2 * second - min(0, left) if left <= second else 0


@dataclass(slots=True)
class Transcription:
    """An input transcription that was committed and is not over."""

    item_id: str
    model: str | None
    opened_at: datetime
    terms: Terms
    speech_ms: int

    @property
    def subject_id(self) -> str:
        """Return what its entry will be for: user audio has one content part."""
        return f"{self.item_id}:0"

    def usage(self) -> Usage:
        return _estimated(estimate.transcription(self.speech_ms, self.terms.card))

    def rated(self) -> Rated:
        return rate(self.usage(), self.terms)


def _estimated(counts: Mapping[Meter, int]) -> Usage:
    """Return `counts` as usage. When nothing is known, that is no usage report, and not one of nothing."""
    known = {meter: n for meter, n in counts.items() if n}
    return Usage(known, frozenset() if known else frozenset({Flag.USAGE_MISSING}))


@dataclass(slots=True)
class Settled:
    """What is remembered of a thing that was billed, to tell a repeated bill from another one."""

    model: str | None
    opened_at: datetime
    fingerprints: set[int]

    def is_news(self, fingerprint: int) -> bool:
        """Say whether a bill with `fingerprint` was not seen yet, and remember it."""
        if fingerprint in self.fingerprints or len(self.fingerprints) >= BILLS_MAX:
            return False
        self.fingerprints.add(fingerprint)
        return True


@dataclass(slots=True)
class Booker:
    """Turns what a session learns into journal records, rated on the card of its model and instant."""

    facts: SessionOpened
    cards: CardBook
    upstream_session_id: str | None = None
    _settled: dict[tuple[Kind, str], Settled] = field(default_factory=dict)  # the last few

    def terms(self, model: str | None, at: datetime) -> Terms:
        """Return the prices of `model` for this session's tenant."""
        return self.cards.terms(self.facts.provider, model, at, self.facts.tenant_id)

    def charge(self, usage: Usage, terms: Terms, at: datetime) -> Amounts:
        """Return what budgets are charged for `usage`: unpriced, the provider's dearest price."""
        priced = amounts(usage, terms)
        if priced is not None:
            return priced
        return Amounts.same(self.cards.dearest_nanousd(self.facts.provider, usage, at))

    def charge_of(self, one: "Response | Transcription") -> Amounts:
        """Return what budgets are charged for something open, if it ended now."""
        if isinstance(one, Response) and (priced := one.amounts()) is not None:
            return priced
        return self.charge(one.usage(), one.terms, one.opened_at)

    def billed_of(self, one: "Response | Transcription") -> int:
        """Return what the tenant would owe for something open, if it ended now: limits count that."""
        return self.charge_of(one).billed_nanousd

    def start(
        self, event: ResponseStarted, settings: Settings, predicted: Mapping[Meter, int], now: datetime
    ) -> Response:
        """Return the response that has started, on the terms of the session's model."""
        return Response(
            id=event.response_id,
            model=settings.model,
            opened_at=now,
            terms=self.terms(settings.model, now),
            predicted=predicted,
            bytes_per_s=event.bytes_per_s or settings.output_bytes_per_s,
            out_of_band=event.out_of_band,
        )

    def transcribed(
        self,
        event: Transcribed,
        subject_id: str,
        model: str | None,
        now: datetime,
        flags: Iterable[Flag],
        passed: Usage | None,
    ) -> Entry:
        """Return the entry of an input transcription that is over."""
        usage = event.usage if isinstance(event, TranscriptionEnded) else None
        return self.entry(
            Kind.TRANSCRIPTION,
            subject_id,
            measure(usage),
            model=model,
            at=now,
            status="completed" if isinstance(event, TranscriptionEnded) else "failed",
            flags=flags,
            passed=passed,
        )

    def bound(self, model: str | None, now: datetime) -> SessionBound:
        """Return that the session is now the upstream's `upstream_session_id`, with `model`."""
        return SessionBound(
            session_id=self.facts.session_id,
            upstream_session_id=self.upstream_session_id,
            model=model,
            at=now,
        )

    def opened(self, one: Response | Transcription) -> SubjectOpened:
        rated = one.rated()
        if isinstance(one, Response):
            kind, subject_id = Kind.RESPONSE, one.id
        else:
            kind, subject_id = Kind.TRANSCRIPTION, one.item_id
        return SubjectOpened(
            session_id=self.facts.session_id,
            upstream_session_id=self.upstream_session_id,
            provider=self.facts.provider,
            kind=kind,
            subject_id=subject_id,
            model=one.model,
            opened_at=one.opened_at,
            lines=rated.lines,
            cost_nanousd=rated.cost_nanousd,
            charge_nanousd=self._charge_of(one, rated),
            billing=one.terms.billing,
        )

    def progress(self, response: Response) -> Progress:
        rated = response.rated()
        return Progress(
            session_id=self.facts.session_id,
            kind=Kind.RESPONSE,
            subject_id=response.id,
            lines=rated.lines,
            cost_nanousd=rated.cost_nanousd,
            charge_nanousd=self._charge_of(response, rated),
        )

    def _charge_of(self, one: Response | Transcription, rated: Rated) -> int | None:
        """Return what budgets are charged for something open, where it has no price."""
        return None if rated.cost_nanousd is not None else self.charge_of(one).cost_nanousd

    def entry(
        self,
        kind: Kind,
        subject_id: str,
        usage: Usage,
        *,
        model: str | None,
        at: datetime,
        status: str,
        reason: str | None = None,
        flags: Iterable[Flag] = (),
        estimated: bool = False,
        passed: Usage | None = None,
    ) -> Entry:
        """Return `usage` as an entry.

        `passed` is what was seen of it: to compare, and to charge budgets where the bill says nothing.
        """
        terms = self.terms(model, at)
        unbilled = usage if usage.counts or passed is None else passed
        rated = rate(usage, terms)
        marks = {*usage.flags, *flags, *rating_flags(rated, terms.card)}
        return Entry(
            session_id=self.facts.session_id,
            upstream_session_id=self.upstream_session_id,
            provider=self.facts.provider,
            kind=kind,
            subject_id=subject_id,
            model=model,
            status=status,
            status_reason=reason,
            occurred_at=at,
            estimated=estimated,
            flags=tuple(sorted(marks)),
            lines=rated.lines,
            cost_nanousd=rated.cost_nanousd,
            charge_nanousd=None
            if rated.cost_nanousd is not None
            else self.charge(unbilled, terms, at).cost_nanousd,
            estimate_nanousd=None if passed is None else self.charge(passed, terms, at).cost_nanousd,
            billing=terms.billing,
        )

    def estimate(self, lost: Response | Transcription, why: Flag, now: datetime) -> Entry:
        """Return the entry of something whose bill will never come, as far as it has passed."""
        if isinstance(lost, Response):
            kind, subject_id, at = Kind.RESPONSE, lost.id, lost.opened_at
        else:
            kind, subject_id, at = Kind.TRANSCRIPTION, lost.subject_id, now
        return self.entry(
            kind,
            subject_id,
            lost.usage(),
            model=lost.model,
            at=at,
            status="lost",
            flags=(why,),
            estimated=True,
        )

    def settled(self, kind: Kind, subject_id: str) -> Settled | None:
        """Return what was booked for a thing before, if it was one of the last few."""
        return self._settled.get((kind, subject_id))

    def settle(self, entry: Entry) -> None:
        """Remember `entry`, so that its bill is recognised when the upstream repeats it."""
        self._settled[entry.kind, entry.subject_id] = Settled(
            entry.model, entry.occurred_at, {entry.fingerprint}
        )
        if len(self._settled) > SETTLED_MAX:  # the ledger's unique key remembers for ever
            del self._settled[next(iter(self._settled))]


def disputed(entry: Entry) -> Entry:
    """Return `entry` marked as another bill for something that was booked: it counts nowhere."""
    return msgspec.structs.replace(entry, flags=tuple(sorted({*entry.flags, Flag.BILLED_AGAIN})))
