"""`talkmeter ledger adjust` and `credit`: amounts that people book, each with a reason."""

from dataclasses import replace
from typing import Annotated

import typer

from proxy.cli.approvals import print_asked, rule_of
from proxy.cli.ledger import ledger
from proxy.cli.output import JsonOption, act, database, instant, print_json, settings, usd
from proxy.core.money import format_usd
from proxy.core.records import Kind
from proxy.store.adjustments import Adjustment
from proxy.store.approvals import Approval
from proxy.store.chain import chain
from proxy.store.database import writing
from proxy.store.four_eyes import book_or_ask
from proxy.store.instants import parse_zone
from proxy.store.ledger import Booked, find_entry

TenantOption = Annotated[str, typer.Option(help="Whose account: the tenant's name or id.")]
ProjectOption = Annotated[str | None, typer.Option(help="Of this project of the tenant.")]
ReasonOption = Annotated[str, typer.Option(help="Why: stands in the ledger, and in the audit log.")]
KeyOption = Annotated[
    str, typer.Option(help="What makes it this one, such as an invoice's number: booked once, for ever.")
]
AtOption = Annotated[str | None, typer.Option("--at", help="The day or instant it is for; now if left out.")]
CorrectsOption = Annotated[int | None, typer.Option(min=1, help="The entry (id) that it puts right.")]
ProviderOption = Annotated[str, typer.Option(help="Whose services it is about.")]


@ledger.command("adjust")
def adjust(
    tenant: TenantOption,
    reason: ReasonOption,
    key: KeyOption,
    amount: Annotated[
        str | None, typer.Option(help="Dollars, cost and billed alike; -5 takes five from both.")
    ] = None,
    cost: Annotated[str | None, typer.Option(help="Dollars: only what the provider charges.")] = None,
    billed: Annotated[str | None, typer.Option(help="Dollars: only what the tenant owes.")] = None,
    project: ProjectOption = None,
    provider: ProviderOption = "openai",
    at: AtOption = None,
    corrects: CorrectsOption = None,
    json: JsonOption = False,
) -> None:
    """Book an amount beside what was metered, such as a difference to an invoice. No budget moves."""
    if (amount is None) == (cost is None and billed is None):
        raise typer.BadParameter("give either --amount, or --cost, --billed or both")
    both = usd("--amount", amount) if amount is not None else 0
    _book(
        Adjustment(
            key=key,
            kind=Kind.ADJUSTMENT,
            tenant=tenant,
            project=project,
            provider=provider,
            cost_nanousd=usd("--cost", cost) if cost is not None else both,
            billed_nanousd=usd("--billed", billed) if billed is not None else both,
            corrects=corrects,
        ),
        reason,
        at,
        json,
    )


@ledger.command("credit")
def credit(
    tenant: TenantOption,
    amount: Annotated[str, typer.Option(help="Dollars that the tenant owes less; above 0.")],
    reason: ReasonOption,
    key: KeyOption,
    project: ProjectOption = None,
    provider: ProviderOption = "openai",
    at: AtOption = None,
    corrects: CorrectsOption = None,
    json: JsonOption = False,
) -> None:
    """Take an amount from what a tenant owes. What the provider charges stays, and no budget moves."""
    given = usd("--amount", amount)
    if given <= 0:
        raise typer.BadParameter("a credit is above 0", param_hint="--amount")
    _book(
        Adjustment(
            key=key,
            kind=Kind.CREDIT,
            tenant=tenant,
            project=project,
            provider=provider,
            cost_nanousd=0,
            billed_nanousd=-given,
            corrects=corrects,
        ),
        reason,
        at,
        json,
    )


def _book(wanted: Adjustment, reason: str, at: str | None, json: bool) -> None:
    given = settings()
    zone = parse_zone(given.period_timezone)
    with database(given) as engine, writing(engine) as connection:
        own_zone = chain(connection).periods(zone).zone
        wanted = replace(wanted, occurred_at=instant("--at", at, own_zone))
        booking = book_or_ask(connection, wanted, act(reason), zone, rule_of(given))
        if isinstance(booking, Approval):
            print_asked(booking, json)
            return
        entry = find_entry(connection, booking.entry_id)
    if json:
        print_json({**entry.as_json(), "new": booking.new})
    else:
        typer.echo(_sentence(entry, booking.new))


def _sentence(entry: Booked, new: bool) -> str:
    amounts = f"cost {_signed(entry.cost_nanousd)}, billed {_signed(entry.billed_nanousd)}"
    concerns = f", a correction of {entry.corrects_period}" if entry.corrects_period else ""
    what = f"Entry {entry.id}: {entry.kind} for {entry.tenant}, {amounts}, period {entry.period}{concerns}."
    return what if new else f"{what} It was booked before; nothing has changed."


def _signed(nanousd: int | None) -> str:
    amount = nanousd or 0
    return f"{'-' if amount < 0 else ''}${format_usd(abs(amount))}"
