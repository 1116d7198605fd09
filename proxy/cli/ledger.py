"""`talkmeter ledger`: what was billed, entry by entry, and whether it adds up."""

from pathlib import Path
from typing import Annotated

import typer

from proxy.cli import query
from proxy.cli.output import (
    ID,
    NUMBER,
    JsonOption,
    database,
    fail,
    note,
    period,
    print_json,
    print_table,
    progress,
    settings,
)
from proxy.cli.root import app
from proxy.core.money import format_usd
from proxy.store.chain import parse_seal
from proxy.store.filters import Filters
from proxy.store.instants import parse_zone
from proxy.store.ledger import Booked, entries, newest
from proxy.store.verify import Verdict
from proxy.store.verify import verify as verify_ledger

ledger = typer.Typer(no_args_is_help=True, help="Every billed thing, one entry each.")
app.add_typer(ledger, name="ledger")

TABLE_ENTRIES = 50
TABLE_ENTRIES_MAX = 10_000
ENTRY_ID_MAX = 2**63 - 1


@ledger.command("list")
def list_entries(
    start: query.FromOption = None,
    end: query.ToOption = None,
    tenant: query.TenantOption = None,
    project: query.ProjectOption = None,
    key: query.KeyOption = None,
    session: query.SessionOption = None,
    model: query.ModelOption = None,
    accounted: query.PeriodOption = None,
    unrated: Annotated[bool, typer.Option("--unrated", help="Only entries without a price.")] = False,
    after: Annotated[
        int, typer.Option(min=0, max=ENTRY_ID_MAX, help="Only entries with a greater id (with --json).")
    ] = 0,
    limit: Annotated[
        int, typer.Option(min=1, max=TABLE_ENTRIES_MAX, help="How many of the newest the table shows.")
    ] = TABLE_ENTRIES,
    json: JsonOption = False,
) -> None:
    """List ledger entries: the newest in a table, or with --json all of them, one object a line."""
    given = settings()
    zone = parse_zone(given.period_timezone)
    first, last = period(start, end, zone)
    filters = Filters(
        start=first,
        end=last,
        tenant=tenant,
        project=project,
        key=key,
        session=session,
        model=model,
        period=query.month_given(accounted),
        unrated=unrated,
    )
    with database(given) as engine:
        if json:
            for entry in entries(engine, filters, after=after):
                print_json(entry.as_json())
            return
        shown = newest(engine, filters, limit)
    print_entries(shown)
    if len(shown) == limit:
        note(f"These are the newest {limit}: --limit shows more, --json all.")


def print_entries(shown: list[Booked]) -> None:
    """Print a table of entries, the way people read them: what, whose, how much."""
    titles = (
        ("Id", NUMBER),
        "Occurred",
        "Tenant",
        "Model",
        "Kind",
        ("Subject", ID),
        "Status",
        ("Cost $", NUMBER),
        ("Billed $", NUMBER),  # where it is another amount
        "Notes",
    )
    print_table(
        titles,
        [
            (
                str(entry.id),
                entry.occurred_at,
                entry.tenant,
                entry.model,
                entry.kind if entry.role == "original" else f"{entry.kind} ({entry.role})",
                entry.subject_id,
                entry.status,
                format_usd(entry.cost_nanousd) if entry.cost_nanousd is not None else "unrated",
                _billed(entry),
                _notes(entry),
            )
            for entry in shown
        ],
        spare=("Subject", "Kind", "Notes"),
    )


def _notes(entry: Booked) -> str:
    concerns = [f"correction of {entry.corrects_period}"] if entry.corrects_period else []
    elsewhere = [f"lines in {entry.archive}"] if entry.archive else []
    return ", ".join([*concerns, *["estimated"] * entry.estimated, *entry.flags, *elsewhere])


def _billed(entry: Booked) -> str | None:
    """Return what the tenant owes, if that is not what it costs us."""
    billed = entry.billed_nanousd
    return None if billed is None or billed == entry.cost_nanousd else format_usd(billed)


@ledger.command("verify")
def verify(
    digest: Annotated[
        str | None,
        typer.Option(help="What an earlier verify printed: the ledger has to begin with all of that."),
    ] = None,
    archive: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="An archive, to check its lines too; may be repeated."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Recompute every entry from its lines and rate cards, and the chain. Ends with 1 if anything differs."""
    given = settings()
    kept = _kept(digest)
    with database(given) as engine, progress("verifying") as told:
        zone = parse_zone(given.period_timezone)
        verdict = verify_ledger(engine, zone, told, kept=kept, files=archive or ())
    if json:
        _print_json(verdict)
    else:
        _print_verdict(verdict, compared=kept is not None)


def _kept(digest: str | None) -> str | None:
    try:
        return parse_seal(digest) if digest is not None else None
    except ValueError as problem:
        raise typer.BadParameter(str(problem), param_hint="--digest") from None


def _print_json(verdict: Verdict) -> None:
    ok = verdict.fault is None
    told = {"ok": ok, "entries": verdict.entries, "fault": verdict.fault, "digest": verdict.seal}
    print_json(told | {"archived": list(verdict.sealed)})
    raise typer.Exit(0 if ok else 1)


def _print_verdict(verdict: Verdict, *, compared: bool) -> None:
    if verdict.fault is not None:
        fail(f"{verdict.fault} ({verdict.entries:,} entries before it add up)")
    typer.echo(f"{verdict.entries:,} entries add up.\n{verdict.seal}")
    if verdict.sealed:
        note(
            f"Lines of {', '.join(verdict.sealed)} are archived: --archive FILE checks them too. Without it"
            " what is left was checked against the seal that this database has of them."
        )
    if compared:
        note("Nothing was changed up to the digest that you gave. Keep this one elsewhere for the next time.")
    else:
        note(
            "Keep this digest elsewhere. Without --digest and an earlier one, nobody can tell a ledger that"
            " was cut off at its end, or written anew as a whole, from a good one."
        )
