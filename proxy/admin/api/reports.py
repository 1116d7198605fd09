"""`/reports`: what was spent, over a time and by groups."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import Field

from proxy.admin.api.entries import FilterParams, filters_of
from proxy.admin.api.models import At, Flag, Nothing, Output, Text, Zone, with_usd
from proxy.admin.api.periods import period
from proxy.admin.api.problems import invalid
from proxy.admin.api.routes import EVERYONE, Answer, Call, Opens, Route
from proxy.core.records import Kind
from proxy.core.usage import Meter, Modality
from proxy.store import StoreError, reports
from proxy.store.groups import GROUPS, check_groups
from proxy.store.instants import parse_zone
from proxy.store.reports import Basis
from proxy.store.tokens import TokenRole
from proxy.store.totals import OF_QUANTITIES

GROUP_CHARS_MAX = 500
ROWS_MAX = 10_000  # in one JSON answer
_FILTERS = ("end_user", "tag", "kind", "status", "meter", "modality", "unrated", "estimated")


BasisParam = Annotated[
    Basis,
    Field(
        strict=False,
        description="What `from` and `to` mean: when things occurred, or accounting months.",
    ),
]


class CostsOut(Output):
    """A cost report: a row for every group that has entries. To a viewer, cost is what the tenant owes."""

    from_: At | None = Field(serialization_alias="from")
    to: At | None
    basis: Basis
    group_by: list[str]
    rows: list[dict[str, Any]]
    total: dict[str, Any]


class CostParams(FilterParams):
    """What a report is about."""

    group_by: Annotated[
        Text,
        Field(
            max_length=GROUP_CHARS_MAX,
            description=f"Any of {', '.join(GROUPS)}, tag:NAME, with commas between.",
        ),
    ] = ""
    end_user: Annotated[Text | None, Field(min_length=1, max_length=256)] = None
    tag: Annotated[Text | None, Field(min_length=1, max_length=256, description="NAME=VALUE.")] = None
    kind: Annotated[Kind | None, Field(strict=False)] = None
    status: Annotated[Text | None, Field(min_length=1, max_length=64)] = None
    meter: Annotated[Meter | None, Field(strict=False, description="What this meter has of each entry.")] = (
        None
    )
    modality: Annotated[
        Modality | None, Field(strict=False, description="As `meter`: text, audio, image.")
    ] = None
    unrated: Annotated[Flag, Field(description="Only what has no price.")] = False
    estimated: Annotated[Flag, Field(description="Only what is estimated.")] = False
    sessions: Annotated[
        Flag | None,
        Field(description="Count sessions, however long that takes, or do not; else where it is quick."),
    ] = None
    quantities: Annotated[
        Flag, Field(description="Tell what meters counted, and what follows from it: most of the work.")
    ] = True
    tz: Annotated[Zone | None, Field(description="Of hours, days and months; else the ledger's.")] = None
    basis: BasisParam = Basis.OCCURRED


def costs(call: Call[CostParams, Nothing]) -> Answer:
    """Answer with costs and quantities."""
    params = call.params
    how = {"in_passing": params.sessions is not False, "with_quantities": params.quantities}
    told = reports.run(call.context.engine, query_of(call), ROWS_MAX, **how).as_json()
    if not params.quantities:
        told |= {"rows": [_without_quantities(row) for row in told["rows"]]}
        told |= {"total": _without_quantities(told["total"])}
    return Answer(CostsOut(**{("from_" if name == "from" else name): with_usd(told[name]) for name in told}))


def _without_quantities(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in OF_QUANTITIES}


def query_of(call: Call[Any, Nothing]) -> reports.CostQuery:
    """Return what a call asks for, as far as it may see it; raises Problem where a parameter cannot be."""
    zone = zone_of(call.params.tz, call.context.zone)
    months_of = months_asked(call.params.basis, call)
    start, end = period(call.params, months_of or zone, months_of=months_of)
    if months_of is not None and call.params.period is not None and (start or end):
        raise invalid("query", "period", "give it, or `from` and `to` with the basis `period`: not both")
    groups = groups_of(call.params.group_by, check_groups)
    asked = {name: getattr(call.params, name) for name in _FILTERS}
    filters = replace(filters_of(call), start=start, end=end, months_of=months_of, **asked)
    is_billed = call.caller.role is TokenRole.VIEWER
    return reports.CostQuery(groups, filters, zone, bool(call.params.sessions), is_billed)


def months_asked(basis: Basis, call: Call[Any, Any]) -> ZoneInfo | None:
    """Return the zone whose months a report is about, None where its time is when things occurred."""
    return call.context.zone if basis is Basis.PERIOD else None


def zone_of(name: str | None, default: ZoneInfo) -> ZoneInfo:
    """Return the time zone that `tz` names; raises Problem where it names none."""
    try:
        return default if name is None else parse_zone(name)
    except StoreError as error:
        raise invalid("query", "tz", str(error)) from None


def groups_of(text: str, check: Callable[[Sequence[str]], None]) -> tuple[str, ...]:
    """Return the names in `group_by`; raises Problem where `check` refuses them."""
    groups = tuple(name.strip() for name in text.split(",") if name.strip())
    try:
        check(groups)
    except StoreError as error:
        raise invalid("query", "group_by", str(error)) from None
    return groups


ROUTES = (
    Route(
        method="GET",
        path="/reports/costs",
        summary="Report costs and quantities, exactly",
        roles=EVERYONE,
        handler=costs,
        params=CostParams,
        result=CostsOut,
        opens=Opens.NOTHING,
    ),
)
