"""`talkmeter limit` and `model`: rules against runaway conversations, and which models may be used."""

from typing import Annotated

import typer

from proxy.cli.output import ID, JsonOption, ReasonOption, act, database, fail, print_json, print_table
from proxy.cli.payers import AnyTenantOption, TenantOption
from proxy.cli.root import app
from proxy.core.limits import LimitName
from proxy.store import StoreError
from proxy.store import limits as store
from proxy.store.database import reading, writing

limit = typer.Typer(
    no_args_is_help=True, help="Limits of tenants and keys that are not money over a calendar window."
)
model = typer.Typer(no_args_is_help=True, help="Which models tenants and keys may use.")
app.add_typer(limit, name="limit")
app.add_typer(model, name="model")

KeyOption = Annotated[str | None, typer.Option("--key", help="Of this key (id) of the tenant only.")]
Pattern = Annotated[str, typer.Argument(help="A model, or the beginning of names and a *.")]
Name = Annotated[LimitName, typer.Argument(help="Which limit.")]


@limit.command("set")
def set_limit(
    name: Name,
    value: Annotated[str, typer.Argument(help="Costs in dollars, times in seconds, else a number.")],
    tenant: TenantOption,
    key: KeyOption = None,
    reason: ReasonOption = None,
    json: JsonOption = False,
) -> None:
    """Set a limit. It reaches live sessions within two seconds."""
    try:
        parsed = store.parse_value(name, value)
    except StoreError as problem:
        fail(problem)
    with database() as engine, writing(engine) as connection:
        made = store.set_limit(connection, tenant, name, parsed, act=act(reason), key_id=key)
    print_json(made) if json else typer.echo(f"Limit {name} of {_whose(made)} is {made.figure}.")


@limit.command("remove")
def remove_limit(
    name: Name,
    tenant: TenantOption,
    key: KeyOption = None,
    reason: ReasonOption = None,
    json: JsonOption = False,
) -> None:
    """Remove a limit."""
    with database() as engine, writing(engine) as connection:
        removed = store.remove_limit(connection, tenant, name, act=act(reason), key_id=key)
    if json:
        print_json(removed)
    else:
        typer.echo(f"Limit {name} of {_whose(removed)} is removed; it was {removed.figure}.")


@limit.command("list")
def list_limits(tenant: AnyTenantOption = None, json: JsonOption = False) -> None:
    """List the limits that are set."""
    with database() as engine, reading(engine) as connection:
        found = store.list_limits(connection, tenant)
    if json:
        print_json(found)
    else:
        rows = [(one.tenant, one.api_key_id, one.name, one.figure) for one in found]
        print_table(("Tenant", ("Key", ID), "Limit", ("Value", ID)), rows)


@model.command("allow")
def allow_model(
    pattern: Pattern,
    tenant: TenantOption,
    key: KeyOption = None,
    reason: ReasonOption = None,
    json: JsonOption = False,
) -> None:
    """Allow a model. Once there is such a rule, only models that one of them covers are allowed."""
    _set_model(pattern, True, tenant, key, reason, json)


@model.command("deny")
def deny_model(
    pattern: Pattern,
    tenant: TenantOption,
    key: KeyOption = None,
    reason: ReasonOption = None,
    json: JsonOption = False,
) -> None:
    """Deny a model, whatever else allows it. Its live sessions end within two seconds."""
    _set_model(pattern, False, tenant, key, reason, json)


def _set_model(
    pattern: str, allowed: bool, tenant: str, key: str | None, reason: str | None, json: bool
) -> None:
    with database() as engine, writing(engine) as connection:
        made = store.set_model(connection, tenant, pattern, allowed, act=act(reason), key_id=key)
    print_json(made) if json else typer.echo(f"{made.model} is {_word(made)} for {_whose(made)}.")


@model.command("remove")
def remove_model(
    pattern: Pattern,
    tenant: TenantOption,
    key: KeyOption = None,
    reason: ReasonOption = None,
    json: JsonOption = False,
) -> None:
    """Remove the rule that was made with this very pattern."""
    with database() as engine, writing(engine) as connection:
        removed = store.remove_model(connection, tenant, pattern, act=act(reason), key_id=key)
    print_json(removed) if json else typer.echo(
        f"{removed.model} is no longer {_word(removed)} for {_whose(removed)}."
    )


@model.command("list")
def list_models(tenant: AnyTenantOption = None, json: JsonOption = False) -> None:
    """List the rules about models."""
    with database() as engine, reading(engine) as connection:
        found = store.list_models(connection, tenant)
    if json:
        print_json(found)
    else:
        rows = [(one.tenant, one.api_key_id, one.model, _word(one)) for one in found]
        print_table(("Tenant", ("Key", ID), "Model", "Is"), rows)


def _word(rule: store.ModelRow) -> str:
    return "allowed" if rule.allowed else "denied"


def _whose(row: store.LimitRow | store.ModelRow) -> str:
    return store.Owner(row.tenant_id, row.tenant, row.api_key_id).label
