"""`talkmeter statement`: what each tenant owes for a closed month."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from proxy.cli.output import (
    ID,
    NUMBER,
    JsonOption,
    as_json,
    database,
    fail,
    month,
    note,
    print_json,
    print_table,
)
from proxy.cli.root import app
from proxy.core.money import format_cents, format_usd
from proxy.store.database import reading
from proxy.store.instants import format_instant
from proxy.store.statements import DISCLAIMER, STATEMENTS_MAX, Whole, find_statement, section_of
from proxy.store.statements import list_statements as all_statements
from proxy.store.stating import StatedLine

statement = typer.Typer(no_args_is_help=True, help="What each tenant owes for a closed month.")
app.add_typer(statement, name="statement")

TABLE_STATEMENTS = 50


@statement.command("list")
def list_statements(
    period: Annotated[str | None, typer.Option(metavar="YYYY-MM", help="Only of this month.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's (name or id).")] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=STATEMENTS_MAX, help="How many of the newest are listed.")
    ] = TABLE_STATEMENTS,
    json: JsonOption = False,
) -> None:
    """List statements, the newest last."""
    wanted = month("--period", period) if period is not None else None
    with database() as engine, reading(engine) as connection:
        found = all_statements(connection, period=wanted, tenant=tenant, limit=limit)
    if json:
        print_json([one.as_json() for one in found])
        return
    titles = (
        ("Number", ID),
        "Period",
        "Tenant",
        ("Entries", NUMBER),
        ("Unrated", NUMBER),
        ("Sum $", NUMBER),
        ("Total $", NUMBER),
    )
    rows = [
        (
            one.number,
            one.period,
            one.tenant,
            one.entries,
            one.unrated_entries or None,
            format_usd(one.billed_nanousd),
            format_cents(one.total_cents),
        )
        for one in found
    ]
    print_table(titles, rows, spare=("Sum $", "Entries"))
    if len(found) == limit:
        note(f"These are the newest {limit}: --limit lists more, --period and --tenant less.")


@statement.command("show")
def show_statement(
    number: Annotated[str, typer.Argument(help="Such as 2026-11-0001: see `statement list`.")],
    format: Annotated[Literal["table", "json", "csv", "pdf"], typer.Option(help="What to make.")] = "table",
    output: Annotated[Path | None, typer.Option(help="Write it to this file; a PDF needs one.")] = None,
    json: JsonOption = False,
) -> None:
    """Show a statement, exactly as it was made when its month was closed."""
    if format == "pdf" and output is None:
        raise typer.BadParameter("a PDF goes to a file: give --output FILE", param_hint="--output")
    if format == "table" and output is not None and not json:
        raise typer.BadParameter("a table goes to the terminal: give --format too", param_hint="--output")
    with database() as engine, reading(engine) as connection:
        found = find_statement(connection, number)
    made = _made(found, "json" if json else format)
    if made is None:
        _print(found)
    elif output is None:
        typer.echo(made, nl=False)
    else:
        _write(output, made)


def _made(found: Whole, format: str) -> bytes | None:
    """Return what a program or a file gets; None is for people."""
    match format:
        case "json":
            import json

            return (json.dumps(as_json(found.as_json())) + "\n").encode()
        case "csv":
            return found.as_csv().encode()
        case "pdf":
            from proxy.store.statement_pdf import to_pdf

            return to_pdf(found)
    return None


def _write(output: Path, made: bytes) -> None:
    try:
        output.write_bytes(made)
    except OSError as problem:
        fail(f"{output} cannot be written: {problem.strerror or problem}.")
    typer.echo(f"{output}: {len(made):,} bytes")


def _print(found: Whole) -> None:
    head = found.head
    span = f"{format_instant(head.starts_at)} to {format_instant(head.ends_at)}"
    typer.echo(f"Statement {head.number} for {head.tenant}, {head.period} in {head.zone} ({span})")
    titles = (
        "Part",
        "Project",
        "Model",
        "For",
        "Corrects",
        ("Quantity", NUMBER),
        "Unit",
        ("Billed $", NUMBER),
    )
    footer = ("sum", *[None] * 6, format_usd(head.billed_nanousd))
    print_table(titles, [_row(line) for line in found.lines], footer=footer, spare=("Unit",))
    typer.echo(f"Rounding ${format_usd(head.rounding_nanousd)}, total ${format_cents(head.total_cents)}")
    if head.unrated_entries:
        note(f"Without a price, and without an amount in the sum: {head.unrated_entries} entries.")
    note(DISCLAIMER)


def _row(line: StatedLine) -> tuple[object, ...]:
    return (
        section_of(line),
        line.project,
        line.model,
        what_for(line),
        line.corrects_period,
        line.quantity,
        line.unit,
        format_usd(line.billed_nanousd) if line.billed_nanousd is not None else "unrated",
    )


def what_for(line: StatedLine) -> str:
    """Return what a line is about, in a few words."""
    if line.entry_id is not None:
        return f"{line.kind}, entry {line.entry_id}: {line.reason}"
    return f"{line.kind}: {line.meter}" if line.meter else f"{line.kind} without usage"
