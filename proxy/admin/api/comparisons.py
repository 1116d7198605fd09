"""`/reports/comparison`: the costs of one time against those of another."""

from typing import Annotated, Any

from pydantic import Field

from proxy.admin.api.models import (
    At,
    Flag,
    Id,
    Model,
    NameOrId,
    Nothing,
    Output,
    PeriodParams,
    Text,
    Time,
    Zone,
)
from proxy.admin.api.periods import instant, period
from proxy.admin.api.problems import invalid
from proxy.admin.api.reports import GROUP_CHARS_MAX, BasisParam, groups_of, months_asked, zone_of
from proxy.admin.api.routes import EVERYONE, Answer, Call, Opens, Route
from proxy.core.records import Kind
from proxy.core.usage import Meter, Modality
from proxy.store import StoreError
from proxy.store.comparison import GROUPS, check_compared, compare, spans_to_compare
from proxy.store.filters import Filters
from proxy.store.reports import Basis, CostQuery
from proxy.store.tokens import TokenRole

_FILTERS = ("tenant", "project", "key", "model", "end_user", "tag", "kind", "status", "meter", "modality")


class ComparisonOut(Output):
    """A comparison: a row for every group, the largest difference first; each column adds up to the total.

    `price`, `volume`, `mix`, `new`, `gone` and `other` sum to the difference. To a viewer, amounts are what
    the tenant owes.
    """

    from_: At = Field(serialization_alias="from")
    to: At
    with_from: At
    with_to: At
    basis: Basis
    group_by: list[str]
    rows: list[dict[str, Any]]
    total: dict[str, Any]


class ComparisonParams(PeriodParams):
    """What is compared with what."""

    with_from: Annotated[
        Time | None, Field(description="Of the time to compare with; else the equally long time before.")
    ] = None
    with_to: Annotated[Time | None, Field(description="Its end, no longer inside.")] = None
    group_by: Annotated[
        Text,
        Field(
            max_length=GROUP_CHARS_MAX,
            description=f"Any of {', '.join(GROUPS)}, tag:NAME, with commas between.",
        ),
    ] = ""
    tenant: NameOrId | None = None
    project: NameOrId | None = None
    key: Annotated[Id | None, Field(description="Only of this API key (id).")] = None
    model: Model | None = None
    end_user: Annotated[Text | None, Field(min_length=1, max_length=256)] = None
    tag: Annotated[Text | None, Field(min_length=1, max_length=256, description="NAME=VALUE.")] = None
    kind: Annotated[Kind | None, Field(strict=False)] = None
    status: Annotated[Text | None, Field(min_length=1, max_length=64)] = None
    meter: Annotated[Meter | None, Field(strict=False)] = None
    modality: Annotated[Modality | None, Field(strict=False)] = None
    billed: Annotated[
        Flag, Field(description="What tenants owe, not what it costs; a viewer sees only that.")
    ] = False
    tz: Annotated[Zone | None, Field(description="Of days and months; else the ledger's.")] = None
    basis: BasisParam = Basis.OCCURRED


def comparison(call: Call[ComparisonParams, Nothing]) -> Answer:
    """Answer with a comparison."""
    params = call.params
    zone = zone_of(params.tz, call.context.zone)
    months_of = months_asked(params.basis, call)
    own = months_of or zone
    start, end = period(params, own, months_of=months_of)
    with_start = instant("query", "with_from", params.with_from, own, months_of)
    with_end = instant("query", "with_to", params.with_to, own, months_of)
    groups = groups_of(params.group_by, check_compared)
    try:
        before, after = spans_to_compare(
            call.at, own, start, end, with_start, with_end, by_month=months_of is not None
        )
    except StoreError as error:
        name = "from" if with_start is None and with_end is None else "with_to"
        raise invalid("query", name, str(error)) from None
    asked = {name: getattr(params, name) for name in _FILTERS}
    filters = Filters(**asked, within=call.within, months_of=months_of)
    is_billed = params.billed or call.caller.role is TokenRole.VIEWER
    query = CostQuery(groups, filters, zone, is_billed=is_billed)
    told = compare(call.context.engine, query, before, after).as_json()
    return Answer(ComparisonOut(**{("from_" if name == "from" else name): told[name] for name in told}))


ROUTES = (
    Route(
        method="GET",
        path="/reports/comparison",
        summary="Compare costs with those of another time: price, volume and mix",
        roles=EVERYONE,
        handler=comparison,
        params=ComparisonParams,
        result=ComparisonOut,
        opens=Opens.NOTHING,
    ),
)
