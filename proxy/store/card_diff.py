"""Cards that are about to be added, beside those that hold then: what an import would do."""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from proxy.core.rating import CardBook, Price, RateCard
from proxy.core.usage import Meter
from proxy.store.card_files import FileFormat, NewCard, parse_cards
from proxy.store.price_diff import diff
from proxy.store.published_prices import Source, read_published

DIGEST_CHARS = 16
_MOMENT = timedelta(microseconds=1)


class Fate(StrEnum):
    """What an import would make of a card."""

    NEW = "new"
    UNCHANGED = "unchanged"  # it is there already
    CONFLICT = "conflict"  # another one is there for that very instant: nothing would be imported


class PriceMove(StrEnum):
    """What becomes of one meter's price."""

    SAME = "same"
    CHANGED = "changed"
    NEW = "new"
    GONE = "gone"  # the card does not have it: usage of it would be unrated


@dataclass(frozen=True, slots=True)
class MeterChange:
    """One price: `before` holds until the card does, `after` is the card's; None where there is none."""

    meter: Meter
    move: PriceMove
    before: Price | None
    after: Price | None


@dataclass(frozen=True, slots=True)
class CardChange:
    """A card, what becomes of it, and what it changes. `held` is the card that it would supersede."""

    card: NewCard
    fate: Fate
    held: RateCard | None
    meters: tuple[MeterChange, ...]


@dataclass(frozen=True, slots=True)
class Read:
    """The cards of a text, and what of it cannot be taken."""

    cards: tuple[NewCard, ...]
    left_out: tuple[str, ...] = ()


def read_cards(text: str, format: FileFormat, owner: str) -> Read:
    """Return the cards of a file in one of our formats; raises StoreError where anything in it is wrong."""
    return Read(tuple(replace(one, owner=owner) for one in parse_cards(text, format)))


def read_published_cards(
    text: str,
    source: Source,
    known: Iterable[RateCard],
    *,
    provider: str,
    models: Collection[str],
    effective_from: datetime,
    owner: str,
) -> Read:
    """Return what a published file says otherwise than the `known` cards, as cards from an instant on.

    Raises:
        StoreError: it is not that file, or has not what was asked for.
    """
    found = diff(
        read_published(text, source, provider),
        CardBook(known),
        provider=provider,
        models=models,
        effective_from=effective_from,
        source=origin(text, source),
        owner=owner,
    )
    left_out = tuple(f"{one.model}: {why}" for one in found for why in one.left_out)
    return Read(tuple(one.card for one in found if one.card is not None), left_out)


def origin(text: str, source: Source) -> str:
    """Return what cards from a published file say of where their prices are from."""
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:DIGEST_CHARS]
    return f"{source}'s published prices (SHA-256 {digest}…)"


def compare(cards: Collection[NewCard], known: Collection[RateCard]) -> tuple[CardChange, ...]:
    """Return what an import of `cards` would do to the `known` ones; some may supersede others of theirs."""
    book = CardBook([*known, *(_as_card(one) for one in cards)])
    there = {(one.owner, one.provider, one.model, one.effective_from): one for one in known}
    return tuple(_change(card, book, there) for card in cards)


def _as_card(card: NewCard) -> RateCard:
    return RateCard("", card.provider, card.model, card.effective_from, card.prices, card.source, card.owner)


def _change(
    card: NewCard, book: CardBook, there: Mapping[tuple[str, str, str, datetime], RateCard]
) -> CardChange:
    same = there.get((card.owner, card.provider, card.model, card.effective_from))
    before = book.find(card.provider, card.model, card.effective_from - _MOMENT, card.owner)
    held = same or before
    fate = Fate.NEW
    if same is not None:
        fate = Fate.UNCHANGED if same.prices == dict(card.prices) else Fate.CONFLICT
    return CardChange(card, fate, held, tuple(_meters(card.prices, held.prices if held else {})))


def _meters(after: Mapping[Meter, Price], before: Mapping[Meter, Price]) -> Iterator[MeterChange]:
    for meter in Meter:
        old, new = before.get(meter), after.get(meter)
        if old is None and new is None:
            continue
        if new is None:
            move = PriceMove.GONE
        elif old is None:
            move = PriceMove.NEW
        else:
            move = PriceMove.SAME if old == new else PriceMove.CHANGED
        yield MeterChange(meter, move, old, new)
