"""`talkmeter prices import --source`: published price data beside the rate cards, as a diff first."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import typer

from proxy.cli.output import ID, NUMBER, act, database, note, print_json, print_table
from proxy.core.rating import CardBook, Price
from proxy.store import prices as store
from proxy.store.card_diff import origin
from proxy.store.card_files import price_text
from proxy.store.database import reading, writing
from proxy.store.price_diff import ModelDiff, What, diff
from proxy.store.published_prices import Source, read_published


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to compare: the text of a published file, and with which cards."""

    text: str
    source: Source
    provider: str
    models: tuple[str, ...]
    effective_from: datetime
    contract: bool
    tenant: str | None


def compare(wanted: Wanted, *, apply: bool, json: bool) -> None:
    """Show what differs; add the new cards if `apply` says so."""
    with database() as engine:
        published = read_published(wanted.text, wanted.source, wanted.provider)
        with writing(engine) if apply else reading(engine) as connection:
            owner = store.owner_of(connection, wanted.tenant, contract=wanted.contract)
            found = diff(
                published,
                CardBook(store.load_cards(connection)),
                provider=wanted.provider,
                models=wanted.models,
                effective_from=wanted.effective_from,
                source=origin(wanted.text, wanted.source),
                owner=owner,
            )
            cards = [one.card for one in found if one.card is not None]
            if apply and cards:
                store.import_cards(connection, cards, act())
    if json:
        for one in found:
            print_json({**_shown(one), "added": apply and one.card is not None})
    else:
        _print(found, apply)


def _shown(one: ModelDiff) -> dict[str, Any]:
    meters = {
        each.meter.value: {
            "what": each.what.value,
            "ours": _priced(each.ours),
            "published": _priced(each.published),
        }
        for each in one.meters
    }
    return {"model": one.model, "differs": one.card is not None, "meters": meters, "left_out": one.left_out}


def _priced(price: Price | None) -> dict[str, str] | None:
    if price is None:
        return None
    usd, per = price_text(price)
    return {"usd": usd, "per": per}


def _print(found: tuple[ModelDiff, ...], apply: bool) -> None:
    rows = []
    for one in (one for one in found if one.card is not None):
        told = [each for each in one.meters if each.what is not What.SAME]
        for number, each in enumerate(told):
            texts = [price_text(price) if price else ("", "") for price in (each.ours, each.published)]
            per = texts[0][1] or texts[1][1]
            rows.append(
                (one.model if number == 0 else "", each.meter, texts[0][0], texts[1][0], per, each.what)
            )
    if rows:
        titles = (("Model", ID), ("Meter", ID), ("Ours $", NUMBER), ("Published $", NUMBER), "Per", "What")
        print_table(titles, rows)
    changed = sum(one.card is not None for one in found)
    typer.echo(f"Models compared: {len(found)}. Different: {changed}.")
    for one in found:
        for why in one.left_out:
            note(f"{one.model}: {why}")
    if changed:
        note("New cards were added." if apply else "Nothing was added: --apply does.")
