"""`talkmeter ledger archive`: taking a closed month's lines out of the ledger, into a file."""

from pathlib import Path
from typing import Annotated

import typer

from proxy.cli.ledger import ledger
from proxy.cli.output import (
    JsonOption,
    ReasonOption,
    act,
    database,
    month,
    note,
    print_json,
    progress,
    settings,
    undone_by_signals,
)
from proxy.exports.archiving import archive, file_name
from proxy.store.instants import parse_zone


@ledger.command("archive")
def archive_period(
    period: Annotated[str, typer.Argument(metavar="YYYY-MM", help="The month: closed.")],
    folder: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Where the file goes.")] = Path(),
    reason: ReasonOption = None,
    json: JsonOption = False,
) -> None:
    """Put a closed month's lines into a file, and remove them here. Entries, sums and statements stay."""
    wanted, given = month("YYYY-MM", period), settings()
    with database(given) as engine, undone_by_signals(), progress("verifying") as told:
        made = archive(engine, wanted, folder, act(reason), parse_zone(given.period_timezone), told)
    if json:
        print_json(made)
        return
    where = folder / file_name(made.period)
    typer.echo(f"{made.period} is archived in {where}: {made.lines:,} lines of {made.entries:,} entries.")
    typer.echo(made.file_digest)
    note(
        "Keep the file, and a copy elsewhere: its lines are nowhere else. Keep its digest elsewhere too;"
        f" `talkmeter ledger verify --archive {where}` checks all of them again."
    )
