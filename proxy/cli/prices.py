"""`talkmeter prices`: rate cards listed, imported and superseded."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer

from proxy.cli.output import (
    ID,
    NUMBER,
    JsonOption,
    act,
    database,
    fail,
    instant,
    now,
    print_json,
    print_table,
)
from proxy.cli.price_diff import Wanted, compare
from proxy.cli.root import app
from proxy.core.rating import CardBook, RateCard
from proxy.core.usage import Meter
from proxy.store import prices as store
from proxy.store.card_files import (
    FILE_CHARS_MAX,
    METERS,
    NAME_CHARS_MAX,
    FileFormat,
    NewCard,
    parse_cards,
    parse_price,
    price_text,
)
from proxy.store.database import reading, writing
from proxy.store.published_prices import Source, source_of

prices = typer.Typer(
    no_args_is_help=True, help="Rate cards. A price change is a new card, from an instant on."
)
app.add_typer(prices, name="prices")

ContractOption = Annotated[
    bool, typer.Option("--contract", help="What the upstream charges us, where that is not the public price.")
]
AgreedOption = Annotated[
    str | None, typer.Option("--tenant", help="Prices agreed with this tenant (name or id).")
]


@prices.command("list")
def list_prices(
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    all: Annotated[bool, typer.Option("--all", help="Past and future cards too.")] = False,
    contract: ContractOption = False,
    tenant: AgreedOption = None,
    json: JsonOption = False,
) -> None:
    """List the public rate cards that hold now, or all; or those of a contract, or agreed with a tenant."""
    _check_owner(contract, tenant)
    with database() as engine, reading(engine) as connection:
        owner = store.owner_of(connection, tenant, contract=contract)
        cards = [card for card in store.load_cards(connection) if card.owner == owner]
    cards = [card for card in cards if model in (None, card.model)]
    if not all:
        book, at = CardBook(cards), now()
        cards = [card for card in cards if book.find(card.provider, card.model, at, owner) is card]
    if json:
        print_json([_shown(card) for card in cards])
        return
    rows = []
    for card in cards:
        priced = [(meter, *price_text(card.prices[meter])) for meter in METERS if meter in card.prices]
        for number, (meter, usd, per) in enumerate(priced):
            head = (card.provider, card.model, card.effective_from) if number == 0 else ("", "", "")
            rows.append((*head, meter, usd, per))
    print_table(("Provider", ("Model", ID), "From", ("Meter", ID), ("USD", NUMBER), "Per"), rows)


def _check_owner(contract: bool, tenant: str | None) -> None:
    if contract and tenant is not None:
        raise typer.BadParameter(
            "a card is of the contract or of a tenant: give one of them", param_hint="--contract"
        )


def _shown(card: RateCard) -> dict[str, Any]:
    texts = {meter.value: price_text(price) for meter, price in sorted(card.prices.items())}
    return {
        "id": card.id,
        "provider": card.provider,
        "model": card.model,
        "effective_from": card.effective_from,
        "source": card.source,
        "prices": {meter: {"usd": usd, "per": per} for meter, (usd, per) in texts.items()},
    }


@prices.command("import")
def import_prices(
    file: Annotated[Path, typer.Argument(help="A JSON or CSV file; `-` is the standard input.")],
    format: Annotated[
        Literal["json", "csv"] | None, typer.Option(help="What the file is, if its name does not say so.")
    ] = None,
    contract: ContractOption = False,
    tenant: AgreedOption = None,
    source: Annotated[
        Source | None, typer.Option(help="Published price data: shows a diff, and adds cards with --apply.")
    ] = None,
    provider: Annotated[str, typer.Option(help="With --source: whose models.")] = "openai",
    model: Annotated[
        list[str] | None,
        typer.Option(help="With --source: only these, else all that speak, transcribe or have a card."),
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="With --source: from when on; now if left out.")
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="With --source: add the cards.")] = False,
    json: JsonOption = False,
) -> None:
    """Add the rate cards of a file: all of them, or none if one cannot be used.

    With --source, the published price data of LiteLLM or genai-prices are compared with the cards that hold.
    """
    _check_owner(contract, tenant)
    text = _read(file)
    if source is not None:
        at = instant("--from", start) or now().replace(microsecond=0)
        wanted = Wanted(text, source, provider, tuple(model or ()), at, contract, tenant)
        return compare(wanted, apply=apply, json=json)
    if model or start or apply:
        raise typer.BadParameter("these need --source", param_hint="--model, --from, --apply")
    if (published := source_of(text)) is not None:
        raise typer.BadParameter(f"published prices: add --source {published}", param_hint="FILE")
    with database() as engine:
        cards = parse_cards(text, format or _format(file))
        with writing(engine) as connection:
            owner = store.owner_of(connection, tenant, contract=contract)
            imported = store.import_cards(connection, [replace(one, owner=owner) for one in cards], act())
    _print_imported(imported, json)


def _read(file: Path) -> str:
    try:
        if str(file) == "-":
            return sys.stdin.read(FILE_CHARS_MAX + 1)
        with file.open(encoding="utf-8") as stream:
            return stream.read(FILE_CHARS_MAX + 1)
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "it is not UTF-8 text"
        fail(f"{file} cannot be read: {reason}")


def _format(file: Path) -> FileFormat:
    suffix = file.suffix.lower().removeprefix(".")
    if suffix not in ("json", "csv"):
        raise typer.BadParameter("say whether it is json or csv", param_hint="--format")
    return cast(FileFormat, suffix)


@prices.command("set")
def set_price(
    model: str,
    meter: Annotated[str, typer.Argument(help=f"One of {', '.join(METERS)}.")],
    usd: Annotated[str, typer.Argument(help="Dollars, such as 32.00.")],
    per: Annotated[
        Literal["million", "minute", "each"] | None,
        typer.Option(help="Tokens are priced per million unless you say each; durations per minute."),
    ] = None,
    start: Annotated[str | None, typer.Option("--from", help="A day or an instant; now if left out.")] = None,
    provider: str = "openai",
    contract: ContractOption = False,
    tenant: AgreedOption = None,
    json: JsonOption = False,
) -> None:
    """Change one price from an instant on. The card's other prices stay as they are then."""
    _check_owner(contract, tenant)
    _check_name("MODEL", model)
    _check_name("--provider", provider)
    if meter not in METERS:
        raise typer.BadParameter(f"{meter!r} is not one of {', '.join(METERS)}", param_hint="METER")
    counted = Meter(meter)
    try:
        price = parse_price(counted, usd, per or ("minute" if counted is Meter.DURATION_MS else "million"))
    except ValueError as problem:
        raise typer.BadParameter(str(problem)) from None
    at = instant("--from", start) or now().replace(microsecond=0)
    with database() as engine, writing(engine) as connection:
        imported = store.set_price(
            connection,
            provider=provider,
            model=model,
            meter=counted,
            price=price,
            effective_from=at,
            act=act(),
            owner=store.owner_of(connection, tenant, contract=contract),
        )
    _print_imported(imported, json)


def _check_name(parameter: str, name: str) -> None:
    if not name.strip() or not name.isprintable() or len(name) > NAME_CHARS_MAX:
        raise typer.BadParameter(
            f"a name has 1 to {NAME_CHARS_MAX} printable characters", param_hint=parameter
        )


def _print_imported(imported: store.Imported, json: bool) -> None:
    if json:
        print_json({"added": _named(imported.added), "unchanged": _named(imported.unchanged)})
        return
    for card in imported.added:
        typer.echo(f"added      {card.name}")
    for card in imported.unchanged:
        typer.echo(f"unchanged  {card.name}")


def _named(cards: tuple[NewCard, ...]) -> list[dict[str, Any]]:
    return [
        {"provider": card.provider, "model": card.model, "effective_from": card.effective_from}
        for card in cards
    ]
