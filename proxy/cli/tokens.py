"""`talkmeter token`: what people and programs prove to the API what they may see and do."""

from typing import Annotated

import typer

from proxy.cli.output import (
    ID,
    JsonOption,
    ReasonOption,
    act,
    as_json,
    database,
    instant,
    pepper_of,
    print_json,
    print_table,
    settings,
)
from proxy.cli.root import app
from proxy.store import tokens
from proxy.store.database import reading, writing

token = typer.Typer(no_args_is_help=True, help="API tokens: who may use the API, and for what.")
app.add_typer(token, name="token")


@token.command("create")
def create_token(
    name: Annotated[str, typer.Argument(help="Whose it is: the audit log names it.")],
    role: Annotated[tokens.TokenRole, typer.Option(help="What it may do.")],
    tenant: Annotated[
        list[str] | None, typer.Option(help="Confine it to this tenant (name or id); repeatable.")
    ] = None,
    expires: Annotated[str | None, typer.Option(help="A day or an instant from which it is refused.")] = None,
    reason: ReasonOption = None,
    json: JsonOption = False,
) -> None:
    """Create an API token. Its secret is shown this once."""
    expires_at = instant("--expires", expires)
    given = settings()
    with database(given) as engine:
        pepper = pepper_of(given, engine)
        with writing(engine) as connection:
            made, secret = tokens.create_token(
                connection,
                pepper,
                name=name,
                role=role,
                tenants=tenant or (),
                expires_at=expires_at,
                act=act(reason),
            )
    if json:
        print_json({"id": made.id, "secret": secret, **as_json(made)})
    else:
        typer.echo(f"Token {made.name} ({made.id}): {_can(made)}. This is its secret; it is not shown again:")
        typer.echo(f"\n  {secret}\n")


def _can(made: tokens.Token) -> str:
    names = ", ".join(one.name for one in made.tenants)
    return f"{made.role} of {names or 'all tenants'}"


@token.command("list")
def list_tokens(json: JsonOption = False) -> None:
    """List API tokens, revoked ones too, with when they were last used (to the minute)."""
    with database() as engine, reading(engine) as connection:
        found = tokens.list_tokens(connection)
    if json:
        print_json(found)
        return
    rows = [
        (
            one.id,
            one.name,
            f"{one.prefix}…",
            one.role,
            ", ".join(tenant.name for tenant in one.tenants) or "all",
            one.created_at,
            one.expires_at,
            one.last_used_at,
            one.revoked_at,
        )
        for one in found
    ]
    titles = (
        ("Token", ID),
        "Name",
        ("Begins", ID),
        "Role",
        "Tenants",
        "Created",
        "Expires",
        "Last used",
        "Revoked",
    )
    print_table(titles, rows, spare=("Begins", "Created"))


@token.command("revoke")
def revoke_token(id: str, reason: ReasonOption = None, json: JsonOption = False) -> None:
    """Revoke an API token for good: its next request is refused."""
    with database() as engine, writing(engine) as connection:
        found = tokens.revoke_token(connection, id, act(reason))
    print_json(found) if json else typer.echo(f"Token {found.name} ({found.id}) is revoked.")
