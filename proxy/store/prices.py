"""Rate cards in the database. Cards are never edited: a new card supersedes from its instant on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, insert, select, true

from proxy.core.rating import CONTRACT, PUBLIC, CardBook, Price, RateCard
from proxy.core.usage import Meter
from proxy.ids import new_id
from proxy.store import Conflict, NotFound
from proxy.store.audit import Act
from proxy.store.card_files import NewCard, parse_cards, price_text
from proxy.store.changes import bump
from proxy.store.markups import load_markups
from proxy.store.pages import Page, Within, is_within
from proxy.store.schema import rate_card, rate_price
from proxy.store.tenants import find_tenant

_Key = tuple[str, str, str, datetime]
CARDS_PER_QUERY = 500
NOTED_CARDS_MAX = 50  # by name in the audit log
_METERS = frozenset(meter.value for meter in Meter)


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did."""

    added: tuple[NewCard, ...]
    unchanged: tuple[NewCard, ...]


def load_cards(connection: Connection) -> tuple[RateCard, ...]:
    """Return all cards, by provider, model and instant."""
    prices = _prices(connection, true())
    rows = connection.execute(select(rate_card).order_by("provider", "model", "effective_from"))
    return tuple(_card(row, prices) for row in rows)


def page_of_cards(connection: Connection, page: Page, model: str | None = None) -> list[RateCard]:
    """Return a page of cards, by id: public ones, and of contracts and tenants those that may be seen."""
    query = select(rate_card)
    if page.within is not None:
        query = query.where(rate_card.c.owner.in_([PUBLIC, *sorted(page.within)]))
    if model is not None:
        query = query.where(rate_card.c.model == model)
    rows = connection.execute(page.of(query, rate_card.c.id, tenant_id=None)).all()
    prices = _prices(connection, rate_price.c.rate_card_id.in_([row.id for row in rows]))
    return [_card(row, prices) for row in rows]


def find_card(connection: Connection, card_id: str, within: Within = None) -> RateCard:
    """Raises StoreError: there is no such card, or it is not for tenants `within` to see."""
    row = connection.execute(select(rate_card).where(rate_card.c.id == card_id)).first()
    if row is None or not (row.owner == PUBLIC or is_within(row.owner, within)):
        raise NotFound(
            f"There is no rate card {card_id[:60]!r}: the list of rate cards says which there are."
        )
    return _card(row, _prices(connection, rate_price.c.rate_card_id == card_id))


def added_at(connection: Connection, ids: Iterable[str]) -> dict[str, datetime]:
    """Return when each of these cards was added, by its id."""
    found = select(rate_card.c.id, rate_card.c.created_at).where(rate_card.c.id.in_(sorted(set(ids))))
    return {row.id: row.created_at for row in connection.execute(found)}


def cards_of(connection: Connection, ids: Iterable[str]) -> dict[str, RateCard]:
    """Return those of these cards that there are, by their ids."""
    wanted = sorted(set(ids))
    found: dict[str, RateCard] = {}
    for start in range(0, len(wanted), CARDS_PER_QUERY):
        some = wanted[start : start + CARDS_PER_QUERY]
        prices = _prices(connection, rate_price.c.rate_card_id.in_(some))
        rows = connection.execute(select(rate_card).where(rate_card.c.id.in_(some)))
        found |= {row.id: _card(row, prices) for row in rows}
    return found


def _prices(connection: Connection, wanted: ColumnElement[bool]) -> Mapping[str, dict[Meter, Price]]:
    """Return prices by their card's id."""
    prices: dict[str, dict[Meter, Price]] = {}
    for row in connection.execute(select(rate_price).where(wanted)):
        if row.meter in _METERS:  # a newer version may price meters that this one cannot count
            prices.setdefault(row.rate_card_id, {})[Meter(row.meter)] = Price(
                row.price_nanousd, row.price_per
            )
    return prices


def _card(row: Row[Any], prices: Mapping[str, dict[Meter, Price]]) -> RateCard:
    return RateCard(
        row.id, row.provider, row.model, row.effective_from, prices.get(row.id, {}), row.source, row.owner
    )


def load_prices(connection: Connection, aliases: Mapping[str, str] | None = None) -> CardBook:
    """Return all cards and markups; `aliases` maps a deployment's name to the model that it runs."""
    return CardBook(load_cards(connection), aliases, load_markups(connection))


def owner_of(connection: Connection, tenant_name: str | None, *, contract: bool = False) -> str:
    """Return whose cards are meant: a tenant's, the contract's with the upstream, or the public's.

    Raises:
        StoreError: there is no such tenant.
    """
    if tenant_name is not None:
        return find_tenant(connection, tenant_name).id
    return CONTRACT if contract else PUBLIC


def import_cards(connection: Connection, cards: Iterable[NewCard], act: Act) -> Imported:
    """Add the cards that are not there yet.

    Raises:
        StoreError: a card is there for the same instant with other prices. The caller's transaction
            must then be rolled back, which `writing` does.
    """
    imported = _add(connection, cards, act.at)
    if added := imported.added:
        names = [card.name for card in added[:NOTED_CARDS_MAX]]
        after = {"added": names, "more": len(added) - len(names)}
        act.note(connection, "prices.import", f"{len(added)} rate cards", after=after)
    return imported


def _add(connection: Connection, cards: Iterable[NewCard], now: datetime) -> Imported:
    added, unchanged, different = _sort_out(connection, cards)
    if different:
        names = "\n".join(f"  {card.name}" for card in different)
        raise Conflict(
            "Nothing was imported: cards with other prices are there already, and cards are never"
            f" edited. Give the new ones a later effective_from:\n{names}"
        )
    _insert(connection, added, now)
    return Imported(tuple(added), tuple(unchanged))


def seed_cards(connection: Connection, now: datetime) -> None:
    """Add the cards that ship with this version; where an operator has put another, that one stays."""
    _insert(connection, unseeded_cards(connection), now)


def unseeded_cards(connection: Connection) -> list[NewCard]:
    """Return the shipped cards for whose model and instant the database has none."""
    added, _, _ = _sort_out(connection, shipped_cards())
    return added


@cache
def shipped_cards() -> tuple[NewCard, ...]:
    """Return the rate cards in the package."""
    text = files("proxy.store").joinpath("rate_cards.json").read_text(encoding="utf-8")
    return parse_cards(text, "json")


def set_price(
    connection: Connection,
    *,
    provider: str,
    model: str,
    meter: Meter,
    price: Price,
    effective_from: datetime,
    act: Act,
    owner: str = PUBLIC,
) -> Imported:
    """Add the owner's card that holds at `effective_from` with one price changed, from that instant on.

    A model without any card gets one with this price alone, and a tenant's card has only what was agreed. The
    first card of a contract begins with the public prices: what we are charged needs all of them.

    Raises:
        StoreError: a card with other prices starts at that very instant.
    """
    book = CardBook(load_cards(connection))
    known = book.find(provider, model, effective_from, owner)
    if known is None and owner == CONTRACT:
        known = book.find(provider, model, effective_from)
    prices: Mapping[Meter, Price] = known.prices if known else {}
    source = f"set by hand: {meter}" + (f", the rest from card {known.id}" if known else "")
    card = NewCard(provider, model, effective_from, source, {**prices, meter: price}, owner)
    imported = _add(connection, [card], act.at)
    if imported.added:
        old = prices.get(meter)
        before = {meter.value: _noted(old)} if old else None
        act.note(connection, "prices.set", card.name, before=before, after={meter.value: _noted(price)})
    return imported


def _noted(price: Price) -> dict[str, object]:
    usd, per = price_text(price)
    return {"price_nanousd": price.nanousd, "price_per": price.per, "usd": usd, "per": per}


def _sort_out(
    connection: Connection, cards: Iterable[NewCard]
) -> tuple[list[NewCard], list[NewCard], list[NewCard]]:
    """Return the cards that are new, those that are there already, and those that are there otherwise."""
    known = {_key(card): card.prices for card in load_cards(connection)}
    added: list[NewCard] = []
    unchanged: list[NewCard] = []
    different: list[NewCard] = []
    for card in cards:
        there = known.get(_key(card))
        if there is None:
            added.append(card)
        else:
            (unchanged if there == dict(card.prices) else different).append(card)
    return added, unchanged, different


def _key(card: NewCard | RateCard) -> _Key:
    return card.owner, card.provider, card.model, card.effective_from


def _insert(connection: Connection, cards: Iterable[NewCard], now: datetime) -> None:
    identified = [(new_id("card"), card) for card in cards]
    if not identified:
        return
    connection.execute(insert(rate_card), [_card_row(id, card, now) for id, card in identified])
    connection.execute(insert(rate_price), [row for id, card in identified for row in _price_rows(id, card)])
    bump(connection)


def _card_row(id: str, card: NewCard, now: datetime) -> dict[str, object]:
    return {
        "id": id,
        "provider": card.provider,
        "model": card.model,
        "effective_from": card.effective_from,
        "source": card.source,
        "created_at": now,
        "owner": card.owner,
    }


def _price_rows(id: str, card: NewCard) -> list[dict[str, object]]:
    return [
        {"rate_card_id": id, "meter": meter, "price_nanousd": price.nanousd, "price_per": price.per}
        for meter, price in card.prices.items()
    ]
