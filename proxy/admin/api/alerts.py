"""`/alerts`: what was announced, and to which webhooks it went. Kept for 30 days."""

from datetime import UTC
from typing import Annotated, Any

from pydantic import Field

from proxy.admin.api.models import (
    At,
    EntryId,
    Input,
    NameOrId,
    Nothing,
    Output,
    Paged,
    PageParams,
    PeriodParams,
    with_usd,
)
from proxy.admin.api.pages import paged
from proxy.admin.api.periods import period
from proxy.admin.api.routes import FINANCE_READERS, Answer, Call, Route
from proxy.admin.api.webhooks import DeliveryOut, shown_delivery
from proxy.core.announced import Announced, Announcement
from proxy.store.alerts import find_alert, page_of_alerts
from proxy.store.deliveries import page_of_deliveries


class AlertOut(Output):
    """Something that was announced, once. What `data` has depends on the kind."""

    id: int
    message_id: str = Field(description="`webhook-id` of the message.")
    kind: str
    tenant_id: str | None
    at: At
    data: dict[str, Any]


class AlertParams(PageParams, PeriodParams):
    """Which alerts."""

    tenant: Annotated[NameOrId | None, Field(description="Only of this tenant (name or id).")] = None
    kind: Annotated[Announced | None, Field(strict=False, description="Only of this kind.")] = None


class AlertPath(Input):
    """Which alert."""

    alert_id: EntryId


class AlertDeliveriesParams(AlertPath, PageParams):
    """Which deliveries of an alert."""


def list_alerts(call: Call[AlertParams, Nothing]) -> Answer:
    """Answer with a page of alerts, the newest first."""
    wanted = call.params
    start, end = period(wanted, UTC)
    tenant_id = call.tenant_id(wanted.tenant)
    return paged(
        call,
        lambda page: page_of_alerts(
            call.connection, page, tenant_id=tenant_id, kind=wanted.kind, start=start, end=end
        ),
        key=lambda one: (one.id,),
        kinds=(int,),
        show=_shown,
        newest_first=True,
    )


def show_alert(call: Call[AlertPath, Nothing]) -> Answer:
    """Answer with one alert."""
    return Answer(_shown(find_alert(call.connection, call.params.alert_id, call.within)))


def list_alert_deliveries(call: Call[AlertDeliveriesParams, Nothing]) -> Answer:
    """Answer with the deliveries of an alert, of webhooks that the caller may see."""
    found = find_alert(call.connection, call.params.alert_id, call.within)
    return paged(
        call,
        lambda page: page_of_deliveries(call.connection, page, outbox_id=found.id),
        key=lambda one: (one.id, one.webhook_id),
        kinds=(int, str),
        show=shown_delivery,
    )


def _shown(one: Announcement) -> AlertOut:
    return AlertOut(
        id=one.id,
        message_id=one.message_id,
        kind=one.kind,
        tenant_id=one.tenant_id,
        at=one.at,
        data=with_usd(one.payload),
    )


ROUTES = (
    Route(
        method="GET",
        path="/alerts",
        summary="List alerts: what was announced, the newest first",
        roles=FINANCE_READERS,
        handler=list_alerts,
        params=AlertParams,
        result=Paged[AlertOut],
    ),
    Route(
        method="GET",
        path="/alerts/{alert_id}",
        summary="Show an alert",
        roles=FINANCE_READERS,
        handler=show_alert,
        params=AlertPath,
        result=AlertOut,
    ),
    Route(
        method="GET",
        path="/alerts/{alert_id}/deliveries",
        summary="List the deliveries of an alert to webhooks",
        roles=FINANCE_READERS,
        handler=list_alert_deliveries,
        params=AlertDeliveriesParams,
        result=Paged[DeliveryOut],
    ),
)
