"""A session's account: what each billed thing of it cost, and why.

The parts of a thing sum exactly to its amount. Growth and a broken cache lie within those parts: they say why
the input cost what it did, and are not added.

A provider's cache holds the beginning of a conversation. So what was input to the response before, and is
input again, could have come from it, in whole blocks. What did not is where the cache broke.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from proxy.core.rating import Line, Terms
from proxy.core.records import Kind, Role
from proxy.core.usage import CACHED_METERS, INPUT_METERS, Meter, Modality

CACHE_BLOCK_TOKENS = 64  # caches keep whole blocks; recorded conversations hit multiples of this many


class Part(StrEnum):
    """What a part of an amount was paid for."""

    FRESH_INPUT = "fresh_input"  # text and audio that the provider had not cached
    CACHED_INPUT = "cached_input"  # of all kinds
    IMAGE = "image"  # not cached
    TRANSCRIPTION = "transcription"  # all that a transcription used
    AUDIO_OUTPUT = "audio_output"
    TEXT_OUTPUT = "text_output"
    OTHER = "other"  # durations, tokens of no told kind, and what no line accounts for


_PARTS: Mapping[str, Part] = {
    Meter.TEXT_IN: Part.FRESH_INPUT,
    Meter.AUDIO_IN: Part.FRESH_INPUT,
    Meter.IMAGE_IN: Part.IMAGE,
    Meter.AUDIO_OUT: Part.AUDIO_OUTPUT,
    Meter.TEXT_OUT: Part.TEXT_OUTPUT,
    **dict.fromkeys(CACHED_METERS, Part.CACHED_INPUT),
}
_INPUTS = {  # of each kind: its meters, fresh and cached
    Modality.TEXT: (Meter.TEXT_IN, Meter.TEXT_IN_CACHED),
    Modality.AUDIO: (Meter.AUDIO_IN, Meter.AUDIO_IN_CACHED),
    Modality.IMAGE: (Meter.IMAGE_IN, Meter.IMAGE_IN_CACHED),
}


class Because(StrEnum):
    """Why a cache broke, as far as the ledger can tell."""

    MODEL_CHANGED = "model_changed"
    CONTEXT_CUT = "context_cut"  # the input is shorter than before: something was taken out of it
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Thing:
    """A ledger entry of a session. `terms` are the prices that it was rated on."""

    id: int
    kind: Kind
    role: Role
    model: str | None
    estimated: bool
    corrects: int | None
    lines: Sequence[Line]
    cost_nanousd: int | None
    billed_nanousd: int | None
    terms: Terms


@dataclass(frozen=True, slots=True)
class Share:
    """One part: how much was used for it, and its amount; None where the thing has no price."""

    quantity: int
    nanousd: int | None


@dataclass(frozen=True, slots=True)
class Growth:
    """By how many tokens the input had grown since the response before, and what they cost."""

    tokens: int
    nanousd: int | None


@dataclass(frozen=True, slots=True)
class Break:
    """Tokens that the cache should have had, and what they cost beyond its price; None: that is not known."""

    tokens: int
    extra_nanousd: int | None
    because: Because


@dataclass(frozen=True, slots=True)
class Explained:
    """A thing, what it is made of, and what all is up to it. Growth is None where the input is not known."""

    thing: Thing
    nanousd: int | None
    parts: Mapping[Part, Share]
    growth: Growth | None
    broke: Break | None
    running_nanousd: int
    is_reversed: bool


@dataclass(slots=True)
class Sums:
    """What a session comes to. Unrated things are counted and add nothing."""

    nanousd: int = 0
    estimated_nanousd: int = 0
    unrated: int = 0
    parts: dict[Part, int] = field(default_factory=lambda: dict.fromkeys(Part, 0))
    growth_tokens: int = 0
    growth_nanousd: int = 0
    broken_tokens: int = 0
    extra_nanousd: int = 0


@dataclass(frozen=True, slots=True)
class _Context:
    """The input of a response, by kind: (fresh, cached) tokens."""

    model: str | None
    tokens: Mapping[Modality, tuple[int, int]]

    def of(self, modality: Modality) -> int:
        return sum(self.tokens[modality])

    @property
    def total(self) -> int:
        return sum(map(self.of, _INPUTS))


def account(things: Sequence[Thing], *, is_billed: bool = False) -> list[Explained]:
    """Explain the entries of a session, which are in the order they occurred.

    `is_billed` counts what the tenant owes in place of what the upstream charges. A reversal takes back what
    is said of the entry that it corrects; a replacement is compared with the same response before.
    """
    return list(_Account(things, is_billed).explained())


def sums(explained: Iterable[Explained]) -> Sums:
    """Return what things come to together; corrections have taken back what they correct."""
    total = Sums()
    for one in explained:
        if one.nanousd is None:
            total.unrated += -1 if one.thing.role is Role.REVERSAL else 1
        total.nanousd += one.nanousd or 0
        total.estimated_nanousd += (one.nanousd or 0) if one.thing.estimated else 0
        for part, share in one.parts.items():
            total.parts[part] += share.nanousd or 0
        if one.growth is not None:
            total.growth_tokens += one.growth.tokens
            total.growth_nanousd += one.growth.nanousd or 0
        if one.broke is not None:
            total.broken_tokens += one.broke.tokens
            total.extra_nanousd += one.broke.extra_nanousd or 0
    return total


class _Account:
    """One pass over the things of a session."""

    def __init__(self, things: Sequence[Thing], is_billed: bool) -> None:
        self._things = things
        self._is_billed = is_billed
        self._reversed = {one.corrects for one in things if one.role is Role.REVERSAL}
        self._before: dict[int, _Context | None] = {}  # what each response was compared with
        self._said: dict[int, Explained] = {}
        self._last: _Context | None = None  # the input of the last response that was reported

    def explained(self) -> Iterable[Explained]:
        running = 0
        for thing in self._things:
            amount = thing.billed_nanousd if self._is_billed else thing.cost_nanousd
            amount = amount if thing.cost_nanousd is not None else None
            running += amount or 0
            growth, broke = self._why(thing)
            parts = self._parts(thing, amount)
            is_reversed = thing.id in self._reversed
            one = Explained(thing, amount, parts, growth, broke, running, is_reversed)
            self._said[thing.id] = one
            yield one

    def _parts(self, thing: Thing, amount: int | None) -> dict[Part, Share]:
        found: dict[Part, Share] = {}
        rest = amount
        for line in thing.lines:
            is_transcription = thing.kind is Kind.TRANSCRIPTION
            part = Part.TRANSCRIPTION if is_transcription else _PARTS.get(line.meter, Part.OTHER)
            own = None
            if rest is not None:
                own = (line.billed_nanousd if self._is_billed else line.cost_nanousd) or 0
                rest -= own
            found[part] = _plus(found.get(part), line.quantity, own)
        if rest:
            found[Part.OTHER] = _plus(found.get(Part.OTHER), 0, rest)
        return found

    # --- Why

    def _why(self, thing: Thing) -> tuple[Growth | None, Break | None]:
        if thing.kind is not Kind.RESPONSE:
            return None, None
        corrected = self._said.get(thing.corrects) if thing.corrects is not None else None
        if thing.role is Role.REVERSAL:
            return _negated(corrected)
        context = _context(thing)
        if thing.estimated or context is None:
            return None, None
        before = self._last if corrected is None else self._before.get(corrected.thing.id)
        self._before[thing.id] = before
        if thing.role is Role.ORIGINAL:
            self._last = context
        return self._growth(thing, context, before), self._broke(thing, context, before)

    def _growth(self, thing: Thing, context: _Context, before: _Context | None) -> Growth:
        """New tokens are fresh as far as there are fresh ones: a cache cannot know what was never there."""
        tokens, prices = 0, []
        for modality, (fresh_meter, cached_meter) in _INPUTS.items():
            grown = max(0, context.of(modality) - (before.of(modality) if before else 0))
            fresh = min(grown, context.tokens[modality][0])
            tokens += grown
            prices += [
                self._price(thing, fresh_meter, fresh),
                self._price(thing, cached_meter, grown - fresh),
            ]
        return Growth(tokens, _sum(prices))

    def _broke(self, thing: Thing, context: _Context, before: _Context | None) -> Break | None:
        if before is None:
            return None
        tokens, prices = 0, []
        for modality, (fresh_meter, cached_meter) in _INPUTS.items():
            again = min(context.of(modality), before.of(modality))
            allowed = again // CACHE_BLOCK_TOKENS * CACHE_BLOCK_TOKENS
            missed = max(0, allowed - context.tokens[modality][1])
            tokens += missed
            cached = self._price(thing, cached_meter, missed)
            prices += [self._price(thing, fresh_meter, missed), None if cached is None else -cached]
        if not tokens:
            return None
        if context.model != before.model:
            because = Because.MODEL_CHANGED
        else:
            because = Because.CONTEXT_CUT if context.total < before.total else Because.UNKNOWN
        return Break(tokens, _sum(prices), because)

    def _price(self, thing: Thing, meter: Meter, tokens: int) -> int | None:
        """Return what so many tokens cost by the thing's own prices; None where they have none."""
        if not tokens:
            return 0
        amounts = thing.terms.amounts(meter, tokens) if thing.cost_nanousd is not None else None
        return None if amounts is None else amounts[2 if self._is_billed else 1]


def _context(thing: Thing) -> _Context | None:
    """Return what was input to a response; None where that is not known, or was nothing."""
    counts = {line.meter: line.quantity for line in thing.lines if line.meter in INPUT_METERS}
    if not any(counts.values()) or Meter.UNTOLD_IN in counts:
        return None
    return _Context(
        thing.model,
        {one: (counts.get(fresh, 0), counts.get(cached, 0)) for one, (fresh, cached) in _INPUTS.items()},
    )


def _negated(one: Explained | None) -> tuple[Growth | None, Break | None]:
    growth, broke = (one.growth, one.broke) if one else (None, None)
    return (
        growth and Growth(-growth.tokens, _minus(growth.nanousd)),
        broke and replace(broke, tokens=-broke.tokens, extra_nanousd=_minus(broke.extra_nanousd)),
    )


def _minus(amount: int | None) -> int | None:
    return None if amount is None else -amount


def _sum(amounts: Sequence[int | None]) -> int | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if len(known) == len(amounts) else None


def _plus(share: Share | None, quantity: int, nanousd: int | None) -> Share:
    if share is None:
        return Share(quantity, nanousd)
    return Share(share.quantity + quantity, _sum([share.nanousd, nanousd]))
