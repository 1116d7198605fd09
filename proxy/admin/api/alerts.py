"""`/alerts`: what was announced: budget thresholds, cuts, ended sessions, unusual hours."""

from typing import Annotated, Any

from pydantic import Field

from proxy.admin.api.models import (
    At,
    Dollars,
    EntryId,
    Input,
    Nanousd,
    Nothing,
    Output,
    Paged,
    PeriodParams,
    TenantPageParams,
)
from proxy.admin.api.pages import paged
from proxy.admin.api.periods import period
from proxy.admin.api.routes import FINANCE_READERS, Answer, Call, Opens, Route
from proxy.core.announced import Announced, Announcement
from proxy.core.anomaly import WEEKS_MIN
from proxy.core.money import format_usd
from proxy.store.alerts import find_alert, page_of_alerts


class AlertOut(Output):
    """An announcement. `message_id` is what webhooks are sent as `webhook-id`."""

    id: int
    message_id: str
    kind: str
    tenant_id: str | None
    at: At
    data: dict[str, Any]


class AlertRules(Output):
    """From when on something is announced, where settings say so. Budgets have thresholds of their own."""

    anomaly_floor_nanousd: Nanousd = Field(description="An hour is so much above its median, at least,")
    anomaly_floor_usd: Dollars
    anomaly_deviations: int = Field(description="and so many deviations.")
    anomaly_weeks: int = Field(description="How many earlier weeks tell what is usual, at least.")
    unexplained_limit_nanousd: Nanousd = Field(description="What of a day's bill may be unexplained:")
    unexplained_limit_usd: Dollars
    unexplained_percent: int = Field(description="this, or so much of the bill if that is more.")


class AlertParams(TenantPageParams, PeriodParams):
    """Which announcements."""

    kind: Annotated[Announced | None, Field(strict=False, description="Only of this kind.")] = None


class AlertPath(Input):
    """Which announcement."""

    alert_id: EntryId


def list_alerts(call: Call[AlertParams, Nothing]) -> Answer:
    """Answer with a page of announcements, the newest first."""
    start, end = period(call.params, call.context.zone)
    tenant_id, kind = call.tenant_id(call.params.tenant), call.params.kind
    return paged(
        call,
        lambda page: page_of_alerts(
            call.connection, page, tenant_id=tenant_id, kind=kind, start=start, end=end
        ),
        key=lambda one: (one.id,),
        kinds=(int,),
        show=_shown,
        newest_first=True,
    )


def show_alert(call: Call[AlertPath, Nothing]) -> Answer:
    """Answer with one announcement."""
    return Answer(_shown(find_alert(call.connection, call.params.alert_id, call.within)))


def show_rules(call: Call[Nothing, Nothing]) -> Answer:
    """Answer with what the settings say."""
    sensitivity, unexplained = call.context.sensitivity, call.context.reconciler.terms.threshold
    return Answer(
        AlertRules(
            anomaly_floor_nanousd=sensitivity.floor_nanousd,
            anomaly_floor_usd=format_usd(sensitivity.floor_nanousd),
            anomaly_deviations=sensitivity.deviations,
            anomaly_weeks=WEEKS_MIN,
            unexplained_limit_nanousd=unexplained.nanousd,
            unexplained_limit_usd=format_usd(unexplained.nanousd),
            unexplained_percent=unexplained.percent,
        )
    )


def _shown(one: Announcement) -> AlertOut:
    return AlertOut(
        id=one.id,
        message_id=one.message_id,
        kind=one.kind,
        tenant_id=one.tenant_id,
        at=one.at,
        data=dict(one.payload),
    )


ROUTES = (
    Route(
        method="GET",
        path="/alerts",
        summary="List announcements, the newest first; they are kept for 30 days",
        roles=FINANCE_READERS,
        handler=list_alerts,
        params=AlertParams,
        result=Paged[AlertOut],
    ),
    Route(
        method="GET",
        path="/alert-rules",
        summary="Show from when on the settings have something announced",
        roles=FINANCE_READERS,
        handler=show_rules,
        result=AlertRules,
        opens=Opens.NOTHING,
    ),
    Route(
        method="GET",
        path="/alerts/{alert_id}",
        summary="Show an announcement",
        roles=FINANCE_READERS,
        handler=show_alert,
        params=AlertPath,
        result=AlertOut,
    ),
)
