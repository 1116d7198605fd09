"""`talkmeter session`: conversations, live and past, and how to stop one."""

from typing import Annotated

import typer

from proxy.cli.ledger import print_entries
from proxy.cli.output import ID, NUMBER, JsonOption, act, database, fail, now, print_json, print_table
from proxy.cli.root import app
from proxy.core.money import format_usd
from proxy.store.database import reading
from proxy.store.ledger import session_turns
from proxy.store.live import request_stop
from proxy.store.sessions import SESSIONS_MAX, SessionRow, find_session
from proxy.store.sessions import list_sessions as stored_sessions
from proxy.store.tenants import find_tenant

session = typer.Typer(no_args_is_help=True, help="Conversations, live and past.")
app.add_typer(session, name="session")


@session.command("list")
def list_sessions(
    live: Annotated[bool, typer.Option("--live", help="Only those that go on.")] = False,
    tenant: Annotated[str | None, typer.Option(help="Only of this tenant (name or id).")] = None,
    limit: Annotated[int, typer.Option(min=1, max=SESSIONS_MAX, help="How many of the newest.")] = 50,
    json: JsonOption = False,
) -> None:
    """List the newest sessions with what they cost; a live one with what it has cost so far."""
    with database() as engine:
        with reading(engine) as connection:
            tenant_id = find_tenant(connection, tenant).id if tenant else None
        found = stored_sessions(engine, now(), tenant_id=tenant_id, live=live, limit=limit)
    if json:
        print_json([one.as_json() for one in found])
    else:
        print_sessions(found)


def print_sessions(found: list[SessionRow]) -> None:
    """Print a table of sessions. A live one's running responses are estimated, and not in its cost."""
    titles = (
        ("Session", ID),
        "Tenant",
        "Model",
        "Opened",
        "Ended",
        "By",
        ("Seconds", NUMBER),
        ("Responses", NUMBER),
        ("Cost $", NUMBER),
        ("Running $", NUMBER),
        ("$ a minute", NUMBER),
        ("Left $", NUMBER),
        "Notes",
    )
    print_table(
        titles,
        [
            (
                one.id,
                one.tenant,
                one.model,
                one.opened_at,
                "live" if one.live else one.closed_at,
                one.reason,
                one.seconds,
                one.responses,
                format_usd(one.cost_nanousd),
                format_usd(one.running_nanousd) if one.live else None,
                format_usd(one.burn_nanousd) if one.live else None,
                None if one.left_nanousd is None else format_usd(one.left_nanousd),
                f"{one.unrated_entries} unrated" if one.unrated_entries else "",
            )
            for one in found
        ],
        spare=("By", "Opened", "Ended", "Model", "$ a minute"),
    )


@session.command("show")
def show_session(id: str, json: JsonOption = False) -> None:
    """Show one session, turn by turn."""
    with database() as engine:
        found = find_session(engine, id, now())
        turns = session_turns(engine, id)
    if found is None:
        fail(f"There is no session {id[:60]!r}: see `talkmeter session list`.")
    if json:
        print_json(found.as_json() | {"turns": [turn.as_json() for turn in turns]})
        return
    print_sessions([found])
    print_entries(turns)


@session.command("stop")
def stop_session(
    id: str,
    reason: Annotated[str | None, typer.Option(help="Told to the app, and kept in the audit log.")] = None,
    json: JsonOption = False,
) -> None:
    """Stop a live session: within two seconds the app is told so and the session is settled."""
    with database() as engine:
        request_stop(engine, id, act(reason))
    print_json({"id": id, "stopping": True}) if json else typer.echo(f"Session {id} is being stopped.")
