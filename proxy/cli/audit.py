"""`talkmeter audit`: who changed what, when and why."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from proxy.cli.output import ID, JsonOption, database, period, print_json, print_table
from proxy.cli.root import app
from proxy.store.audit import AUDIT_ROWS_MAX, Noted, Which
from proxy.store.audit import list_audit as stored_audit
from proxy.store.database import reading
from proxy.store.tenants import find_tenant

audit = typer.Typer(no_args_is_help=True, help="Who changed what, when and why.")
app.add_typer(audit, name="audit")


@audit.command("list")
def list_audit(
    tenant: Annotated[str | None, typer.Option(help="Only of this tenant (name or id).")] = None,
    start: Annotated[str | None, typer.Option("--from", help="The first day, or an instant, in UTC.")] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="The day, or an instant, before which to stop.")
    ] = None,
    actor: Annotated[str | None, typer.Option(help="Only of this actor; user:* is all who begin so.")] = None,
    action: Annotated[str | None, typer.Option(help="Only such acts: key.revoke, or key.*.")] = None,
    object: Annotated[str | None, typer.Option(help="Only about what has this id.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=AUDIT_ROWS_MAX, help="How many of the newest.")] = 50,
    json: JsonOption = False,
) -> None:
    """List the newest changes that administrators made, in the order they were made."""
    first, last = period(start, end)
    with database() as engine, reading(engine) as connection:
        tenant_id = find_tenant(connection, tenant).id if tenant else None
        found = stored_audit(
            connection,
            tenant_id=tenant_id,
            start=first,
            end=last,
            which=Which(actor, action, object),
            limit=limit,
        )
    if json:
        print_json(found)
        return
    titles = ("At", "Actor", ("Action", ID), "Object", "Tenant", "Before", "After", "Reason")
    print_table(titles, [_row(one) for one in found], spare=("Before", "Tenant"))


def _row(one: Noted) -> tuple[object, ...]:
    before, after = one.before or {}, one.after or {}
    changed = {name for name in {**before, **after} if before.get(name) != after.get(name)}
    return (
        one.at,
        one.actor,
        one.action,
        one.object,
        one.tenant,
        _shown({name: value for name, value in before.items() if name in changed}),
        _shown({name: value for name, value in after.items() if name in changed}),
        one.reason,
    )


def _shown(fields: Mapping[str, Any]) -> str:
    """Return fields for people: dollars without the nano-dollars beside them."""
    return ", ".join(
        f"{name}={'none' if value is None else value}"
        for name, value in fields.items()
        if value not in ("", [], {}) and name != "id" and not name.endswith("_nanousd")
    )
