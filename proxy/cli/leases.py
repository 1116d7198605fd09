"""`talkmeter lease`: what instances hold of budgets."""

import typer

from proxy.cli.output import ID, NUMBER, JsonOption, database, print_json, print_table
from proxy.cli.root import app
from proxy.core.money import format_usd
from proxy.store import leases as store
from proxy.store.database import reading

lease = typer.Typer(no_args_is_help=True, help="What instances hold of budgets.")
app.add_typer(lease, name="lease")


@lease.command("list")
def list_leases(json: JsonOption = False) -> None:
    """List what each instance still holds of which budget, and when it was last seen."""
    with database() as engine, reading(engine) as connection:
        found = store.list_leases(connection)
    if json:
        print_json(found)
        return
    titles = (("Instance", ID), "Seen", ("Budget", ID), "Subject", "Window from", ("Held $", NUMBER))
    rows = [
        (
            one.instance_id,
            one.seen_at,
            one.budget_id,
            one.subject,
            one.starts_at,
            format_usd(one.reserved_nanousd),
        )
        for one in found
    ]
    print_table(titles, rows, spare=("Subject", "Window from"))
