"""`talkmeter markup`: what tenants are billed on top of our cost."""

from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer

from proxy.cli.output import (
    ID,
    NUMBER,
    JsonOption,
    ReasonOption,
    act,
    database,
    instant,
    now,
    print_json,
    print_table,
)
from proxy.cli.root import app
from proxy.store.database import reading, writing
from proxy.store.markups import MarkupRow
from proxy.store.markups import list_markups as load
from proxy.store.markups import set_markup as store_markup

markup = typer.Typer(
    no_args_is_help=True, help="What tenants are billed: our cost with a markup, or a discount."
)
app.add_typer(markup, name="markup")

PERCENT_DIGITS_MAX = 6


@markup.command("set", context_settings={"ignore_unknown_options": True})
def set_markup(
    percent: Annotated[
        str, typer.Argument(help="On top of our cost: 15, or -2.5 for a discount; 0 ends it.")
    ],
    tenant: Annotated[str | None, typer.Option(help="Of this tenant (name or id).")] = None,
    all_tenants: Annotated[
        bool, typer.Option("--all-tenants", help="Of all tenants that have none of their own.")
    ] = False,
    start: Annotated[str | None, typer.Option("--from", help="A day or an instant; now if left out.")] = None,
    reason: ReasonOption = None,
    json: JsonOption = False,
) -> None:
    """Set a markup from an instant on. What was booked before stays; `prices rerate` corrects it."""
    if (tenant is None) is not all_tenants:
        raise typer.BadParameter("give either --tenant or --all-tenants")
    at = instant("--from", start) or now().replace(microsecond=0)
    points = _basis_points(percent)
    with database() as engine, writing(engine) as connection:
        made = store_markup(connection, tenant, points, at, act(reason))
    if json:
        print_json(_shown(made))
    else:
        whose = f"Tenant {made.tenant} is" if made.tenant else "Tenants without a markup of their own are"
        typer.echo(
            f"{whose} billed our cost {_in_words(made)} from {made.effective_from:%Y-%m-%d %H:%M}Z on."
        )


def _in_words(one: MarkupRow) -> str:
    return f"with {one.percent} on top" if one.basis_points >= 0 else f"less {one.percent[1:]}"


def _basis_points(percent: str) -> int:
    try:
        given = Decimal(percent.removesuffix("%"))
    except InvalidOperation:
        raise typer.BadParameter(f"{percent!r} is not a percentage", param_hint="PERCENT") from None
    if not given.is_finite() or given.adjusted() > PERCENT_DIGITS_MAX or given != round(given, 2):
        raise typer.BadParameter("give a percentage with at most two decimals", param_hint="PERCENT")
    return int(given.scaleb(2))


@markup.command("list")
def list_markups(json: JsonOption = False) -> None:
    """List all markups, past and future ones too. A tenant's own goes before that of all."""
    with database() as engine, reading(engine) as connection:
        found = load(connection)
    if json:
        print_json([_shown(one) for one in found])
    else:
        rows = [(one.tenant or "(all)", one.percent, one.effective_from, one.id) for one in found]
        print_table(("Tenant", ("Markup", NUMBER), "From", ("Id", ID)), rows)


def _shown(one: MarkupRow) -> dict[str, object]:
    return {
        "id": one.id,
        "tenant": one.tenant,
        "basis_points": one.basis_points,
        "effective_from": one.effective_from,
        "created_at": one.created_at,
    }
