"""`talkmeter budget`: how much may be spent by whom, and what happens then."""

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
    usd,
)
from proxy.cli.root import app
from proxy.core.budgets import OnExhausted, OnStoreDown, Scope
from proxy.core.money import format_usd
from proxy.core.windows import Window
from proxy.store import budgets as store
from proxy.store.budget_list import Listed
from proxy.store.budget_list import list_budgets as stored_budgets
from proxy.store.database import reading, writing
from proxy.store.tenants import find_tenant

budget = typer.Typer(no_args_is_help=True, help="How much may be spent by whom, and what happens then.")
app.add_typer(budget, name="budget")

UNLIMITED = "unlimited"


@budget.command("set")
def set_budget(
    amount: Annotated[str, typer.Option(help="Dollars, such as 50; 0 blocks; or `unlimited`.")],
    window: Annotated[Window, typer.Option(help="How long the amount has to last.")],
    tenant: Annotated[str | None, typer.Option(help="The tenant's name or id.")] = None,
    project: Annotated[str | None, typer.Option(help="Only this project of the tenant.")] = None,
    key: Annotated[str | None, typer.Option(help="Only this API key (id).")] = None,
    user: Annotated[str | None, typer.Option(help="Only this end user of the tenant.")] = None,
    each_user: Annotated[bool, typer.Option("--each-user", help="Every end user so much.")] = False,
    organisation: Annotated[bool, typer.Option("--organisation", help="All tenants together.")] = False,
    zone: Annotated[
        str | None, typer.Option(help="Where windows begin and end, such as Europe/Berlin; else UTC.")
    ] = None,
    on_exhausted: Annotated[
        OnExhausted | None, typer.Option(help="What happens when it is spent; cut if never said.")
    ] = None,
    on_store_down: Annotated[
        OnStoreDown | None,
        typer.Option(help="What happens when the database does not answer; terminate if never said."),
    ] = None,
    store_down_amount: Annotated[
        str | None, typer.Option(help="Dollars that `--on-store-down continue` may spend.")
    ] = None,
    thresholds: Annotated[
        str | None, typer.Option(help="Percents to announce, such as 50,80,100; or `none`.")
    ] = None,
    forecast_thresholds: Annotated[
        str | None,
        typer.Option(help="Percents to announce when a forecast reaches them, such as 100; or `none`."),
    ] = None,
    reason: ReasonOption = None,
    json: JsonOption = False,
) -> None:
    """Set a budget, or change the one with the same owner and window. What is not said stays as it is."""
    scope, name = owner_of(tenant, project, key, user, each_user, organisation)
    nanousd = None if amount == UNLIMITED else usd("--amount", amount)
    terms = store.Terms(
        zone=zone,
        on_exhausted=on_exhausted,
        on_store_down=on_store_down,
        store_down_nanousd=usd("--store-down-amount", store_down_amount) if store_down_amount else None,
        thresholds=_percents("--thresholds", thresholds),
        forecast_thresholds=_percents("--forecast-thresholds", forecast_thresholds),
    )
    with database() as engine, writing(engine) as connection:
        made = store.set_budget(
            connection,
            act(reason),
            scope=scope,
            window=window,
            amount_nanousd=nanousd,
            tenant=tenant,
            name=name,
            terms=terms,
        )
    print_json(made.as_json()) if json else typer.echo(f"{_sentence(made)} ({made.rule.id}).")


def owner_of(
    tenant: str | None,
    project: str | None,
    key: str | None,
    user: str | None,
    each_user: bool,
    organisation: bool,
) -> tuple[Scope, str | None]:
    """Return whose budget is meant, and the project, key or user; contradictions end with 2."""
    chosen: list[tuple[str, Scope, str | None]] = [
        (option, scope, name)
        for option, scope, name, given in (
            ("--project", Scope.PROJECT, project, project is not None),
            ("--key", Scope.KEY, key, key is not None),
            ("--user", Scope.END_USER, user, user is not None),
            ("--each-user", Scope.EACH_USER, None, each_user),
            ("--organisation", Scope.ORGANISATION, None, organisation),
        )
        if given
    ]
    if len(chosen) > 1:
        options = " and ".join(option for option, _, _ in chosen)
        raise typer.BadParameter(f"{options} contradict each other: a budget has one owner; set one for each")
    option, scope, name = chosen[0] if chosen else ("--tenant", Scope.TENANT, None)
    if scope is Scope.ORGANISATION and tenant is not None:
        raise typer.BadParameter("--organisation counts all tenants: leave --tenant out")
    if scope not in (Scope.ORGANISATION, Scope.KEY) and tenant is None:
        wanted = "say whose it is: --tenant, or --organisation for all tenants together"
        raise typer.BadParameter(wanted if option == "--tenant" else f"{option} needs --tenant")
    return scope, name


def _percents(option: str, text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    if text == "none":
        return ()
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not a list of whole percents, such as 50,80,100", param_hint=option
        ) from None


@budget.command("list")
def list_budgets(
    tenant: Annotated[str | None, typer.Option(help="Only of this tenant (name or id).")] = None,
    json: JsonOption = False,
) -> None:
    """List budgets with what is spent and left in the window that is now."""
    with database() as engine, reading(engine) as connection:
        tenant_id = find_tenant(connection, tenant).id if tenant else None
        found = stored_budgets(connection, now(), tenant_id=tenant_id)
    if json:
        print_json([one.as_json() for one in found])
        return
    titles = (
        ("Budget", ID),
        "Scope",
        "Whose",
        "Window",
        "Zone",
        ("Amount $", NUMBER),
        ("Spent $", NUMBER),
        ("Left $", NUMBER),
        "Exhausted",
        "Store down",
        "Raises",
    )
    print_table(titles, [_row(one) for one in found], spare=("Store down", "Zone", "Raises", "Scope"))


def _row(one: Listed) -> tuple[object, ...]:
    rule = one.rule
    return (
        rule.id,
        rule.scope.value,
        whose(one),
        rule.window.value,
        rule.zone.key,
        UNLIMITED if one.amount_nanousd is None else format_usd(one.amount_nanousd),
        None if one.spent_nanousd is None else format_usd(one.spent_nanousd),
        None if one.left_nanousd is None else format_usd(one.left_nanousd),
        rule.on_exhausted.value,
        rule.on_store_down.value,
        ", ".join(
            f"+{format_usd(raised.amount_nanousd)} from {raised.starts_at:%Y-%m-%d %H:%M}Z"
            f" until {raised.ends_at:%Y-%m-%d %H:%M}Z"
            for raised in one.raises
            if raised.ends_at > one.at
        ),
    )


def whose(one: Listed) -> str:
    """Return whose budget it is, for people."""
    match one.rule.scope:
        case Scope.ORGANISATION:
            return "all tenants"
        case Scope.PROJECT:
            return f"{one.tenant}, project {one.project}"
        case Scope.KEY:
            return f"{one.tenant}, key {one.rule.api_key_id}" + (f" ({one.key})" if one.key else "")
        case Scope.END_USER:
            return f"{one.tenant}, user {one.end_user or one.rule.end_user_id}"
        case Scope.EACH_USER:
            return f"{one.tenant}, each user"
        case _:
            return one.tenant or ""


def _sentence(one: Listed) -> str:
    amount = one.rule.amount_nanousd
    much = UNLIMITED if amount is None else f"${format_usd(amount)}"
    return f"The {one.rule.window} budget of {whose(one)} is {much}"


@budget.command("delete")
def delete_budget(id: str, reason: ReasonOption = None, json: JsonOption = False) -> None:
    """Delete a budget: it limits nothing any more."""
    with database() as engine, writing(engine) as connection:
        found = store.delete_budget(connection, act(reason), id)
    said = f"The {found.rule.window} budget of {whose(found)} is deleted."
    print_json(found.as_json()) if json else typer.echo(said)


@budget.command("raise")
def raise_budget(
    id: str,
    amount: Annotated[str, typer.Option(help="Dollars on top, such as 20.")],
    until: Annotated[str, typer.Option(help="A day or an instant from which it no longer counts.")],
    reason: Annotated[str, typer.Option(help="Why: kept with the raise and in the audit log.")],
    start: Annotated[str | None, typer.Option("--from", help="A day or an instant; now if left out.")] = None,
    json: JsonOption = False,
) -> None:
    """Put an amount on top of a budget for some time."""
    doing = act(reason)
    more = usd("--amount", amount)
    starts_at = instant("--from", start) or doing.at
    ends_at = instant("--until", until) or doing.at
    with database() as engine, writing(engine) as connection:
        found = store.raise_budget(
            connection,
            doing,
            id,
            amount_nanousd=more,
            starts_at=starts_at,
            ends_at=ends_at,
        )
    if json:
        print_json(found.as_json())
        return
    shown = f"{starts_at:%Y-%m-%d %H:%M}Z until {ends_at:%Y-%m-%d %H:%M}Z"
    typer.echo(f"{_sentence(found)}, and ${format_usd(more)} more from {shown}.")
