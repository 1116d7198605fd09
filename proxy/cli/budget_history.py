"""`talkmeter budget history`: what an amount would have meant in the last 30 days."""

from dataclasses import asdict
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from proxy.cli.budgets import budget, owner_of
from proxy.cli.output import NUMBER, JsonOption, database, now, print_json, print_table, usd
from proxy.core.budgets import Budget, Scope
from proxy.core.money import format_usd
from proxy.core.money import usd as both
from proxy.core.windows import Window
from proxy.store.database import reading
from proxy.store.instants import parse_zone
from proxy.store.spend_history import SpendHistory, owner_ids, spend_history
from proxy.store.tenants import find_key, find_tenant


@budget.command("history")
def show_history(
    amount: Annotated[str | None, typer.Option(help="Dollars to be exceeded, such as 50.")] = None,
    window: Annotated[Window, typer.Option(help="How long the amount has to last.")] = Window.DAY,
    tenant: Annotated[str | None, typer.Option(help="The tenant's name or id; all tenants if none.")] = None,
    project: Annotated[str | None, typer.Option(help="Only this project of the tenant.")] = None,
    key: Annotated[str | None, typer.Option(help="Only this API key (id).")] = None,
    user: Annotated[str | None, typer.Option(help="Only this end user of the tenant.")] = None,
    each_user: Annotated[bool, typer.Option("--each-user", help="Every end user so much.")] = False,
    zone: Annotated[str, typer.Option(help="Where windows begin and end.")] = "UTC",
    json: JsonOption = False,
) -> None:
    """Tell how many windows and sessions of the last 30 days exceeded an amount, and the largest windows."""
    nobody = not (tenant or project or key or user or each_user)
    scope, name = owner_of(tenant, project, key, user, each_user, nobody)
    nanousd = None if amount is None else usd("--amount", amount)
    with database() as engine, reading(engine) as connection:
        asked = Budget(
            "", scope, window, nanousd, zone=parse_zone(zone), **_ids(connection, scope, tenant, name)
        )
        found = spend_history(connection, asked, now())
    if json:
        print_json(_as_json(asked, found))
        return
    titles = ("From", "To", "Whose", ("Spent $", NUMBER))
    print_table(titles, [_row(found_one) for found_one in found.largest])
    typer.echo(_sentence(asked, found))


def _ids(connection: Connection, scope: Scope, tenant: str | None, name: str | None) -> dict[str, Any]:
    if scope is Scope.KEY and tenant is None:
        tenant = find_key(connection, name or "").tenant_id
    owner = None if tenant is None else find_tenant(connection, tenant)
    return {"tenant_id": owner and owner.id, **owner_ids(connection, scope, owner, name)}


def _row(one: Any) -> tuple[object, ...]:
    return one.starts_at, one.ends_at, one.end_user or one.session_id, format_usd(one.spent_nanousd)


def _as_json(asked: Budget, found: SpendHistory) -> dict[str, Any]:
    amount = asked.amount_nanousd
    session_id, largest = found.largest_session or (None, None)
    return {
        "scope": asked.scope.value,
        "tenant_id": asked.tenant_id,
        "window": asked.window.value,
        "zone": asked.zone.key,
        "from": found.start,
        **both("amount", amount),
        "windows": found.windows,
        "windows_over": found.windows_over,
        "sessions": found.sessions,
        "sessions_over": found.sessions_over,
        "largest_session_id": session_id,
        **both("largest_session", largest),
        "entries_from": found.entries_from,
        "data": [{**asdict(one), **both("spent", one.spent_nanousd)} for one in found.largest],
    }


def _sentence(asked: Budget, found: SpendHistory) -> str:
    windows, sessions = f"{found.windows:,} windows", f"{found.sessions:,} sessions"
    since = f" Sessions and users are counted from {found.entries_from} on." if found.entries_from else ""
    if asked.amount_nanousd is None:
        return f"These are the largest of {windows}; there were {sessions} in 30 days.{since}"
    return (
        f"More than ${format_usd(asked.amount_nanousd)} was spent in {found.windows_over:,} of {windows},"
        f" and by {found.sessions_over:,} of {sessions} in 30 days.{since}"
    )
