"""`talkmeter export`: the ledger and reports as files that finance tools read."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from proxy.cli import query
from proxy.cli.output import (
    JsonOption,
    database,
    fail,
    note,
    period,
    print_json,
    progress,
    settings,
    undone_by_signals,
)
from proxy.cli.root import app
from proxy.exports.costs import costs_table
from proxy.exports.files import complete_file
from proxy.exports.formats import TEXTS, Format, write
from proxy.exports.ledger import ledger_table
from proxy.exports.table import Table
from proxy.store.filters import Filters
from proxy.store.reports import Basis

STDOUT = Path("-")

FormatOption = Annotated[Format, typer.Option(help="What to write; XLSX has at most 1,048,575 rows.")]
OutputOption = Annotated[Path, typer.Option(help="The file, or - for standard output (CSV and JSON lines).")]
ForceOption = Annotated[bool, typer.Option("--force", help="Write over a file that is there.")]

export = typer.Typer(no_args_is_help=True, help="The ledger and reports as files.")
app.add_typer(export, name="export")


@export.command("ledger")
def export_ledger(
    output: OutputOption,
    format: FormatOption = Format.CSV,
    start: query.FromOption = None,
    end: query.ToOption = None,
    tenant: query.TenantOption = None,
    project: query.ProjectOption = None,
    key: query.KeyOption = None,
    session: query.SessionOption = None,
    model: query.ModelOption = None,
    kind: query.KindOption = None,
    accounted: query.PeriodOption = None,
    unrated: query.UnratedOption = False,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Write a row for each ledger line, with its entry beside it, in the order of the chain."""
    _check_output(output, format, json)
    given = settings()
    first, last = period(start, end, query.zone_of(given.period_timezone))
    filters = query.checked(
        Filters(
            start=first,
            end=last,
            tenant=tenant,
            project=project,
            key=key,
            session=session,
            model=model,
            kind=kind,
            period=query.month_given(accounted),
            unrated=unrated,
        )
    )
    with database(given) as engine, progress("exporting") as told:
        rows = _write(ledger_table(engine, filters, told=told), format, output, force)
    _done(output, format, rows, json)


@export.command("costs")
def export_costs(
    output: OutputOption,
    format: FormatOption = Format.CSV,
    start: query.FromOption = None,
    end: query.ToOption = None,
    group_by: query.GroupByOption = query.GROUP_BY,
    tz: query.ZoneOption = None,
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
    basis: query.BasisOption = Basis.OCCURRED,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Write a cost report, as `talkmeter report` makes it: at most 100,000 rows."""
    _check_output(output, format, json)
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
        rows = _write(costs_table(engine, asked), format, output, force)
    _done(output, format, rows, json)


def _check_output(output: Path, format: Format, json: bool) -> None:
    """End the command with 2 where standard output is asked for what it cannot take."""
    if output != STDOUT:
        return
    if format not in TEXTS:
        raise typer.BadParameter(f"{format} goes to a file: give --output FILE", param_hint="--output")
    if json:
        raise typer.BadParameter("standard output has the export: give --output FILE", param_hint="--json")


def _write(table: Table, format: Format, output: Path, force: bool) -> int:
    if output == STDOUT:
        return _print(table, format)
    with undone_by_signals(), complete_file(output, overwrite=force) as file:
        return write(table, format, file)


def _print(table: Table, format: Format) -> int:
    try:
        rows = write(table, format, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return rows
    except BrokenPipeError:
        raise  # nobody reads on, as with `| head`: that ends the command without a word
    except OSError as problem:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is buffered
        fail(f"Standard output takes no more: {problem.strerror}.")


def _done(output: Path, format: Format, rows: int, json: bool) -> None:
    if json:
        print_json({"file": str(output), "format": format, "rows": rows, "bytes": output.stat().st_size})
    elif output != STDOUT:
        note(f"{output}: {rows:,} rows, {output.stat().st_size:,} bytes.")
