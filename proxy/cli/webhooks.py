"""`talkmeter webhook`: where announcements are sent, and how that went."""

from typing import Annotated

import typer

from proxy.cli.output import (
    ID,
    NUMBER,
    JsonOption,
    ReasonOption,
    act,
    as_json,
    database,
    print_json,
    print_table,
)
from proxy.cli.payers import AnyTenantOption
from proxy.cli.root import app
from proxy.core.announced import Announced
from proxy.store import deliveries, webhooks
from proxy.store.database import reading, writing
from proxy.store.deliveries import DeliveryRow
from proxy.store.webhook_tests import send_test

webhook = typer.Typer(no_args_is_help=True, help="Where announcements are sent.")
app.add_typer(webhook, name="webhook")

DELIVERIES_MAX = 1_000
KINDS = ", ".join(Announced)


@webhook.command("create")
def create_webhook(
    url: Annotated[str, typer.Option(help="https://HOST/PATH; http only to this machine itself.")],
    tenant: Annotated[
        str | None, typer.Option(help="Announcements of this tenant (name or id); else of all.")
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option(help=f"What it is sent: {KINDS}; repeatable. All, if not given.")
    ] = None,
    reason: ReasonOption = None,
    json: JsonOption = False,
) -> None:
    """Create a webhook. The secret that signs its messages is shown this once."""
    with database() as engine, writing(engine) as connection:
        made, secret = webhooks.create_webhook(
            connection, url=url, tenant_name=tenant, kinds=kind or (), act=act(reason)
        )
    if json:
        print_json({"id": made.id, "secret": secret, **as_json(made)})
        return
    whose = f"of tenant {made.tenant}" if made.tenant else "of all tenants"
    typer.echo(f"Webhook {made.id} is sent announcements {whose}: {', '.join(made.kinds)}.")
    _show(secret)


@webhook.command("list")
def list_webhooks(tenant: AnyTenantOption = None, json: JsonOption = False) -> None:
    """List webhooks."""
    with database() as engine, reading(engine) as connection:
        found = webhooks.list_webhooks(connection, tenant)
    if json:
        print_json(found)
        return
    rows = [(one.id, one.tenant or "all", one.url, ", ".join(one.kinds), one.created_at) for one in found]
    print_table((("Webhook", ID), "Tenant", "URL", "Sent", "Created"), rows, spare=("Created", "Sent"))


@webhook.command("rotate")
def rotate_secret(id: str, reason: ReasonOption = None, json: JsonOption = False) -> None:
    """Give a webhook a new secret. For a day the one before signs beside it."""
    with database() as engine, writing(engine) as connection:
        found, secret = webhooks.rotate_secret(connection, id, act(reason))
    if json:
        print_json({"id": found.id, "secret": secret, **as_json(found)})
        return
    typer.echo(f"Webhook {found.id} has a new secret; for 24 hours the one before signs too.")
    _show(secret)


@webhook.command("delete")
def delete_webhook(id: str, reason: ReasonOption = None, json: JsonOption = False) -> None:
    """Delete a webhook: nothing more is sent to it."""
    with database() as engine, writing(engine) as connection:
        found = webhooks.delete_webhook(connection, id, act(reason))
    print_json(found) if json else typer.echo(f"Webhook {found.id} is deleted.")


@webhook.command("deliveries")
def list_deliveries(
    webhook: Annotated[str | None, typer.Option(help="Only to this webhook.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=DELIVERIES_MAX, help="How many of the newest.")] = 50,
    json: JsonOption = False,
) -> None:
    """List the newest deliveries: how often each was tried, how that went, when it is tried again."""
    with database() as engine, reading(engine) as connection:
        found = deliveries.list_deliveries(connection, webhook_id=webhook, limit=limit)
    if json:
        print_json([as_json(one) | {"state": _state(one)} for one in found])
        return
    titles = (
        ("Id", NUMBER),
        "Kind",
        "At",
        ("Webhook", ID),
        "State",
        ("Attempts", NUMBER),
        "Status",
        "Error",
        "Next",
    )
    rows = [
        (
            one.id,
            one.kind,
            one.at,
            one.webhook_id,
            _state(one),
            one.attempts,
            one.status,
            one.error,
            one.next_at,
        )
        for one in found
    ]
    print_table(titles, rows, spare=("At", "Status"))


@webhook.command("redeliver")
def redeliver(
    id: Annotated[int, typer.Argument(help="The delivery's id, as `webhook deliveries` shows it.")],
    webhook: Annotated[str, typer.Option(help="The webhook it is sent to again.")],
    reason: ReasonOption = None,
    json: JsonOption = False,
) -> None:
    """Send an announcement once more, with all its retries: delivered or given up, it is due now."""
    with database() as engine, writing(engine) as connection:
        deliveries.redeliver(connection, id, webhook, act(reason))
    if json:
        print_json({"id": id, "webhook_id": webhook, "state": "pending"})
    else:
        typer.echo(f"Delivery {id} to webhook {webhook} is made again.")


@webhook.command("test")
def try_out(id: str, reason: ReasonOption = None, json: JsonOption = False) -> None:
    """Send a test to a webhook, as all announcements are sent; `webhook deliveries` shows how it went."""
    with database() as engine, writing(engine) as connection:
        sent = send_test(connection, id, act(reason))
    if json:
        print_json(as_json(sent) | {"state": _state(sent)})
        return
    typer.echo(f"Test {sent.id} to webhook {id} is due now. A control plane that runs sends it; then see")
    typer.echo(f"  talkmeter webhook deliveries --webhook {id}")


def _state(one: DeliveryRow) -> str:
    if one.delivered_at is not None:
        return "delivered"
    return "given up" if one.next_at is None else "pending"


def _show(secret: str) -> None:
    typer.echo("This is its secret; it is not shown again:")
    typer.echo(f"\n  {secret}\n")
