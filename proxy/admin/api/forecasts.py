"""`/reports/forecast`: what budgets and tenants will have spent at the end of their window."""

from typing import Annotated

from pydantic import Field

from proxy.admin.api.models import At, Dollars, Flag, Input, NameOrId, Nanousd, Nothing, Output, Zone
from proxy.admin.api.reports import zone_of
from proxy.admin.api.routes import EVERYONE, Answer, Call, Route
from proxy.core.forecast import Method
from proxy.store.forecasts import forecasts


class ForecastOut(Output):
    """A budget's or, without a budget's id, a tenant's forecast for the window that is now."""

    budget_id: str | None
    scope: str
    tenant_id: str | None
    tenant: str | None
    project: str | None
    api_key_id: str | None
    end_user: str | None
    window: str
    zone: str
    at: At
    window_starts_at: At
    window_ends_at: At
    spent_nanousd: Nanousd
    spent_usd: Dollars
    forecast_nanousd: Nanousd | None = Field(description="At the window's end; null: not known yet.")
    forecast_usd: Dollars | None
    method: Method | None
    error_percent: str | None = Field(
        description="By how much the method was off in earlier windows, on average; null: not known."
    )
    error_points: int = Field(description="In how many.")
    amount_nanousd: Nanousd | None
    amount_usd: Dollars | None
    left_nanousd: Nanousd | None
    left_usd: Dollars | None
    exhausted_on: str | None = Field(description="The day on which the amount will be spent.")


class ForecastsOut(Output):
    """Forecasts: of budgets, then of tenants that have none of a week, month or quarter."""

    data: list[ForecastOut]


class ForecastParams(Input):
    """Whose."""

    tenant: Annotated[NameOrId | None, Field(description="Only of this tenant (name or id).")] = None
    tz: Annotated[Zone | None, Field(description="Of the month of tenants without a budget.")] = None
    errors: Annotated[
        Flag, Field(description="Say how far off forecasts were before: that takes most of the time.")
    ] = True


def show_forecasts(call: Call[ForecastParams, Nothing]) -> Answer:
    """Answer with forecasts."""
    zone = zone_of(call.params.tz, call.context.zone)
    tenant_id = call.tenant_id(call.params.tenant)
    within = call.within if tenant_id is None else frozenset({tenant_id})
    found = forecasts(call.connection, call.at, zone, within, with_errors=call.params.errors)
    return Answer(ForecastsOut(data=[ForecastOut.model_validate(one.as_json()) for one in found]))


ROUTES = (
    Route(
        method="GET",
        path="/reports/forecast",
        summary="Forecast what budgets and tenants will have spent at their window's end",
        roles=EVERYONE,
        handler=show_forecasts,
        params=ForecastParams,
        result=ForecastsOut,
    ),
)
