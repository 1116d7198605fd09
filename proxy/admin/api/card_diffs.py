"""`/rate-cards/diff`: what an import of rate cards would change; nothing is added."""

from datetime import UTC
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from proxy.admin.api.models import At, Model, Nothing, Output, Time
from proxy.admin.api.periods import instant
from proxy.admin.api.problems import Problem
from proxy.admin.api.rate_cards import (
    IMPORT_BYTES_MAX,
    IMPORT_CARDS_MAX,
    CardName,
    Owned,
    PriceOut,
    price_out,
    priced,
)
from proxy.admin.api.routes import ADMINS, Answer, Call, Opens, Route
from proxy.core.rating import Price
from proxy.store import prices
from proxy.store.card_diff import CardChange, MeterChange, Read, compare, read_cards, read_published_cards
from proxy.store.card_files import FILE_CHARS_MAX

MODELS_MAX = 100


class MeterChangeOut(Output):
    """One price before and after; null where there is none."""

    meter: str
    what: str = Field(description="`same`, `changed`, `new`, or `gone`: usage of it would be unrated.")
    before: PriceOut | None
    after: PriceOut | None


class CardChangeOut(Output):
    """A card and what becomes of it."""

    provider: str
    model: str
    effective_from: At
    source: str
    prices: dict[str, PriceOut]
    what: str = Field(description="`new`, `unchanged`, or `conflict`: nothing could be imported.")
    held_from: At | None = Field(description="From when on the card holds that it would supersede.")
    meters: list[MeterChangeOut]


class CardsDiff(Output):
    """What an import would change. `POST /rate-cards` takes the cards that are new as they stand here."""

    owner: str
    cards: list[CardChangeOut]
    left_out: list[str] = Field(description="What of a published file cannot be taken, and why.")


class CardsText(Owned):
    """A file of rate cards, as text; or one that others publish."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=FILE_CHARS_MAX)]
    format: Literal["json", "csv", "litellm", "genai-prices"]
    provider: Annotated[CardName, Field(description="Of a published file: whose models.")] = "openai"
    models: Annotated[
        list[Model],
        Field(
            max_length=MODELS_MAX,
            description="Of a published file: these, else all that speak, transcribe or have a card.",
        ),
    ] = []
    effective_from: Annotated[
        Time | None, Field(description="Of a published file: from when on; now if left out.")
    ] = None


def compare_cards(call: Call[Nothing, CardsText]) -> Answer:
    """Answer with what an import would change."""
    wanted = call.body
    known = prices.load_cards(call.connection)
    owner = prices.owner_of(call.connection, wanted.tenant, contract=wanted.contract)
    if wanted.format == "json" or wanted.format == "csv":
        read = read_cards(wanted.text, wanted.format, owner)
    else:
        at = instant("body", "effective_from", wanted.effective_from, UTC)
        read = read_published_cards(
            wanted.text,
            wanted.format,
            known,
            provider=wanted.provider,
            models=wanted.models,
            effective_from=at or call.at.replace(microsecond=0),
            owner=owner,
        )
    if len(read.cards) > IMPORT_CARDS_MAX:
        raise Problem("too-large", f"An import has at most {IMPORT_CARDS_MAX:,} cards: split the file.")
    return Answer(_shown(owner, read, compare(read.cards, known)))


def _shown(owner: str, read: Read, changes: tuple[CardChange, ...]) -> CardsDiff:
    return CardsDiff(owner=owner, cards=[_card(one) for one in changes], left_out=list(read.left_out))


def _card(one: CardChange) -> CardChangeOut:
    return CardChangeOut(
        provider=one.card.provider,
        model=one.card.model,
        effective_from=one.card.effective_from,
        source=one.card.source,
        prices=priced(one.card.prices),
        what=one.fate.value,
        held_from=one.held.effective_from if one.held else None,
        meters=[_meter(change) for change in one.meters],
    )


def _meter(one: MeterChange) -> MeterChangeOut:
    return MeterChangeOut(
        meter=one.meter.value, what=one.move.value, before=_price(one.before), after=_price(one.after)
    )


def _price(price: Price | None) -> PriceOut | None:
    return None if price is None else price_out(price)


ROUTES = (
    Route(
        method="POST",
        path="/rate-cards/diff",
        summary="Show what an import of rate cards would change; nothing is added",
        roles=ADMINS,
        handler=compare_cards,
        body=CardsText,
        result=CardsDiff,
        opens=Opens.READING,
        installation=True,
        body_bytes_max=IMPORT_BYTES_MAX,
    ),
)
