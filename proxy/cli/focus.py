"""`talkmeter export focus`: cost and usage as FOCUS has it, for the tools of a finance team."""

from datetime import UTC
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from proxy.cli.exports import STDOUT, export
from proxy.cli.output import (
    JsonOption,
    database,
    fail,
    month,
    note,
    now,
    period,
    print_json,
    progress,
    settings,
    undone_by_signals,
)
from proxy.cli.query import TenantOption
from proxy.core.periods import month_of
from proxy.exports.focus import Export, Wanted
from proxy.exports.focus_columns import Version
from proxy.exports.focus_files import Written, write_focus
from proxy.exports.focus_rows import View
from proxy.store.filters import Filters

EXIT_UNRATED = 3


@export.command("focus")
def export_focus(
    output: Annotated[Path, typer.Option(help="The file to write, such as focus.csv.")],
    version: Annotated[Version, typer.Option(help="Of FOCUS.")] = Version.V1_2,
    billed_in: Annotated[
        str | None,
        typer.Option(
            "--month", metavar="YYYY-MM", help="What is billed in this month, in UTC; else in this one."
        ),
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Instead: what was used from this day or instant on, in UTC.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="A day or an instant; no longer inside.")] = None,
    whose: Annotated[
        Literal["operator", "tenant"],
        typer.Option("--as", help="operator: what the provider charges us. tenant: what tenants owe us."),
    ] = "operator",
    tenant: TenantOption = None,
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = False,
    json: JsonOption = False,
) -> None:
    """Write cost and usage as FOCUS has it. Ends with 3 if something has no price: it is in a file beside."""
    if output == STDOUT:
        raise typer.BadParameter("there may be two files: give --output FILE", param_hint="--output")
    first, last = period(start, end)
    filters = Filters(start=first, end=last, tenant=tenant)
    wanted = Wanted(version, _view(whose), filters, _month(billed_in, start, end))
    with database() as engine:
        found = Export.of(engine, wanted)
        written = _write(found, output, force)
    _tell(output, written, json)


def _month(billed_in: str | None, start: str | None, end: str | None) -> str | None:
    is_timed = start is not None or end is not None
    if billed_in is None:
        return None if is_timed else month_of(now(), UTC)
    if is_timed:
        raise typer.BadParameter("give either --month, or --from and --to", param_hint="--month")
    return month("--month", billed_in)


def _write(found: Export, output: Path, force: bool) -> Written:
    total = found.count()
    with undone_by_signals(), progress("exporting") as told:
        return write_focus(found, output, overwrite=force, told=lambda done: told(done, total))


def _view(whose: str) -> View:
    if whose == "operator":
        return View()
    issuer = settings().statement_issuer
    if not issuer:
        fail("Tenants have to know who bills them: set TALKMETER_STATEMENT_ISSUER to your company's name.")
    return View(issuer)


def _tell(output: Path, written: Written, json: bool) -> NoReturn:
    if json:
        print_json(
            {
                "file": str(output),
                "rows": written.rows,
                "unrated_entries": written.unrated_entries,
                "unrated_file": str(written.companion) if written.companion else None,
            }
        )
    else:
        note(f"{output}: {written.rows:,} rows")
    if written.companion is None:
        raise typer.Exit
    note(
        f"{written.unrated_entries:,} entries have no price, and are in {written.companion} instead:"
        " `talkmeter prices set` gives them one, and `talkmeter prices rerate` books it."
    )
    raise typer.Exit(EXIT_UNRATED)
