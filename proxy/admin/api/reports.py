"""`/reports`: what was spent, over a time and by groups."""

from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from proxy.admin.api.entries import FilterParams, filters_of
from proxy.admin.api.models import At, Nothing, Output, Text, Zone, with_usd
from proxy.admin.api.periods import period
from proxy.admin.api.problems import invalid
from proxy.admin.api.routes import EVERYONE, Answer, Call, Opens, Route
from proxy.store import StoreError, reports
from proxy.store.groups import GROUPS, check_groups
from proxy.store.instants import parse_zone
from proxy.store.tokens import TokenRole

GROUP_CHARS_MAX = 500


class CostsOut(Output):
    """A cost report: a row for every group that has entries. To a viewer, cost is what the tenant owes."""

    from_: At | None = Field(serialization_alias="from")
    to: At | None
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
    tz: Annotated[Zone | None, Field(description="Of hours, days and months; else the ledger's.")] = None


def costs(call: Call[CostParams, Nothing]) -> Answer:
    """Answer with costs and quantities."""
    zone = call.context.zone
    if call.params.tz is not None:
        try:
            zone = parse_zone(call.params.tz)
        except StoreError as error:
            raise invalid("query", "tz", str(error)) from None
    start, end = period(call.params, zone)
    groups = tuple(name.strip() for name in call.params.group_by.split(",") if name.strip())
    try:
        check_groups(groups)
    except StoreError as error:
        raise invalid("query", "group_by", str(error)) from None
    filters = replace(filters_of(call), start=start, end=end)
    is_billed = call.caller.role is TokenRole.VIEWER
    query = reports.CostQuery(groups, filters, zone, is_billed=is_billed)
    told = reports.run(call.context.engine, query).as_json()
    return Answer(CostsOut(**{("from_" if name == "from" else name): with_usd(told[name]) for name in told}))


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
