"""`talkmeter console`: how the local administrator signs in to the console, and who is signed in."""

import sys
from datetime import timedelta
from typing import Annotated

import typer

from proxy.cli.output import (
    ID,
    JsonOption,
    ReasonOption,
    act,
    as_json,
    database,
    now,
    pepper_of,
    print_json,
    print_table,
    settings,
)
from proxy.cli.root import app
from proxy.store import local_admin, sign_ins
from proxy.store.database import reading, writing
from proxy.store.local_admin import LINK_LASTS, LINK_LASTS_MAX, PASSWORD_CHARS_MAX

MINUTE = timedelta(minutes=1)

console = typer.Typer(no_args_is_help=True, help="The console: its local administrator, who is signed in.")
app.add_typer(console, name="console")


@console.command("password")
def set_password(
    stdin: Annotated[bool, typer.Option("--stdin", help="Read it from one line, for programs.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove it: nobody signs in with it.")] = False,
    reason: ReasonOption = None,
    json: JsonOption = False,
) -> None:
    """Set the local administrator's password, asked for twice. Whoever is signed in as them is signed out."""
    if stdin and remove:
        raise typer.BadParameter(
            "there is nothing to read where the password is removed", param_hint="--stdin"
        )
    given = None if remove else _line() if stdin else _typed()
    with database() as engine, writing(engine) as connection:
        if given is None:
            ended = local_admin.remove_password(connection, act(reason))
        else:
            ended = local_admin.set_password(connection, given, act(reason))
    done = "removed" if given is None else "set"
    if json:
        print_json({"password": done, "sign_ins_ended": ended})
    else:
        typer.echo(f"The local administrator's password is {done}. Sign-ins ended by that: {ended}.")


def _line() -> str:
    """Return the first line of standard input, or as much of it as shows that it is too long."""
    return sys.stdin.readline(PASSWORD_CHARS_MAX + 2).rstrip("\r\n")


def _typed() -> str:
    return str(typer.prompt("New password", hide_input=True, confirmation_prompt=True, err=True))


@console.command("link")
def make_link(
    minutes: Annotated[
        int, typer.Option(min=1, max=LINK_LASTS_MAX // MINUTE, help="How long it can be used.")
    ] = LINK_LASTS // MINUTE,
    reason: ReasonOption = None,
    json: JsonOption = False,
) -> None:
    """Print a link that signs in as the local administrator, once."""
    given, doing = settings(), act(reason)
    lasts = minutes * MINUTE
    with database(given) as engine:
        pepper = pepper_of(given, engine)
        with writing(engine) as connection:
            secret = local_admin.make_link(connection, pepper, doing, doing.at, lasts)
    url = f"{given.console_url}/sign-in/link/{secret}"
    if json:
        print_json({"url": url, "expires_at": doing.at + lasts})
    else:
        typer.echo(
            f"This link signs in as the local administrator, once, within {minutes} minutes:\n\n  {url}\n"
        )


@console.command("sign-ins")
def list_sign_ins(json: JsonOption = False) -> None:
    """List who is signed in to the console, with when they were last seen (to the minute)."""
    with database() as engine, reading(engine) as connection:
        found = sign_ins.list_sign_ins(connection, now())
    if json:
        print_json([_flat(one) for one in found])
        return
    rows = [
        (
            one.id,
            one.person.name,
            one.person.way,
            one.person.role,
            ", ".join(tenant.name for tenant in one.person.tenants) or "all",
            one.created_at,
            one.seen_at,
            one.expires_at,
        )
        for one in found
    ]
    titles = (("Sign-in", ID), "Name", "By", "Role", "Tenants", "Began", "Last seen", "Expires")
    print_table(titles, rows, spare=("Began", "By"))


def _flat(one: sign_ins.SignIn) -> dict[str, object]:
    """Return a sign-in as one object: who it is stands beside when it was."""
    told = as_json(one)
    return {"id": told.pop("id"), **told.pop("person"), **told}


@console.command("end")
def end_sign_in(id: str, reason: ReasonOption = None, json: JsonOption = False) -> None:
    """End a sign-in: its next request is refused."""
    with database() as engine, writing(engine) as connection:
        sign_ins.end(connection, id, act(reason))
    print_json({"id": id, "ended": True}) if json else typer.echo(f"Sign-in {id} is ended.")
