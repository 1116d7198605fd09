"""`talkmeter prices rerate`: what was booked, on the cards that are there now."""

from collections.abc import Iterable
from typing import Annotated

import typer

from proxy.cli.output import (
    ID,
    NUMBER,
    JsonOption,
    act,
    database,
    note,
    period,
    print_json,
    print_table,
    progress,
    settings,
)
from proxy.cli.prices import prices
from proxy.core.money import format_usd
from proxy.store.database import reading
from proxy.store.filters import Filters
from proxy.store.instants import parse_zone
from proxy.store.rerate import Change, Rerating
from proxy.store.tenants import list_tenants


@prices.command("rerate")
def rerate(
    start: Annotated[str | None, typer.Option("--from", help="A day or an instant; inside.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="A day or an instant; no longer inside.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant (name or id).")] = None,
    project: Annotated[str | None, typer.Option(help="Only this project (name or id).")] = None,
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    session: Annotated[str | None, typer.Option(help="Only this session (id).")] = None,
    unrated: Annotated[bool, typer.Option("--unrated", help="Only entries without a price.")] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Book it: reverse and replace each.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why, for the audit log: needed with --apply.")] = None,
    json: JsonOption = False,
) -> None:
    """Show what was rated otherwise than cards and markups say now; with --apply, correct it."""
    if apply and not (reason or "").strip():
        raise typer.BadParameter("say why the ledger is corrected", param_hint="--reason")
    given = settings()
    zone = parse_zone(given.period_timezone)
    first, last = period(start, end, zone)
    wanted = Rerating(
        filters=Filters(
            start=first,
            end=last,
            tenant=tenant,
            project=project,
            model=model,
            session=session,
            unrated=unrated,
        ),
        aliases=given.model_aliases,
        zone=zone,
        act=act(reason) if apply else None,
    )
    with database(given) as engine, progress("rating") as told:
        with reading(engine) as connection:
            names = {one.id: one.name for one in list_tenants(connection)}
        sums: dict[tuple[str, str], _Sum] = {}
        for number, change in enumerate(wanted.run(engine), 1):
            if json:
                print_json({**_shown(change, names), "booked": apply})
            key = (names.get(change.tenant_id, change.tenant_id), change.model or "")
            sums.setdefault(key, _Sum()).add(change)
            told(number, None)
    if not json:
        _print_sums(sums, apply)


class _Sum:
    """What the changes of one tenant and model come to."""

    def __init__(self) -> None:
        self.entries = self.unrated = self.before = self.after = self.billed = 0

    def add(self, change: Change) -> None:
        self.entries += 1
        self.unrated += change.before_nanousd is None
        self.before += change.before_nanousd or 0
        self.after += change.after_nanousd or 0
        self.billed += change.billed_difference_nanousd

    @property
    def cells(self) -> tuple[object, ...]:
        amounts = (self.before, self.after, self.after - self.before, self.billed)
        return (self.entries, self.unrated or None, *map(format_usd, amounts))


def _shown(change: Change, names: dict[str, str]) -> dict[str, object]:
    return {
        "entry_id": change.entry_id,
        "occurred_at": change.occurred_at,
        "tenant": names.get(change.tenant_id, change.tenant_id),
        "model": change.model,
        "kind": change.kind,
        "before_nanousd": change.before_nanousd,
        "after_nanousd": change.after_nanousd,
        "difference_nanousd": change.difference_nanousd,
        "billed_before_nanousd": change.billed_before_nanousd,
        "billed_after_nanousd": change.billed_after_nanousd,
        "billed_difference_nanousd": change.billed_difference_nanousd,
    }


def _print_sums(sums: dict[tuple[str, str], _Sum], applied: bool) -> None:
    if not sums:
        typer.echo("Nothing differs: every entry is rated as cards and markups say.")
        return
    titles = (
        "Tenant",
        ("Model", ID),
        ("Entries", NUMBER),
        ("Unrated", NUMBER),
        ("Cost was $", NUMBER),
        ("Is $", NUMBER),
        ("Difference $", NUMBER),
        ("Billed: difference $", NUMBER),
    )
    rows = [(*key, *one.cells) for key, one in sorted(sums.items())]
    print_table(titles, rows, footer=("total", None, *_total(sums.values()).cells))
    note("Booked: each was reversed and replaced." if applied else "Nothing was booked: --apply does.")


def _total(sums: Iterable[_Sum]) -> _Sum:
    total = _Sum()
    for one in sums:
        total.entries += one.entries
        total.unrated += one.unrated
        total.before += one.before
        total.after += one.after
        total.billed += one.billed
    return total
