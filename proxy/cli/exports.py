"""`talkmeter export`: the ledger and reports as files."""

import typer

from proxy.cli.root import app

export = typer.Typer(no_args_is_help=True, help="The ledger and reports as files.")
app.add_typer(export, name="export")
