"""`/webhooks`: where announcements are sent, and how that went."""

from typing import Annotated, Any

from pydantic import Field

from proxy.admin.api.etags import check, etag
from proxy.admin.api.keys import SHOWN_ONCE
from proxy.admin.api.models import (
    At,
    EntryId,
    Id,
    Input,
    NameOrId,
    Nothing,
    Output,
    Paged,
    PageParams,
    Reason,
    TenantPageParams,
)
from proxy.admin.api.pages import paged
from proxy.admin.api.problems import Problem
from proxy.admin.api.routes import ADMINS, READERS, Answer, Call, Route
from proxy.core.announced import Announced
from proxy.store import deliveries
from proxy.store import webhooks as store
from proxy.store.deliveries import DeliveryRow
from proxy.store.pages import Page
from proxy.store.webhooks import URL_CHARS_MAX, Webhook


class WebhookOut(Output):
    """A receiver of announcements, without its secret. No tenant: it hears of all."""

    id: str
    tenant_id: str | None
    tenant: str | None
    url: str
    kinds: list[str]
    created_at: At


class WebhookMade(WebhookOut):
    """A webhook, and the new secret that signs its messages."""

    secret: str | None = Field(description="Shown this once; null in the answer to a repeated request.")
    secret_hint: str = SHOWN_ONCE


class DeliveryOut(Output):
    """The sending of an alert to a webhook, and how it went."""

    alert_id: int
    message_id: str
    kind: str
    at: At
    webhook_id: str
    state: str = Field(description="pending, delivered or given_up.")
    attempts: int
    status: int | None
    error: str | None
    next_at: At | None
    delivered_at: At | None


class WebhookNew(Input):
    """A webhook to be made."""

    url: Annotated[str, Field(min_length=1, max_length=URL_CHARS_MAX, description="https://HOST/PATH")]
    tenant: Annotated[NameOrId | None, Field(description="Announcements of this tenant; else of all.")] = None
    kinds: Annotated[
        list[Announced], Field(max_length=len(Announced), description="What it is sent; all, if empty.")
    ] = []
    reason: Reason | None = None


class WebhookPath(Input):
    """Which webhook."""

    webhook_id: Id


class DeliveriesParams(WebhookPath, PageParams):
    """Which deliveries to a webhook."""


class DeliveryPath(WebhookPath):
    """Which alert to which webhook."""

    alert_id: EntryId


def list_webhooks(call: Call[TenantPageParams, Nothing]) -> Answer:
    """Answer with a page of webhooks, in the order they were made."""
    return paged(
        call,
        lambda page: store.list_webhooks(call.connection, call.params.tenant, page),
        key=lambda one: (one.id,),
        kinds=(str,),
        show=WebhookOut.model_validate,
    )


def show_webhook(call: Call[WebhookPath, Nothing]) -> Answer:
    """Answer with one webhook."""
    return _answer(_webhook(call))


def create_webhook(call: Call[Nothing, WebhookNew]) -> Answer:
    """Make a webhook."""
    wanted = call.body
    if wanted.tenant is None and call.within is not None:
        raise Problem("forbidden", "This token is confined to tenants: say of which one it is to hear.")
    made, secret = store.create_webhook(
        call.connection,
        url=wanted.url,
        tenant_name=call.tenant_id(wanted.tenant),
        kinds=wanted.kinds,
        act=call.act(),
    )
    return _with_secret(made, secret, 201)


def delete_webhook(call: Call[WebhookPath, Nothing]) -> Answer:
    """Delete a webhook."""
    found = _webhook(call)
    check(call.if_match, _etag(found))
    return Answer(WebhookOut.model_validate(store.delete_webhook(call.connection, found.id, call.act())))


def rotate_secret(call: Call[WebhookPath, Nothing]) -> Answer:
    """Give a webhook a new secret."""
    found, secret = store.rotate_secret(call.connection, _webhook(call).id, call.act())
    return _with_secret(found, secret, 200)


def list_deliveries(call: Call[DeliveriesParams, Nothing]) -> Answer:
    """Answer with a page of deliveries to a webhook, the newest first."""
    hook = _webhook(call)
    return paged(
        call,
        lambda page: deliveries.page_of_deliveries(call.connection, page, webhook_id=hook.id),
        key=lambda one: (one.id, one.webhook_id),
        kinds=(int, str),
        show=shown_delivery,
        newest_first=True,
    )


def redeliver(call: Call[DeliveryPath, Nothing]) -> Answer:
    """Send an alert to a webhook once more."""
    hook, alert_id = _webhook(call), call.params.alert_id
    deliveries.redeliver(call.connection, alert_id, hook.id, call.act())
    (found,) = deliveries.page_of_deliveries(
        call.connection, Page(limit=1), webhook_id=hook.id, outbox_id=alert_id
    )
    return Answer(shown_delivery(found), 202)


def shown_delivery(one: DeliveryRow) -> DeliveryOut:
    """Return a delivery as it is answered."""
    pending = "given_up" if one.next_at is None else "pending"
    state = "delivered" if one.delivered_at is not None else pending
    values = {name: getattr(one, name) for name in DeliveryRow.__slots__ if name != "id"}
    return DeliveryOut(alert_id=one.id, state=state, **values)


def _webhook(call: Call[Any, Nothing]) -> Webhook:
    return store.find_webhook(call.connection, call.params.webhook_id, call.within)


def _answer(one: Webhook) -> Answer:
    return Answer(WebhookOut.model_validate(one), 200, {"ETag": _etag(one)})


def _with_secret(one: Webhook, secret: str, status: int) -> Answer:
    shown = WebhookMade(**WebhookOut.model_validate(one).model_dump(), secret=secret)
    headers = {"ETag": _etag(one), "Location": f"/api/v1/webhooks/{one.id}"}
    return Answer(shown, status, headers, secret="secret")


def _etag(one: Webhook) -> str:
    return etag(one.id, one.url, one.kinds)


ROUTES = (
    Route(
        method="GET",
        path="/webhooks",
        summary="List webhooks",
        roles=READERS,
        handler=list_webhooks,
        params=TenantPageParams,
        result=Paged[WebhookOut],
    ),
    Route(
        method="POST",
        path="/webhooks",
        summary="Create a webhook; the secret that signs its messages is shown this once",
        roles=ADMINS,
        handler=create_webhook,
        body=WebhookNew,
        result=WebhookMade,
        status=201,
        creates=True,
    ),
    Route(
        method="GET",
        path="/webhooks/{webhook_id}",
        summary="Show a webhook",
        roles=READERS,
        handler=show_webhook,
        params=WebhookPath,
        result=WebhookOut,
    ),
    Route(
        method="DELETE",
        path="/webhooks/{webhook_id}",
        summary="Delete a webhook: nothing more is sent to it",
        roles=ADMINS,
        handler=delete_webhook,
        params=WebhookPath,
        result=WebhookOut,
        edits=True,
        reasons=True,
    ),
    Route(
        method="POST",
        path="/webhooks/{webhook_id}/rotate",
        summary="Give a webhook a new secret; for a day the one before signs beside it",
        roles=ADMINS,
        handler=rotate_secret,
        params=WebhookPath,
        result=WebhookMade,
        creates=True,
        reasons=True,
    ),
    Route(
        method="GET",
        path="/webhooks/{webhook_id}/deliveries",
        summary="List deliveries to a webhook, the newest first",
        roles=READERS,
        handler=list_deliveries,
        params=DeliveriesParams,
        result=Paged[DeliveryOut],
    ),
    Route(
        method="POST",
        path="/webhooks/{webhook_id}/deliveries/{alert_id}",
        summary="Send an alert to a webhook once more, with all its retries",
        roles=ADMINS,
        handler=redeliver,
        params=DeliveryPath,
        result=DeliveryOut,
        status=202,
        reasons=True,
    ),
)
