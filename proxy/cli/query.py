"""The options that say what a report or an export is about, and what they come to."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from proxy.cli.output import month, period
from proxy.settings import Settings
from proxy.store import StoreError
from proxy.store.filters import Filters, check_filters
from proxy.store.groups import GROUPS, check_groups
from proxy.store.instants import parse_zone
from proxy.store.reports import Basis, CostQuery

GroupByOption = Annotated[
    str, typer.Option(help=f"Any of {', '.join(GROUPS)}, tag:NAME, with commas between.")
]
BasisOption = Annotated[
    Basis,
    typer.Option(help="What --from and --to mean: when things occurred, or accounting months."),
]
ZoneOption = Annotated[
    str | None, typer.Option("--tz", help="Time zone of days and months; else PERIOD_TIMEZONE.")
]
FromOption = Annotated[str | None, typer.Option("--from", help="A day or an instant; inside.")]
ToOption = Annotated[str | None, typer.Option("--to", help="A day or an instant; no longer inside.")]
PeriodOption = Annotated[
    str | None, typer.Option("--period", help="Only what is accounted in this month, such as 2026-11.")
]
SessionOption = Annotated[str | None, typer.Option(help="Only this session (id).")]
TenantOption = Annotated[str | None, typer.Option(help="Only this tenant (name or id).")]
ProjectOption = Annotated[str | None, typer.Option(help="Only this project (name or id).")]
KeyOption = Annotated[str | None, typer.Option(help="Only this API key (id).")]
ModelOption = Annotated[str | None, typer.Option(help="Only this model.")]
EndUserOption = Annotated[str | None, typer.Option(help="Only this end user (name or id).")]
TagOption = Annotated[str | None, typer.Option(help="Only what has this tag: NAME=VALUE.")]
KindOption = Annotated[str | None, typer.Option(help="Only this kind, such as response or credit.")]
StatusOption = Annotated[str | None, typer.Option(help="Only this status, such as completed.")]
MeterOption = Annotated[str | None, typer.Option(help="Only what this meter has of each entry.")]
ModalityOption = Annotated[str | None, typer.Option(help="As --meter: text, audio or image.")]
UnratedOption = Annotated[bool, typer.Option("--unrated", help="Only what has no price.")]
EstimatedOption = Annotated[bool, typer.Option("--estimated", help="Only what is estimated.")]
SessionsOption = Annotated[bool, typer.Option("--sessions", help="Count sessions, however long that takes.")]

GROUP_BY = "tenant,model"


def costs(
    given: Settings,
    *,
    start: str | None,
    end: str | None,
    tz: str | None,
    basis: Basis,
    accounted: str | None,
    group_by: str,
    count_sessions: bool,
    **filters: Any,
) -> CostQuery:
    """Return the query that the options of `report` ask for; what cannot be meant ends the command with 2.

    `filters` are those of `Filters` beside times and periods.
    """
    zone = zone_of(given.period_timezone if tz is None else tz)
    months = months_of(basis, given.period_timezone)
    first, last = period(start, end, zone, months)
    if accounted is not None and months is not None and (start or end):
        raise typer.BadParameter("give it, or --from and --to with --basis period", param_hint="--period")
    wanted = Filters(start=first, end=last, period=month_given(accounted), months_of=months, **filters)
    return CostQuery(groups_of(group_by), checked(wanted), zone, count_sessions=count_sessions)


def month_given(accounted: str | None) -> str | None:
    """Return the month of --period, if there is one; a wrong one ends the command with 2."""
    return None if accounted is None else month("--period", accounted)


def groups_of(text: str, check: Callable[[Sequence[str]], None] = check_groups) -> tuple[str, ...]:
    """Return the names in a list with commas between; what cannot be grouped by ends the command with 2."""
    groups = tuple(name.strip() for name in text.split(",") if name.strip())
    try:
        check(groups)
    except StoreError as problem:
        raise typer.BadParameter(str(problem), param_hint="--group-by") from None
    return groups


def checked(filters: Filters) -> Filters:
    """Return filters that can be meant; others end the command with 2."""
    try:
        check_filters(filters)
    except StoreError as problem:
        raise typer.BadParameter(str(problem)) from None
    return filters


def months_of(basis: Basis, ledger_zone: str) -> ZoneInfo | None:
    """Return the zone whose months --from and --to say, None where they say when things occurred."""
    return zone_of(ledger_zone) if basis is Basis.PERIOD else None


def zone_of(name: str) -> ZoneInfo:
    """Return the time zone of this name; what is none ends the command with 2."""
    try:
        return parse_zone(name)
    except StoreError as problem:
        raise typer.BadParameter(str(problem), param_hint="--tz") from None
