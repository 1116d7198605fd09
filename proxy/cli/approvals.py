"""`talkmeter approval`: what waits for a second person. Deciding takes a person's own API token."""

from typing import Annotated

import typer

from proxy.cli.output import ID, JsonOption, database, note, now, print_json, print_table
from proxy.cli.root import app
from proxy.core.money import NANOUSD_PER_USD, format_usd
from proxy.settings import Settings
from proxy.store.approvals import Approval, State, page_of_approvals
from proxy.store.database import reading
from proxy.store.four_eyes import FourEyes
from proxy.store.instants import format_instant
from proxy.store.pages import Page

TABLE_ROWS = 50
TABLE_ROWS_MAX = 10_000

approval = typer.Typer(no_args_is_help=True, help="What one person has asked for and another one approves.")
app.add_typer(approval, name="approval")


@approval.command("list")
def list_approvals(
    state: Annotated[State | None, typer.Option(help="Only those that are so now.")] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=TABLE_ROWS_MAX, help="How many of the newest.")
    ] = TABLE_ROWS,
    json: JsonOption = False,
) -> None:
    """List closes and large credits that wait for a second person, or did."""
    with database() as engine, reading(engine) as connection:
        page = Page(limit=limit, newest_first=True)
        found = page_of_approvals(connection, page, now(), state=state)[::-1]
    if json:
        print_json(found)
        return
    titles = (("Request", ID), "State", "What", "Asked by", "Asked", "Expires", "Decided by", "Reason")
    rows = [
        (
            one.id,
            one.state,
            _what(one),
            one.asked_by,
            one.asked_at,
            one.expires_at if one.decided_at is None else None,
            one.decided_by,
            one.decision_reason or one.reason,
        )
        for one in found
    ]
    print_table(titles, rows, spare=("Reason", "Asked"))


def _what(one: Approval) -> str:
    amounts = [
        f"{name} ${format_usd(one.wanted[field])}"
        for name, field in (("cost", "cost_nanousd"), ("billed", "billed_nanousd"))
        if one.wanted.get(field)
    ]
    of = [one.tenant or one.tenant_id] if one.tenant_id else []
    return ", ".join([f"{one.action} {one.object}", *map(str, of), *amounts])


def rule_of(given: Settings) -> FourEyes:
    """Return what the settings say of four eyes."""
    return FourEyes(given.four_eyes, given.four_eyes_usd * NANOUSD_PER_USD)


def print_asked(one: Approval, json: bool) -> None:
    """Say that something was asked for, and who can decide."""
    if json:
        print_json({"approval": one})
        return
    typer.echo(f"Not done yet: {_what(one)} waits for a second person, as request {one.id}.")
    note(
        f"Somebody else approves it with an API token of their own, before {format_instant(one.expires_at)}:"
        f" POST /api/v1/approvals/{one.id}/approve."
    )
