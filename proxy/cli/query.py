"""The options that say what a report is about: the same for `report` and for `report save`."""

from collections.abc import Callable, Sequence
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from proxy.store import StoreError
from proxy.store.filters import Filters, check_filters
from proxy.store.groups import GROUPS, check_groups
from proxy.store.instants import parse_zone
from proxy.store.reports import Basis

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
