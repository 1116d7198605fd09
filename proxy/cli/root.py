"""The root of the command line. Every module of `proxy.cli` adds its commands to `app`."""

from typing import Annotated

import typer

from proxy import __version__

app = typer.Typer(
    name="talkmeter",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # they would print local variables, and some hold secrets
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A transparent WebSocket proxy for voice APIs that meters every conversation.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"talkmeter {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """A transparent WebSocket proxy for voice APIs that meters every conversation."""
