"""`talkmeter serve`, `migrate`, `check` and `simulator`: what runs, and what makes ready to run."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from proxy import loading
from proxy.cli.output import ID, JsonOption, fail, print_json, print_table, settings
from proxy.cli.root import app
from proxy.settings import WORKERS_MAX, Settings, SettingsError, load, parse_address
from proxy.store import StoreError

_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red", "not asked": "dim"}


@app.command()
def serve(
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=WORKERS_MAX,
            help="So many processes share the apps' port, on PostgreSQL. [TALKMETER_WORKERS]",
        ),
    ] = None,
) -> None:
    """Run both planes: apps connect to LISTEN, health and metrics are at ADMIN_LISTEN."""
    from proxy.admin.listen import ListenError
    from proxy.processes.worker_task import WorkerFailed

    warnings: list[str] = []
    try:
        settings = load(warnings.append)
        if workers is not None:
            settings = settings.model_copy(update={"workers": workers})
        with suppress(KeyboardInterrupt):
            _run(settings, warnings)
    except (SettingsError, StoreError, ListenError, WorkerFailed) as problem:
        fail(problem)


def _run(settings: Settings, warnings: Sequence[str]) -> None:
    """Serve: in this process, or as the parent of workers, which loads none of what they do."""
    if settings.workers > 1:
        with loading.for_good():
            import asyncio

            from proxy.processes import workers

        asyncio.run(workers.run(settings, warnings))
    else:
        with loading.for_good():
            import uvloop

            from proxy import app as data_plane

        uvloop.run(data_plane.run(settings, warnings))


@app.command()
def migrate(
    app_role: Annotated[
        str | None,
        typer.Option(help="PostgreSQL: the role that `serve` connects as; it may not change what is booked."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Bring the database to this version's tables and prices. Safe to repeat."""
    from proxy.store.database import describe, open_database
    from proxy.store.database import migrate as migrate_database

    url = settings().database_url
    try:
        engine = open_database(url)
        try:
            migrate_database(engine, app_role)
        finally:
            engine.dispose()
    except StoreError as problem:
        fail(problem)
    if json:
        print_json({"database": describe(url), "migrated": True})
    else:
        typer.echo(f"{describe(url)} is up to date.")


@app.command()
def check(json: JsonOption = False) -> None:
    """Look at everything that `serve` needs, and say what to do. Ends with 1 if something failed."""
    from rich.text import Text

    from proxy.checks.findings import is_good
    from proxy.checks.questions import check as ask

    findings = ask()
    good = is_good(findings)
    if json:
        print_json({"ok": good, "checks": findings})
    else:
        rows = [(one.name, Text(one.status, _STYLES[one.status]), one.found, one.to_do) for one in findings]
        print_table([("Looked at", ID), ("Is", ID), "Found", "To do"], rows)
    raise typer.Exit(0 if good else 1)


@app.command()
def simulator(
    listen: Annotated[str, typer.Option(help="HOST:PORT; port 0 takes a free one.")] = "127.0.0.1:8090",
    truth: Annotated[Path | None, typer.Option(help="Write every usage that is billed to this file.")] = None,
    api_key: Annotated[
        list[str] | None, typer.Option(help="A key that is accepted; may be repeated. Default: sk-simulator.")
    ] = None,
    speed: Annotated[float, typer.Option(min=0.01, help="How many times faster than real time.")] = 20.0,
    reporting_delay: Annotated[
        float, typer.Option(min=0, help="Seconds until costs and usage show what was billed.")
    ] = 0.0,
) -> None:
    """Run a simulated Realtime API, to develop and demonstrate against."""
    from proxy.simulator import run

    try:
        address = parse_address(listen)
        run(
            str(address),
            truth=truth,
            api_keys=frozenset(api_key or ()),
            speed=speed,
            reporting_delay_s=reporting_delay,
        )
    except ValueError as problem:
        fail(f"--listen is {listen!r}: {problem}")
    except OSError as problem:
        fail(f"the simulator cannot start: {problem}")
