"""`/rate-cards`: prices. A price change is a new card, from an instant on."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from proxy.admin.api.models import (
    At,
    Id,
    Input,
    Model,
    NameOrId,
    Nothing,
    Output,
    Paged,
    PageParams,
    Text,
    Time,
    described,
)
from proxy.admin.api.pages import paged
from proxy.admin.api.periods import instant
from proxy.admin.api.problems import invalid
from proxy.admin.api.routes import ADMINS, FINANCE_READERS, Answer, Call, Route
from proxy.core.rating import Price, RateCard
from proxy.core.usage import Meter
from proxy.store import prices
from proxy.store.card_files import (
    FORMAT,
    METERS,
    NAME_CHARS_MAX,
    SOURCE_CHARS_MAX,
    NewCard,
    parse_cards,
    parse_price,
    price_text,
)
from proxy.store.pages import Page

IMPORT_BYTES_MAX = 8 * 1024 * 1024
IMPORT_CARDS_MAX = 10_000

Per = Literal["million", "minute", "each"]
CardName = Annotated[Text, Field(min_length=1, max_length=NAME_CHARS_MAX)]
PRICE_PATTERN = r"^[0-9]{1,10}(\.[0-9]{1,15})?$"


def _price(text: str) -> str:
    if not re.fullmatch(PRICE_PATTERN, text):
        raise ValueError("it should be dollars, such as 32.00, in a string")
    return text


PriceUsd = Annotated[str, described(PRICE_PATTERN), AfterValidator(_price), Field(examples=["32.00"])]


class PriceOut(Output):
    """Dollars per million units or per minute."""

    usd: str
    per: str


class CardOut(Output):
    """A rate card: what a model costs from an instant on."""

    id: str
    provider: str
    model: str
    effective_from: At
    added_at: At
    source: str
    owner: str = Field(description="`public`, `contract`, or the id of the tenant that it was agreed with.")
    prices: dict[str, PriceOut]


class CardNamed(Output):
    """A card without its prices."""

    provider: str
    model: str
    effective_from: At


class Imported(Output):
    """What was added, and what was there already."""

    added: list[CardNamed]
    unchanged: list[CardNamed]


class PriceNew(Input):
    """A price."""

    usd: PriceUsd
    per: Per


class CardNew(Input):
    """A card to be added."""

    provider: CardName
    model: CardName
    effective_from: Time
    source: Annotated[Text, Field(min_length=1, max_length=SOURCE_CHARS_MAX)]
    prices: Annotated[dict[Meter, PriceNew], Field(min_length=1, max_length=len(METERS))]


class Owned(Input):
    """Whose prices: the public's unless told otherwise."""

    contract: Annotated[bool, Field(description="What the upstream charges us.")] = False
    tenant: Annotated[NameOrId | None, Field(description="Agreed with this tenant.")] = None

    @model_validator(mode="after")
    def _is_of_one(self) -> Self:
        if self.contract and self.tenant is not None:
            raise ValueError("a card is of the contract or of a tenant: give one of them")
        return self


class CardsNew(Owned):
    """Cards to be added: all of them, or none."""

    cards: Annotated[list[CardNew], Field(min_length=1, max_length=IMPORT_CARDS_MAX)]


class PriceChange(Owned):
    """One price of a model that changes; the others stay as they are at that instant."""

    provider: CardName = "openai"
    model: CardName
    meter: Meter
    usd: PriceUsd
    per: Annotated[Per | None, Field(description="Else minute for durations, million for tokens.")] = None
    effective_from: Annotated[Time | None, Field(description="Now if left out.")] = None


class CardParams(PageParams):
    """Which cards."""

    model: Annotated[Model | None, Field(description="Only of this model.")] = None


class CardPath(Input):
    """Which card."""

    card_id: Id


def list_cards(call: Call[CardParams, Nothing]) -> Answer:
    """Answer with a page of cards, past and future ones too, by id."""
    added: dict[str, datetime] = {}

    def fetch(page: Page) -> list[RateCard]:
        cards = prices.page_of_cards(call.connection, page, call.params.model)
        added.update(prices.added_at(call.connection, [one.id for one in cards]))
        return cards

    return paged(
        call, fetch, key=lambda one: (one.id,), kinds=(str,), show=lambda one: _shown(one, added[one.id])
    )


def show_card(call: Call[CardPath, Nothing]) -> Answer:
    """Answer with one card."""
    found = prices.find_card(call.connection, call.params.card_id, call.within)
    return Answer(_shown(found, prices.added_at(call.connection, [found.id])[found.id]))


def add_cards(call: Call[Nothing, CardsNew]) -> Answer:
    """Add cards, as the file of `prices import` does."""
    cards = [one.model_dump(mode="json") for one in call.body.cards]
    parsed = parse_cards(json.dumps({"format": FORMAT, "cards": cards}), "json")
    owner = prices.owner_of(call.connection, call.body.tenant, contract=call.body.contract)
    owned = [replace(one, owner=owner) for one in parsed]
    return _imported(prices.import_cards(call.connection, owned, call.act()))


def change_price(call: Call[Nothing, PriceChange]) -> Answer:
    """Change one price from an instant on."""
    wanted = call.body
    if wanted.meter not in METERS:
        raise invalid("body", "meter", f"it should be one of {', '.join(METERS)}")
    per = wanted.per or ("minute" if wanted.meter is Meter.DURATION_MS else "million")
    try:
        price = parse_price(wanted.meter, wanted.usd, per)
    except ValueError as error:
        raise invalid("body", "usd", str(error)) from None
    at = instant("body", "effective_from", wanted.effective_from, UTC) or call.at.replace(microsecond=0)
    imported = prices.set_price(
        call.connection,
        provider=wanted.provider,
        model=wanted.model,
        meter=wanted.meter,
        price=price,
        effective_from=at,
        act=call.act(),
        owner=prices.owner_of(call.connection, wanted.tenant, contract=wanted.contract),
    )
    return _imported(imported)


def _shown(card: RateCard, added_at: datetime) -> CardOut:
    shown: dict[str, Any] = {
        name: getattr(card, name) for name in ("id", "provider", "model", "effective_from", "source", "owner")
    }
    return CardOut(**shown, added_at=added_at, prices=priced(card.prices))


def priced(found: Mapping[Meter, Price]) -> dict[str, PriceOut]:
    """Return prices as people write them, by their meter."""
    return {meter.value: price_out(price) for meter, price in sorted(found.items())}


def price_out(price: Price) -> PriceOut:
    """Return a price as people write it."""
    usd, per = price_text(price)
    return PriceOut(usd=usd, per=per)


def _imported(imported: prices.Imported) -> Answer:
    return Answer(Imported(added=_named(imported.added), unchanged=_named(imported.unchanged)))


def _named(cards: tuple[NewCard, ...]) -> list[CardNamed]:
    return [CardNamed.model_validate(card) for card in cards]


ROUTES = (
    Route(
        method="GET",
        path="/rate-cards",
        summary="List rate cards, past and future ones too",
        roles=FINANCE_READERS,
        handler=list_cards,
        params=CardParams,
        result=Paged[CardOut],
    ),
    Route(
        method="POST",
        path="/rate-cards",
        summary="Add rate cards: all of them, or none if one cannot be used",
        roles=ADMINS,
        handler=add_cards,
        body=CardsNew,
        result=Imported,
        installation=True,
        creates=True,
        body_bytes_max=IMPORT_BYTES_MAX,
    ),
    Route(
        method="GET",
        path="/rate-cards/{card_id}",
        summary="Show a rate card",
        roles=FINANCE_READERS,
        handler=show_card,
        params=CardPath,
        result=CardOut,
    ),
    Route(
        method="POST",
        path="/rate-cards/prices",
        summary="Change one price of a model from an instant on",
        roles=ADMINS,
        handler=change_price,
        body=PriceChange,
        result=Imported,
        installation=True,
        creates=True,
    ),
)
