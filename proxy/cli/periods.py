"""`talkmeter period`: closing the books, month by month."""

from typing import Annotated

import typer

from proxy.cli.approvals import print_asked, rule_of
from proxy.cli.output import (
    NUMBER,
    JsonOption,
    ReasonOption,
    act,
    database,
    month,
    note,
    now,
    print_json,
    print_table,
    settings,
)
from proxy.cli.root import app
from proxy.core.money import format_usd
from proxy.store.approvals import Approval
from proxy.store.chain import chain
from proxy.store.close import Closed, refusal, standing
from proxy.store.database import reading, writing
from proxy.store.four_eyes import close_or_ask
from proxy.store.instants import parse_zone
from proxy.store.obstacles import NAMES, Obstacle, obstacles
from proxy.store.periods import Month
from proxy.store.periods import list_periods as all_periods

period = typer.Typer(no_args_is_help=True, help="Accounting months: open, closed, and closing one.")
app.add_typer(period, name="period")

PeriodArgument = Annotated[str, typer.Argument(metavar="YYYY-MM", help="The month.")]


@period.command("list")
def list_periods(json: JsonOption = False) -> None:
    """List the months that have entries, or are closed, with what was billed in them."""
    given = settings()
    with database(given) as engine, reading(engine) as connection:
        found = all_periods(connection, parse_zone(given.period_timezone), now())
    if json:
        print_json([_shown(one) for one in found])
        return
    titles = (
        "Period",
        "State",
        "Closed",
        "By",
        ("Statements", NUMBER),
        ("Entries", NUMBER),
        ("Unrated", NUMBER),
        ("Billed $", NUMBER),
        "Archive",
    )
    rows = [
        (
            one.period,
            one.state,
            one.closed_at,
            one.closed_by,
            one.statements or None,
            one.entries,
            one.unrated_entries or None,
            format_usd(one.billed_nanousd),
            one.archive,
        )
        for one in found
    ]
    print_table(titles, rows, spare=("By",))


def _shown(one: Month) -> dict[str, object]:
    return {
        "period": one.period,
        "state": one.state,
        "closed_at": one.closed_at,
        "closed_by": one.closed_by,
        "digest": one.seal,
        "statements": one.statements,
        "entries": one.entries,
        "unrated_entries": one.unrated_entries,
        "billed_nanousd": one.billed_nanousd,
        "billed_usd": format_usd(one.billed_nanousd),
        "archive": one.archive,
        "overridden": list(one.overridden),
    }


@period.command("show")
def show_period(wanted: PeriodArgument, json: JsonOption = False) -> None:
    """Show what stands in the way of closing a month. Ends with 1 if something does."""
    wanted, given = month("YYYY-MM", wanted), settings()
    with database(given) as engine, reading(engine) as connection:
        head = chain(connection)
        closing = standing(connection, wanted, parse_zone(given.period_timezone), head, now())
        found = obstacles(closing)
    if json:
        print_json({"period": wanted, "can_be_closed": not found, "obstacles": found})
    elif found:
        _print_obstacles(found)
        note(refusal(wanted, found))
    else:
        typer.echo(f"Nothing stands in the way: `talkmeter period close {wanted}` closes it.")
    raise typer.Exit(1 if found else 0)


def _print_obstacles(found: list[Obstacle]) -> None:
    titles = ("In the way", ("How many", NUMBER), "For example")
    print_table(titles, [(one.name, one.count, "; ".join(one.examples)) for one in found])


@period.command("close")
def close(
    wanted: PeriodArgument,
    override: Annotated[
        list[str] | None,
        typer.Option(metavar="WHAT=REASON", help=f"Close in spite of {', '.join(NAMES)}; may be repeated."),
    ] = None,
    reason: ReasonOption = None,
    json: JsonOption = False,
) -> None:
    """Close a month for good, and state what each tenant owes for it."""
    wanted, overrides, given = month("YYYY-MM", wanted), _overrides(override or []), settings()
    zone = parse_zone(given.period_timezone)
    with database(given) as engine, writing(engine) as connection:
        closed = close_or_ask(
            connection,
            wanted,
            act(reason),
            rule=rule_of(given),
            zone=zone,
            overrides=overrides,
            issuer=given.statement_issuer,
        )
    if isinstance(closed, Approval):
        print_asked(closed, json)
    elif json:
        print_json(_result(closed))
    else:
        _print_result(closed)


def _overrides(given: list[str]) -> dict[str, str]:
    overrides: dict[str, str] = {}
    for text in given:
        name, equals, reason = text.partition("=")
        if not equals or name in overrides:
            raise typer.BadParameter(f"{text[:60]!r} is not WHAT=REASON, each once", param_hint="--override")
        overrides[name] = reason
    return overrides


def _result(closed: Closed) -> dict[str, object]:
    made = closed.close
    return {
        "period": made.period,
        "zone": made.zone,
        "closed_at": made.closed_at,
        "closed_by": made.closed_by,
        "digest": made.seal,
        "statements": closed.statements,
        "overridden": list(made.overridden),
    }


def _print_result(closed: Closed) -> None:
    made = closed.close
    typer.echo(f"{made.period} is closed, in {made.zone}. Statements: {closed.statements}.\n{made.seal}")
    for one in made.overridden:
        note(f"Overridden: {one['what']}, {one['count']:,} ({one['reason']}).")
    note("Keep this digest elsewhere: with it, `talkmeter ledger verify --digest` finds any change since.")
