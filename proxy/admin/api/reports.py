"""`/reports`: what was spent, grouped as asked."""

from typing import Annotated

from pydantic import Field

from proxy.admin.api.models import Id, Model, NameOrId, Nothing, Output, PeriodParams, Text, Zone, with_usd
from proxy.admin.api.periods import period
from proxy.admin.api.problems import invalid
from proxy.admin.api.routes import EVERYONE, Answer, Call, Opens, Route
from proxy.store import StoreError
from proxy.store.filters import Filters
from proxy.store.groups import GROUPS, check_groups
from proxy.store.instants import parse_zone
from proxy.store.reports import CostQuery, run

ROWS_MAX = 10_000
GROUP_BY_CHARS_MAX = 500

ReportRow = dict[str, str | int | None]


class CostReport(Output):
    """A row for every group that has entries, and the total. Sums are exact; what is unrated adds nothing."""

    from_: str | None = Field(serialization_alias="from")
    to: str | None
    group_by: list[str]
    rows: list[ReportRow]
    total: ReportRow


class CostParams(PeriodParams):
    """What a report is about."""

    group_by: Annotated[
        Text,
        Field(
            max_length=GROUP_BY_CHARS_MAX,
            description=f"Any of {', '.join(GROUPS)}, tag:NAME, with commas between.",
        ),
    ] = "tenant,model"
    tz: Annotated[Zone | None, Field(description="Of days and months; else PERIOD_TIMEZONE.")] = None
    tenant: Annotated[NameOrId | None, Field(description="Only of this tenant (name or id).")] = None
    project: Annotated[NameOrId | None, Field(description="Only of this project (name or id).")] = None
    key: Annotated[Id | None, Field(description="Only of this API key (id).")] = None
    model: Annotated[Model | None, Field(description="Only of this model.")] = None


def report_costs(call: Call[CostParams, Nothing]) -> Answer:
    """Answer with a cost report."""
    query = _query(call)
    found = with_usd(run(call.context.engine, query).as_json())
    if len(found["rows"]) > ROWS_MAX:
        raise invalid(
            "query", "group_by", f"it makes more than {ROWS_MAX:,} rows: narrow it, or group by less"
        )
    return Answer(CostReport(from_=found["from"], **{name: found[name] for name in found if name != "from"}))


def _query(call: Call[CostParams, Nothing]) -> CostQuery:
    wanted = call.params
    groups = tuple(name.strip() for name in wanted.group_by.split(",") if name.strip())
    try:
        zone = parse_zone(wanted.tz) if wanted.tz else call.context.zone
    except StoreError as error:
        raise invalid("query", "tz", str(error)) from None
    try:
        check_groups(groups)
    except StoreError as error:
        raise invalid("query", "group_by", str(error)) from None
    start, end = period(wanted, zone)
    filters = Filters(
        start=start,
        end=end,
        tenant=wanted.tenant,
        project=wanted.project,
        key=wanted.key,
        model=wanted.model,
        within=call.within,
    )
    return CostQuery(groups, filters, zone)


ROUTES = (
    Route(
        method="GET",
        path="/reports/costs",
        summary="Report costs and quantities, exactly, over a time and by groups",
        roles=EVERYONE,
        handler=report_costs,
        params=CostParams,
        result=CostReport,
        opens=Opens.NOTHING,
    ),
)
