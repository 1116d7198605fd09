"""`/webhooks`: where announcements are sent, and how that went."""

from typing import Annotated

from pydantic import Field

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
    Text,
)
from proxy.admin.api.pages import paged
from proxy.admin.api.problems import Problem
from proxy.admin.api.routes import ADMINS, READERS, Answer, Call, Route
from proxy.core.announced import Announced
from proxy.store import webhooks as store
from proxy.store.deliveries import page_of_deliveries, redeliver
from proxy.store.webhook_tests import send_test
from proxy.store.webhooks import Webhook

URL_CHARS_MAX = 2_000
SECRET = "secret"
SHOWN_ONCE = "It was shown when it was made, and cannot be shown again: rotate it to get another."


class WebhookOut(Output):
    """A webhook, without its secret. Without a tenant it hears of all."""

    id: str
    tenant_id: str | None
    tenant: str | None
    url: str
    kinds: list[str]
    created_at: At


class WebhookMade(WebhookOut):
    """A webhook and its new secret."""

    secret: str | None = Field(description="Shown this once; null in the answer to a repeated request.")
    secret_hint: str = SHOWN_ONCE


class DeliveryOut(Output):
    """A delivery and how it went. Neither next nor delivered: it was given up."""

    id: int
    message_id: str
    kind: str
    at: At
    webhook_id: str
    attempts: int
    status: int | None
    error: str | None
    next_at: At | None
    delivered_at: At | None


class WebhookNew(Input):
    """A webhook to be made."""

    url: Annotated[Text, Field(min_length=1, max_length=URL_CHARS_MAX)]
    tenant: Annotated[NameOrId | None, Field(description="Only what concerns this tenant.")] = None
    kinds: Annotated[
        list[Announced], Field(max_length=len(Announced), description="Empty: all of them.")
    ] = []
    reason: Reason | None = None


class WebhookPath(Input):
    """Which webhook."""

    webhook_id: Id


class DeliveryParams(PageParams, WebhookPath):
    """Which deliveries."""


class DeliveryPath(WebhookPath):
    """Which delivery."""

    alert_id: EntryId


class Again(Output):
    """A delivery that is tried once more."""

    webhook_id: str
    alert_id: int


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
    return Answer(WebhookOut.model_validate(_find(call)))


def create_webhook(call: Call[Nothing, WebhookNew]) -> Answer:
    """Make a webhook."""
    wanted = call.body
    if wanted.tenant is None and call.within is not None:
        raise Problem("forbidden", "This token is confined to tenants: name the one that it is for.")
    tenant_id = call.tenant_id(wanted.tenant)
    made, secret = store.create_webhook(
        call.connection, url=wanted.url, act=call.act(), tenant_name=tenant_id, kinds=wanted.kinds
    )
    return _made(made, secret, 201)


def rotate_webhook(call: Call[WebhookPath, Nothing]) -> Answer:
    """Give a webhook a new secret; the old one signs beside it for a day."""
    return _made(*store.rotate_secret(call.connection, _find(call).id, call.act()), 200)


def delete_webhook(call: Call[WebhookPath, Nothing]) -> Answer:
    """Delete a webhook."""
    found = store.delete_webhook(call.connection, _find(call).id, call.act())
    return Answer(WebhookOut.model_validate(found))


def list_deliveries(call: Call[DeliveryParams, Nothing]) -> Answer:
    """Answer with a page of a webhook's deliveries, the newest first."""
    hook = store.find_webhook(call.connection, call.params.webhook_id, call.within)
    return paged(
        call,
        lambda page: page_of_deliveries(call.connection, page, webhook_id=hook.id),
        key=lambda one: (one.id, one.webhook_id),
        kinds=(int, str),
        show=DeliveryOut.model_validate,
        newest_first=True,
    )


def deliver_again(call: Call[DeliveryPath, Nothing]) -> Answer:
    """Send an announcement to a webhook once more."""
    hook = store.find_webhook(call.connection, call.params.webhook_id, call.within)
    redeliver(call.connection, call.params.alert_id, hook.id, call.act())
    return Answer(Again(webhook_id=hook.id, alert_id=call.params.alert_id), 202)


def try_out(call: Call[WebhookPath, Nothing]) -> Answer:
    """Send a test to a webhook."""
    sent = send_test(call.connection, call.params.webhook_id, call.act(), call.within)
    return Answer(DeliveryOut.model_validate(sent), 202)


def _find(call: Call[WebhookPath, Nothing]) -> Webhook:
    return store.find_webhook(call.connection, call.params.webhook_id, call.within)


def _made(hook: Webhook, secret: str, status: int) -> Answer:
    shown = WebhookMade(**WebhookOut.model_validate(hook).model_dump(), secret=secret)
    return Answer(shown, status, {"Location": f"/api/v1/webhooks/{hook.id}"}, secret=SECRET)


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
        summary="Create a webhook; its secret is shown this once",
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
        summary="Delete a webhook: it is sent nothing any more",
        roles=ADMINS,
        handler=delete_webhook,
        params=WebhookPath,
        result=WebhookOut,
        reasons=True,
    ),
    Route(
        method="POST",
        path="/webhooks/{webhook_id}/rotate",
        summary="Give a webhook a new secret, shown this once",
        roles=ADMINS,
        handler=rotate_webhook,
        params=WebhookPath,
        result=WebhookMade,
        creates=True,
        reasons=True,
    ),
    Route(
        method="POST",
        path="/webhooks/{webhook_id}/test",
        summary="Send a test to a webhook, as all announcements are sent",
        roles=ADMINS,
        handler=try_out,
        params=WebhookPath,
        result=DeliveryOut,
        status=202,
        creates=True,
        reasons=True,
    ),
    Route(
        method="GET",
        path="/webhooks/{webhook_id}/deliveries",
        summary="List a webhook's deliveries, the newest first",
        roles=READERS,
        handler=list_deliveries,
        params=DeliveryParams,
        result=Paged[DeliveryOut],
    ),
    Route(
        method="POST",
        path="/webhooks/{webhook_id}/deliveries/{alert_id}",
        summary="Send an announcement to a webhook once more",
        roles=ADMINS,
        handler=deliver_again,
        params=DeliveryPath,
        result=Again,
        status=202,
        reasons=True,
    ),
)
