"""`talkmeter report forecast`: what will be spent by the end of a window, against budgets."""

from typing import Annotated

import typer

from proxy.cli import query
from proxy.cli.costs import report
from proxy.cli.output import ID, NUMBER, Column, JsonOption, database, now, print_json, print_table, settings
from proxy.core.money import format_usd
from proxy.store.database import reading
from proxy.store.forecasts import Forecasted, forecasts
from proxy.store.tenants import find_tenant


@report.command("forecast")
def show_forecasts(
    tenant: Annotated[
        list[str] | None, typer.Option(help="Only of this tenant (name or id); more than once for several.")
    ] = None,
    tz: query.ZoneOption = None,
    json: JsonOption = False,
) -> None:
    """Forecast what budgets and tenants will have spent at the end of the window that is now."""
    given = settings()
    zone = query.zone_of(given.period_timezone if tz is None else tz)
    with database(given) as engine, reading(engine) as connection:
        within = frozenset(find_tenant(connection, name).id for name in tenant) if tenant else None
        found = forecasts(connection, now(), zone, within)
    if json:
        print_json([one.as_json() for one in found])
        return
    titles: tuple[Column, ...] = (
        ("Budget", ID),
        "Whose",
        "Window",
        "Until",
        ("Spent $", NUMBER),
        ("Forecast $", NUMBER),
        ("Error %", NUMBER),
        ("Amount $", NUMBER),
        ("Left $", NUMBER),
        "Spent up on",
        "Method",
    )
    print_table(titles, [_row(one) for one in found], spare=("Method", "Until", "Left $"))


def _row(one: Forecasted) -> tuple[object, ...]:
    told = one.as_json()
    whose = [told[name] for name in ("tenant", "project", "api_key_id", "end_user")]
    return (
        told["budget_id"],
        ", ".join(name for name in whose if name) or "all tenants",
        told["window"],
        one.span.end,
        format_usd(one.spent_nanousd),
        told["forecast_usd"] or "not known",
        f"{told['error_percent']} ({told['error_points']})" if told["error_percent"] else "not known",
        told["amount_usd"],
        told["left_usd"],
        told["exhausted_on"],
        told["method"],
    )
