"""`talkmeter report compare`: one time against another."""

from collections.abc import Sequence
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from proxy.cli import query
from proxy.cli.costs import report
from proxy.cli.output import (
    NUMBER,
    Column,
    JsonOption,
    database,
    instant,
    note,
    now,
    period,
    print_json,
    print_table,
    settings,
)
from proxy.core.money import format_usd
from proxy.core.windows import Span
from proxy.store import StoreError
from proxy.store.comparison import GROUPS, Compared, Comparison, check_compared, compare, spans_to_compare
from proxy.store.filters import Filters
from proxy.store.reports import Basis, CostQuery

_AMOUNTS = ("before", "after", "difference", "price", "volume", "mix", "new", "gone", "other")


@report.command("compare")
def compare_costs(
    start: Annotated[str | None, typer.Option("--from", help="A day or an instant; else this month.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="A day or an instant; else now.")] = None,
    with_start: Annotated[
        str | None,
        typer.Option("--with-from", help="Of the time to compare with; else the equally long one before."),
    ] = None,
    with_end: Annotated[str | None, typer.Option("--with-to", help="Its end, no longer inside.")] = None,
    group_by: Annotated[
        str, typer.Option(help=f"Any of {', '.join(GROUPS)}, tag:NAME, with commas between.")
    ] = query.GROUP_BY,
    tz: query.ZoneOption = None,
    basis: query.BasisOption = Basis.OCCURRED,
    tenant: query.TenantOption = None,
    project: query.ProjectOption = None,
    key: query.KeyOption = None,
    model: query.ModelOption = None,
    end_user: query.EndUserOption = None,
    tag: query.TagOption = None,
    kind: query.KindOption = None,
    status: query.StatusOption = None,
    meter: query.MeterOption = None,
    modality: query.ModalityOption = None,
    billed: Annotated[
        bool, typer.Option("--billed", help="What tenants owe, not what it costs you.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Compare costs with those of another time, split into price, volume and mix."""
    given = settings()
    zone = query.zone_of(given.period_timezone if tz is None else tz)
    months_of = query.months_of(basis, given.period_timezone)
    before, after = _spans(months_of or zone, (start, end, with_start, with_end), months_of)
    filters = query.checked(
        Filters(
            tenant=tenant,
            project=project,
            key=key,
            model=model,
            end_user=end_user,
            tag=tag,
            kind=kind,
            status=status,
            meter=meter,
            modality=modality,
            months_of=months_of,
        )
    )
    asked = CostQuery(query.groups_of(group_by, check_compared), filters, zone, is_billed=billed)
    with database(given) as engine:
        found = compare(engine, asked, before, after)
    print_json(found.as_json()) if json else _print(found)


def _spans(zone: ZoneInfo, given: Sequence[str | None], months_of: ZoneInfo | None) -> tuple[Span, Span]:
    """Return the times of --from, --to, --with-from and --with-to; what cannot be ends the command with 2."""
    first, last = period(given[0], given[1], zone, months_of)
    with_first = instant("--with-from", given[2], zone, months_of)
    with_last = instant("--with-to", given[3], zone, months_of)
    try:
        return spans_to_compare(
            now(), zone, first, last, with_first, with_last, by_month=months_of is not None
        )
    except StoreError as problem:
        raise typer.BadParameter(str(problem)) from None


def _print(found: Comparison) -> None:
    names = [name for name in (found.rows[0].group if found.rows else {}) if not name.endswith("_id")]
    titles: list[Column] = [*names, *((f"{name} $", NUMBER) for name in _AMOUNTS)]
    rows = [[row.group[name] for name in names] + _amounts(row) for row in found.rows]
    sums = ["total", *[None] * (len(names) - 1)][: len(names)] + _amounts(found.total)
    print_table(titles, rows or [sums], footer=sums if rows else (), spare=("other $", "new $", "gone $"))
    for name, side in (("before", found.total.before), ("after", found.total.after)):
        if side["unrated_entries"]:
            note(f"Without a price, and not compared: {side['unrated_entries']} {name}.")
        if side["estimated_nanousd"]:
            note(f"Estimated: {format_usd(int(side['estimated_nanousd'] or 0))} $ {name}.")


def _amounts(row: Compared) -> list[object]:
    told = row.as_json()
    return [told[f"{name}_usd"] if told[f"{name}_nanousd"] else None for name in _AMOUNTS]
