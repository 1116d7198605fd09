"""`talkmeter instance`: which data planes there were, and how to give up one whose journal is lost."""

from typing import Annotated, Any

import typer

from proxy.cli.output import (
    ID,
    NUMBER,
    JsonOption,
    act,
    as_json,
    database,
    fail,
    now,
    print_json,
    print_table,
)
from proxy.cli.root import app
from proxy.core.money import format_usd
from proxy.store import instance_list as store
from proxy.store.database import reading, writing

instance = typer.Typer(no_args_is_help=True, help="Data planes: what each has not posted, and what it holds.")
app.add_typer(instance, name="instance")


@instance.command("list")
def list_instances(json: JsonOption = False) -> None:
    """List the instances that there were: whether each runs, and what waits in its journal."""
    with database() as engine, reading(engine) as connection:
        found = store.list_instances(connection, now())
    if json:
        print_json([_shown(one) for one in found])
        return
    titles = (
        ("Instance", ID),
        "State",
        "Version",
        "Seen",
        "Not posted since",
        ("Open sessions", NUMBER),
        ("Held $", NUMBER),
        "Journal",
    )
    rows = [
        (
            one.id,
            one.state,
            one.version,
            one.seen_at,
            one.unposted_from,
            one.sessions,
            format_usd(one.reserved_nanousd),
            one.journal_path,
        )
        for one in found
    ]
    print_table(titles, rows, spare=("Version", "Journal"))


@instance.command("forget")
def forget(
    instance: Annotated[str, typer.Argument(help="Its id, as `instance list` shows it.")],
    reason: Annotated[str, typer.Option(help="Why: kept in the audit log.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask first; with --json it is not asked.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Give up a dead instance whose journal is lost. If there is one, start the instance on it instead."""
    with database() as engine:
        if not (yes or json):
            with reading(engine) as connection:
                _ask(store.find_instance(connection, instance, now()))
        with writing(engine) as connection:
            forgotten = store.forget(connection, instance, act(reason))
    if json:
        print_json(_shown(forgotten))
        return
    typer.echo(f"Instance {instance} is forgotten. From now on:")
    _say_what_is_hidden(forgotten)


def _ask(found: store.InstanceRow) -> None:
    typer.echo(
        f"Instance {found.id} is {found.state}, its journal was {found.journal_path}. If it is forgotten:"
    )
    _say_what_is_hidden(found)
    if not typer.confirm("Is this journal lost for good?"):
        fail("nothing was changed")


def _say_what_is_hidden(found: store.InstanceRow) -> None:
    for sentence in found.may_hide:
        typer.echo(f"* {sentence}")


def _shown(found: store.InstanceRow) -> dict[str, Any]:
    return {**as_json(found), "may_hide": found.may_hide}
