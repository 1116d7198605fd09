"""`talkmeter demo`: everything at once, with nothing to configure."""

from typing import Annotated

import typer

from proxy.cli.output import fail
from proxy.cli.root import app
from proxy.settings import SettingsError
from proxy.store import StoreError


@app.command()
def demo(once: Annotated[bool, typer.Option("--once", help="End after the report.")] = False) -> None:
    """Play a few conversations against a simulated upstream and show what they cost, turn by turn."""
    import uvloop

    from proxy.admin.listen import ListenError
    from proxy.demo import run

    try:
        uvloop.run(run(once=once))
    except (SettingsError, StoreError, ListenError) as problem:
        fail(problem)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
