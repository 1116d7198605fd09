"""`talkmeter report`: what was spent, grouped as asked."""

from typing import Annotated, Literal

import typer

from proxy.cli import query
from proxy.cli.output import (
    NUMBER,
    JsonOption,
    database,
    note,
    print_json,
    print_table,
    refuse_options,
    settings,
)
from proxy.cli.root import app
from proxy.core.money import format_usd
from proxy.core.usage import Meter
from proxy.store.csv_text import to_csv
from proxy.store.reports import Basis, Report, ReportRow, run
from proxy.store.totals import FIGURES

_COUNTS = tuple(name for name in FIGURES if name not in Meter._value2member_map_)
_TITLES = {
    "cost_usd": "cost $",
    "billed_usd": "billed $",
    "estimated_nanousd": "estimated $",
    "unrated_entries": "unrated",
    "cached_share": "cached",
    "cost_per_session_usd": "$ a session",
    "cost_per_spoken_minute_usd": "$ a spoken minute",
}


report = typer.Typer(invoke_without_command=True)
app.add_typer(report, name="report")


@report.callback()
def show_report(
    context: typer.Context,
    start: query.FromOption = None,
    end: query.ToOption = None,
    group_by: query.GroupByOption = query.GROUP_BY,
    tz: query.ZoneOption = None,
    basis: query.BasisOption = Basis.OCCURRED,
    format: Annotated[Literal["table", "json", "csv"], typer.Option(help="What to print.")] = "table",
    tenant: query.TenantOption = None,
    project: query.ProjectOption = None,
    key: query.KeyOption = None,
    model: query.ModelOption = None,
    accounted: query.PeriodOption = None,
    session: query.SessionOption = None,
    end_user: query.EndUserOption = None,
    tag: query.TagOption = None,
    kind: query.KindOption = None,
    status: query.StatusOption = None,
    meter: query.MeterOption = None,
    modality: query.ModalityOption = None,
    unrated: query.UnratedOption = False,
    estimated: query.EstimatedOption = False,
    count_sessions: query.SessionsOption = False,
    json: JsonOption = False,
) -> None:
    """Report costs and quantities, exactly, over a time and by groups."""
    if context.invoked_subcommand is not None:
        refuse_options(context)
        return
    given = settings()
    asked = query.costs(
        given,
        start=start,
        end=end,
        tz=tz,
        basis=basis,
        accounted=accounted,
        group_by=group_by,
        count_sessions=count_sessions,
        tenant=tenant,
        project=project,
        key=key,
        model=model,
        session=session,
        end_user=end_user,
        tag=tag,
        kind=kind,
        status=status,
        meter=meter,
        modality=modality,
        unrated=unrated,
        estimated=estimated,
    )
    with database(given) as engine:
        answer = run(engine, asked)
    print_report(answer, "json" if json else format)


def print_report(answer: Report, format: str) -> None:
    """Print an answer as a table, JSON or CSV."""
    if format == "json":
        print_json(answer.as_json())
    elif format == "csv":
        typer.echo(to_csv(_columns(answer), answer.rows or [answer.total]), nl=False)
    else:
        _print_table(answer)


def _group_columns(answer: Report) -> list[str]:
    """Return the group columns, ids beside names included."""
    first = answer.rows[0] if answer.rows else {}
    return [name for name in first if name not in _COUNTS and name not in Meter._value2member_map_]


def _columns(answer: Report) -> list[str]:
    return [*_group_columns(answer), *_COUNTS, *Meter]


def _print_table(answer: Report) -> None:
    groups = [name for name in _group_columns(answer) if not name.endswith("_id")]
    used = [meter.value for meter in Meter if answer.total[meter.value]]
    total = answer.total
    counts = [*(["sessions"] if total["sessions"] is not None else []), "responses", "cost_usd"]
    extra = [name for name in ("estimated_nanousd", "unrated_entries") if total[name]]
    if total["billed_nanousd"] != total["cost_nanousd"]:
        extra = ["billed_usd", *extra]
    extra += [name for name in ("cached_share", "cost_per_spoken_minute_usd") if total[name] is not None]
    columns = [*counts, *extra, *used]
    titles: list[str | tuple[str, str]] = [*groups, *((_title(name), NUMBER) for name in columns)]
    rows = [[row[name] for name in groups] + [_value(row, name) for name in columns] for row in answer.rows]
    sums = ["total", *[None] * (len(groups) - 1)][: len(groups)] + [_value(total, n) for n in columns]
    spare = [_title(name) for name in [*reversed(used), *reversed(extra)]]
    print_table(titles, rows if groups else [sums], footer=sums if groups else (), spare=spare)
    unrated = total["unrated_entries"]
    if unrated:
        note(
            f"Without a price, and without a cost in these figures: {unrated}. See"
            " `talkmeter ledger list --unrated`."
        )


def _title(name: str) -> str:
    return _TITLES.get(name, name)


def _value(row: ReportRow, name: str) -> object:
    value = row[name]
    return format_usd(int(value or 0)) if name == "estimated_nanousd" else value
