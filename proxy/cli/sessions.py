"""`talkmeter session`: conversations, live and past, and how to stop one."""

from typing import Annotated

import typer

from proxy.cli.ledger import print_entries
from proxy.cli.output import (
    ID,
    NUMBER,
    Column,
    JsonOption,
    act,
    database,
    fail,
    note,
    now,
    period,
    print_json,
    print_table,
    settings,
)
from proxy.cli.query import (
    EndUserOption,
    KeyOption,
    ModelOption,
    ProjectOption,
    TagOption,
    TenantOption,
    ToOption,
    zone_of,
)
from proxy.cli.root import app
from proxy.core.money import format_usd
from proxy.core.session_account import Explained, Part, sums
from proxy.store.ledger import Booked, session_turns
from proxy.store.live import request_stop
from proxy.store.session_accounts import SessionAccount, session_account
from proxy.store.session_filters import SessionFilters, State
from proxy.store.sessions import SESSIONS_MAX, SessionRow, find_session
from proxy.store.sessions import list_sessions as stored_sessions

session = typer.Typer(no_args_is_help=True, help="Conversations, live and past.")
app.add_typer(session, name="session")


@session.command("list")
def list_sessions(
    live: Annotated[bool, typer.Option("--live", help="Only those that go on.")] = False,
    state: Annotated[State | None, typer.Option(help="Only those in this state.")] = None,
    tenant: TenantOption = None,
    project: ProjectOption = None,
    key: KeyOption = None,
    end_user: EndUserOption = None,
    model: ModelOption = None,
    tag: TagOption = None,
    reason: Annotated[str | None, typer.Option(help="Only what ended so, such as refused.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Opened on a day or at an instant; inside.")
    ] = None,
    end: ToOption = None,
    id: Annotated[str | None, typer.Option(help="Only those whose id begins so.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=SESSIONS_MAX, help="How many of the newest.")] = 50,
    json: JsonOption = False,
) -> None:
    """List the newest sessions with what they cost; a live one with what it has cost so far."""
    if live and state not in (None, State.LIVE):
        raise typer.BadParameter("it contradicts --live", param_hint="--state")
    first, last = period(start, end, zone_of(settings().period_timezone))
    filters = SessionFilters(
        tenant=tenant,
        project=project,
        key=key,
        end_user=end_user,
        state=State.LIVE if live else state,
        start=first,
        end=last,
        model=model,
        tag=tag,
        reason=reason,
        id=id,
    )
    with database() as engine:
        found = stored_sessions(engine, now(), filters, limit=limit)
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


@session.command("account")
def show_account(
    id: str,
    billed: Annotated[
        bool, typer.Option("--billed", help="What the tenant owes, not what it costs you.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show what each response of a session cost, and why."""
    with database() as engine:
        found = session_account(engine, id, is_billed=billed)
    if json:
        print_json(found.as_json())
        return
    _print_account(found)


def _print_account(found: SessionAccount) -> None:
    titles: tuple[Column, ...] = (
        "Occurred",
        "Kind",
        ("Subject", ID),
        ("Billed $" if found.is_billed else "Cost $", NUMBER),
        *((f"{part.value.replace('_', ' ').capitalize()} $", NUMBER) for part in Part),
        ("Grown by", NUMBER),
        ("Growth $", NUMBER),
        ("Not cached", NUMBER),
        ("Extra $", NUMBER),
        ("In all $", NUMBER),
        "Notes",
    )
    total = sums(found.explained)
    footer = (
        *("total", None, None, format_usd(total.nanousd)),
        *(format_usd(total.parts[part]) for part in Part),
        *(total.growth_tokens, format_usd(total.growth_nanousd)),
        *(total.broken_tokens, format_usd(total.extra_nanousd), None, None),
    )
    rows = [_account_row(*both) for both in zip(found.entries, found.explained, strict=True)]
    print_table(titles, rows, footer=footer, spare=("Occurred", "Kind", "Growth $", "Other $", "In all $"))
    if total.unrated:
        note(f"Without a price, and without an amount here: {total.unrated}.")


def _account_row(entry: Booked, one: Explained) -> tuple[object, ...]:
    growth, broke = one.growth, one.broke
    shares = (one.parts.get(part) for part in Part)
    marks = [f"cache broke: {broke.because.value.replace('_', ' ')}"] if broke and broke.tokens > 0 else []
    marks += ["estimated"] * entry.estimated + ["corrected"] * one.is_reversed
    return (
        entry.occurred_at,
        entry.kind if entry.role == "original" else f"{entry.kind} ({entry.role})",
        entry.subject_id,
        "unrated" if one.nanousd is None else format_usd(one.nanousd),
        *(None if share is None or share.nanousd is None else format_usd(share.nanousd) for share in shares),
        growth and growth.tokens,
        None if growth is None or growth.nanousd is None else format_usd(growth.nanousd),
        broke and broke.tokens,
        None if broke is None or broke.extra_nanousd is None else format_usd(broke.extra_nanousd),
        format_usd(one.running_nanousd),
        ", ".join(marks),
    )


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
