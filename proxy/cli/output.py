"""What all commands share: the database, tables for people, JSON for programs, errors for both."""

import contextlib
import getpass
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Annotated, Any, NoReturn

import typer
from sqlalchemy import Engine

from proxy.core.money import parse_usd
from proxy.core.periods import parse_period
from proxy.settings import Settings, SettingsError, load
from proxy.store import StoreError
from proxy.store.audit import Act
from proxy.store.database import reachable, ready_database
from proxy.store.filters import month_from
from proxy.store.instants import format_instant, parse_instant
from proxy.store.pepper import pepper_for

ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why: kept in the audit log.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON, for programs.")]
NUMBER = "number"  # a column's kind: to the right, in one piece
ACTOR_PART_CHARS_MAX = 64
ID = "id"  # in one piece, to be copied

Column = str | tuple[str, str]
Row = Sequence[object]
Told = Callable[[int, int | None], None]  # so much is done, of how much; None where nobody knows


def fail(problem: object) -> NoReturn:
    """Say what is wrong, a line each, and end with 1."""
    for line in str(problem).splitlines():
        typer.echo(f"error: {line}", err=True)
    raise typer.Exit(1)


def settings() -> Settings:
    """Return the settings, or end with what is wrong with them."""
    try:
        return load()
    except SettingsError as problem:
        fail(problem)


@contextlib.contextmanager
def database(given: Settings | None = None) -> Iterator[Engine]:
    """The database that the settings name. What a person can put right ends the command, in one line."""
    try:
        engine = ready_database((given or settings()).database_url)
    except StoreError as problem:
        fail(problem)
    try:
        with reachable(engine):
            yield engine
    except StoreError as problem:
        fail(problem)
    finally:
        engine.dispose()


@contextlib.contextmanager
def undone_by_signals() -> Iterator[None]:
    """A lost terminal and `kill` undo what is half done, as Ctrl-C does, before they end the command."""
    ours = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) is signal.SIG_DFL]
    for number in ours:  # not what `nohup` has ignored
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _end(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


@contextlib.contextmanager
def progress(what: str) -> Iterator[Told]:
    """Show people how far it is. Where nobody looks, it writes nothing; it leaves standard output alone."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    is_seen = console.is_terminal
    with Progress(console=console, transient=True, redirect_stdout=False, disable=not is_seen) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


def pepper_of(given: Settings, engine: Engine) -> bytes:
    """Return what secrets are hashed with; raises StoreError where there is none."""
    configured = given.key_pepper.get_secret_value() if given.key_pepper else None
    return pepper_for(engine, configured)


def now() -> datetime:
    """Return this instant."""
    return datetime.now(UTC)


def act(reason: str | None = None) -> Act:
    """Return what whoever runs this command does now, for the audit log."""
    return Act(f"cli:{_plain(_user())}@{_plain(socket.gethostname())}", now(), reason)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return f"uid{os.getuid()}"


def _plain(name: str) -> str:
    """Return a name as it may stand in the audit log: the environment and the network chose it."""
    shown = "".join(c if c.isalnum() or c in "-._" else "?" for c in name[:ACTOR_PART_CHARS_MAX])
    return shown or "?"


def instant(
    option: str, text: str | None, zone: tzinfo = UTC, months_of: tzinfo | None = None
) -> datetime | None:
    """Return the instant that an option names; a wrong one ends the command with 2.

    With `months_of` it is the first moment of a month in that zone.
    """
    if text is None:
        return None
    try:
        at = parse_instant(text, zone)
        if months_of is not None:
            month_from(at, months_of)
        return at
    except (ValueError, StoreError) as problem:
        raise typer.BadParameter(str(problem), param_hint=option) from None


def period(
    start: str | None, end: str | None, zone: tzinfo = UTC, months_of: tzinfo | None = None
) -> tuple[datetime | None, datetime | None]:
    """Return the instants of --from and --to. Where nothing is between them the command ends with 2.

    With `months_of` both are first moments of months in that zone.
    """
    own = months_of or zone
    first, last = instant("--from", start, own, months_of), instant("--to", end, own, months_of)
    if first is not None and last is not None and last <= first:
        raise typer.BadParameter(f"{end!r} is not after --from {start!r}", param_hint="--to")
    return first, last


def month(option: str, text: str) -> str:
    """Return the period that an option or argument names; a wrong one ends the command with 2."""
    try:
        return parse_period(text)
    except ValueError as problem:
        raise typer.BadParameter(str(problem), param_hint=option) from None


def usd(option: str, text: str) -> int:
    """Return the nano-dollars of an option in dollars; what is none ends the command with 2."""
    try:
        return parse_usd(text)
    except ValueError as problem:
        raise typer.BadParameter(str(problem), param_hint=option) from None


def refuse_options(context: typer.Context) -> None:
    """End the command where options stand before a subcommand, which would not know of them."""
    names = [parameter.name for parameter in context.command.params if parameter.name]
    sources = {name: context.get_parameter_source(name) for name in names}
    given = [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    if given:
        raise typer.BadParameter(f"options stand behind `{context.info_name} {context.invoked_subcommand}`")


def print_json(value: object) -> None:
    """Print one JSON value on one line."""
    typer.echo(json.dumps(as_json(value)))


def as_json(value: Any) -> Any:
    """Return a value made of JSON's types: instants as text, dataclasses as objects."""
    match value:
        case datetime():
            return format_instant(value)
        case dict():
            return {name: as_json(item) for name, item in value.items()}
        case list() | tuple():
            return [as_json(item) for item in value]
        case _ if hasattr(value, "__dataclass_fields__"):
            return {name: as_json(getattr(value, name)) for name in value.__dataclass_fields__}
        case _:
            return value


def print_table(
    columns: Sequence[Column], rows: Sequence[Row], *, footer: Row = (), spare: Sequence[str] = ()
) -> None:
    """Print a table without those columns that are empty. A column is its title, or (title, kind).

    Where a terminal is too narrow, columns titled as in `spare` are left out, the first one first.
    """
    from proxy.cli.tables import show  # only where there is something to show

    if left_out := show(columns, rows, footer, spare):
        note(f"Too wide for this terminal: {', '.join(left_out)}. --json has everything.")


def note(text: str) -> None:
    """Say something to a person without disturbing what is piped on."""
    typer.echo(text, err=True)
