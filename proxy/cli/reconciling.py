"""`talkmeter reconcile`: the ledger against the provider's bill, and what the bill's lines mean."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Annotated, Any

import typer
from sqlalchemy import Engine

from proxy.admin.reconciling import Reconciler
from proxy.cli.output import (
    ID,
    NUMBER,
    JsonOption,
    ReasonOption,
    act,
    database,
    instant,
    note,
    print_json,
    print_table,
    refuse_options,
    settings,
)
from proxy.cli.root import app
from proxy.core.line_items import Rule
from proxy.core.money import format_usd
from proxy.core.reconcile import Cause, complete_until
from proxy.core.usage import Meter
from proxy.exports.texts import json_text
from proxy.processes.control_config import bill_config
from proxy.store import line_items, reconciliations
from proxy.store.csv_text import to_csv
from proxy.store.database import reading, writing
from proxy.store.pages import Page
from proxy.store.reconciliations import Reconciliation

EXIT_OVER = 4
DAYS = timedelta(days=7)  # compared where nothing else is asked for
RUNS_MAX = 1_000
_TITLES = {
    Cause.PRICE: "Price $",
    Cause.UNRATED: "No price $",
    Cause.DELAY: "Not shown yet $",
    Cause.DAY_EDGE: "Midnight $",
    Cause.ESTIMATES: "Estimates $",
}
_DIFFERENCES = ("difference", *(cause.value for cause in Cause), "unexplained")
_AMOUNT_COLUMNS = (
    ("Ours $", NUMBER),
    ("Theirs $", NUMBER),
    ("Difference $", NUMBER),
    *((_TITLES[cause], NUMBER) for cause in Cause),
    ("Unexplained $", NUMBER),
)

reconcile = typer.Typer(invoke_without_command=True)
app.add_typer(reconcile, name="reconcile")

CsvOption = Annotated[bool, typer.Option("--csv", help="All rows as CSV.")]
AllOption = Annotated[bool, typer.Option("--all", help="Show rows that agree too.")]


@reconcile.callback()
def compare(
    context: typer.Context,
    start: Annotated[str | None, typer.Option("--from", help="The first UTC day.")] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", help="The day after the last one; else up to where the bill is complete."),
    ] = None,
    json: JsonOption = False,
    csv: CsvOption = False,
    everything: AllOption = False,
) -> None:
    """Compare the ledger with the provider's bill. Ends with 4 where too much is unexplained."""
    if context.invoked_subcommand is not None:
        refuse_options(context)
        return
    given = settings()
    reconciler = Reconciler(bill_config(given), given.model_aliases)
    by = act()
    until = complete_until(by.at, reconciler.terms.delay)
    last = _day("--to", end) or (until if start is None else max(until, _after(start)))
    first = _day("--from", start) or last - DAYS
    if last <= first:
        raise typer.BadParameter(f"{last} is not after --from {first}", param_hint="--to")
    with database(given) as engine:
        made = reconciler.run(engine, first, last, by)
        _print(engine, made, json=json, csv=csv, everything=everything)
    raise typer.Exit(EXIT_OVER if made.is_over else 0)


@reconcile.command("list")
def list_runs(
    limit: Annotated[int, typer.Option(min=1, max=RUNS_MAX, help="How many of the newest.")] = 20,
    json: JsonOption = False,
) -> None:
    """List the comparisons that were made, the newest first."""
    with database() as engine, reading(engine) as connection:
        found = reconciliations.list_reconciliations(connection, Page(limit=limit, newest_first=True))
    if json:
        print_json([one.as_json() for one in found])
        return
    rows = [
        (
            one.at,
            one.scope.first_on,
            one.scope.end_on - timedelta(days=1),
            *_amounts(one.as_json()),
            one.is_over,
            one.id,
        )
        for one in found
    ]
    print_table(("At", "First day", "Last day", *_AMOUNT_COLUMNS, "Too much", ("Id", ID)), rows)


@reconcile.command("show")
def show_run(
    id: str, json: JsonOption = False, csv: CsvOption = False, everything: AllOption = False
) -> None:
    """Show a comparison as it was."""
    with database() as engine:
        with reading(engine) as connection:
            found = reconciliations.find_reconciliation(connection, id)
        _print(engine, found, json=json, csv=csv, everything=everything)


@reconcile.command("rules")
def list_rules(json: JsonOption = False) -> None:
    """List what the lines of the bill mean."""
    with database() as engine, reading(engine) as connection:
        found = line_items.list_rules(connection)
    if json:
        print_json([one.as_json() for one in found])
        return
    rows = [
        (one.rule.name, one.rule.model or _star(one.rule), one.rule.meter or "not compared") for one in found
    ]
    print_table(("Line item", "Model", "Meter"), rows)


@reconcile.command("set-rule")
def set_rule(
    line_item: Annotated[str, typer.Argument(help="A line's name; one * stands for the model.")],
    meter: Annotated[Meter | None, typer.Option(help="What it charges for.")] = None,
    model: Annotated[str | None, typer.Option(help="Of which model, where no * says so.")] = None,
    ignore: Annotated[bool, typer.Option("--ignore", help="It is nothing of ours: not compared.")] = False,
    reason: ReasonOption = None,
    json: JsonOption = False,
) -> None:
    """Say what lines of the bill are. Of several that fit, the one with most text before its * decides."""
    if ignore == (meter is not None):
        raise typer.BadParameter("give either --meter or --ignore", param_hint="--meter")
    with database() as engine, writing(engine) as connection:
        made = line_items.set_rule(connection, Rule(line_item, meter, model), act(reason))
    what = f"{meter} of {model or 'the model that * stands for'}" if meter else "not compared"
    print_json(made.as_json()) if json else typer.echo(f"Lines named {line_item!r} are {what}.")


@reconcile.command("remove-rule")
def remove_rule(line_item: str, reason: ReasonOption = None, json: JsonOption = False) -> None:
    """Remove a rule. Lines that no other rule is about become rows of their own."""
    with database() as engine, writing(engine) as connection:
        gone = line_items.remove_rule(connection, line_item, act(reason))
    print_json(gone.as_json()) if json else typer.echo(f"The rule {line_item!r} is removed.")


def _day(option: str, text: str | None) -> date | None:
    at = instant(option, text)
    if at is None:
        return None
    if at != datetime(at.year, at.month, at.day, tzinfo=at.tzinfo):
        raise typer.BadParameter("bills are by UTC days: give a day, such as 2026-11-22", param_hint=option)
    return at.date()


def _after(start: str) -> date:
    day = _day("--from", start)
    assert day is not None, "it was given"
    return day + timedelta(days=1)


def _star(rule: Rule) -> str | None:
    return "*" if rule.meter else None


# --- What is printed


def _print(engine: Engine, made: Reconciliation, *, json: bool, csv: bool, everything: bool) -> None:
    with reading(engine) as connection:
        rows = reconciliations.rows_of(connection, made.id)
    if json:
        print_json({**made.as_json(), "rows": rows})
    elif csv:
        told = ({**row, "keys": json_text(row["keys"])} for row in rows)
        typer.echo(to_csv(_CSV_COLUMNS, told), nl=False)
    else:
        _print_days(made)
        _print_rows(rows if everything else [row for row in rows if _differs(row)], len(rows))
        _print_verdict(made, rows)


def _print_days(made: Reconciliation) -> None:
    told = made.as_json()
    rows = [(day["on"], *_amounts(day), _verdict(day)) for day in told["days"]]
    footer = ("Total", *_amounts(told), "")
    print_table(("UTC day", *_AMOUNT_COLUMNS, "Verdict"), rows, footer=footer)


def _verdict(day: Mapping[str, Any]) -> str:
    if not day["is_final"]:
        return "not complete yet"
    if not day["unexplained_nanousd"]:
        return "agrees"
    return f"{'above' if day['is_over'] else 'within'} {_short(day['limit_nanousd'])}"


def _print_rows(rows: Sequence[Mapping[str, Any]], count: int) -> None:
    if not rows:
        typer.echo(f"All {count:,} rows agree." if count else "There is nothing on either side.")
        return
    shown = [
        (
            row["on"],
            row["project"],
            row["model"] or row["line_item"],
            row["meter"] or ("no rule" if row["line_item"] else "no figures"),
            row["ours_quantity"],
            row["theirs_quantity"],
            *_amounts(row),
        )
        for row in rows
    ]
    titles = ("UTC day", "Project", "Model or line", "Meter", ("Ours", NUMBER), ("Theirs", NUMBER))
    print_table((*titles, *_AMOUNT_COLUMNS), shown, spare=("Project",))


def _print_verdict(made: Reconciliation, rows: Sequence[Mapping[str, Any]]) -> None:
    unknown = {row["line_item"] for row in rows if row["line_item"]}
    if unknown:
        note(
            f"Lines of the bill that no rule is about: {len(unknown)}. Say what they are by"
            " `talkmeter reconcile set-rule`."
        )
    uncounted = sum(row["uncounted_entries"] for row in rows)
    if uncounted:
        note(
            f"Entries of which the provider sent no figures: {uncounted:,}."
            " What they cost is part of the unexplained."
        )
    over = [day for day in made.days if day.is_over]
    if over:
        note(
            f"Too much is unexplained on {len(over)} of {len(made.days)} days. This comparison is {made.id}."
        )


def _differs(row: Mapping[str, Any]) -> bool:
    parts = [row[f"{name}_nanousd"] for name in _DIFFERENCES]
    counted = row["theirs_quantity"] in (None, row["ours_quantity"])
    return any(parts) or not counted or row["uncounted_entries"] != 0 or row["unrated_quantity"] != 0


def _amounts(told: Mapping[str, Any]) -> list[str | None]:
    """Return ours and theirs, and what differs; nothing where it does not."""
    differing = [told[f"{name}_usd"] if told[f"{name}_nanousd"] else None for name in _DIFFERENCES]
    return [told["ours_usd"], told["theirs_usd"], *differing]


def _short(nanousd: int) -> str:
    return f"${format_usd(nanousd)}"


_CSV_COLUMNS = (
    *("on", "project", "model", "meter", "line_item"),
    *("ours_quantity", "theirs_quantity", "unrated_quantity", "uncounted_entries"),
    *(f"{name}_usd" for name in ("ours", "theirs", *_DIFFERENCES)),
    "keys",
)
