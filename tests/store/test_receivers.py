"""Receivers of schedules: how they are written, shown, kept and dropped."""

import pytest
from sqlalchemy import Engine, select

from proxy.core.announced import Channel
from proxy.store import StoreError
from proxy.store.database import reading, writing
from proxy.store.deliveries import claim, fan_out, list_deliveries
from proxy.store.outbox import Announcement, announce
from proxy.store.receivers import REMOVED, Receiver, Target, parse_targets
from proxy.store.schedules import Content
from proxy.store.schema import webhook
from proxy.store.tenants import create_tenant
from proxy.store.webhooks import create_webhook, delete_webhook, list_webhooks
from tests.scheduling import ACT, EMBEDDED, NOW, schedule

SLACK = "slack:https://hooks.slack.com/services/T0/B0/canary"
URL = "https://example.com/hook"


def test_targets_as_people_write_them() -> None:
    written = ("mailto:ann@example.com, bob@example.com", SLACK, "webhook:whk_1", "mailto:ann@example.com")
    assert parse_targets(written) == (
        Target(Channel.EMAIL, "ann@example.com"),
        Target(Channel.EMAIL, "bob@example.com"),
        Target(Channel.SLACK, SLACK.removeprefix("slack:")),
        Target(Channel.WEBHOOK, "whk_1"),
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ann@example.com",
        "mailto:",
        "mailto:ann@example.com\nbcc:eve@example.com",
        "mailto:ann@example.com?bcc=canary@example.com",
        "https://hooks.slack.com/canary",
        "slack:http://hooks.slack.com/canary",
        "slack:http://10.0.0.1/canary",
        "slack:http://169.254.169.254/canary",
        "slack:https://user:canary@example.com/",
        "slack:file:///canary",
        "slack:",
        "mailto:" + ",".join(f"a{n}@example.com" for n in range(21)),
    ],
)
def test_what_cannot_be_sent_to(text: str) -> None:
    """Slack URLs follow the rules of webhooks: https, or this machine itself."""
    with pytest.raises(StoreError) as refused:
        parse_targets([text])
    assert "canary" not in str(refused.value) or "mailto" in text


def receivers(engine: Engine) -> list[tuple[str, str, bool]]:
    with reading(engine) as connection:
        rows = connection.execute(select(webhook).order_by(webhook.c.id)).all()
    return [(row.channel, row.url, row.deleted_at is None) for row in rows]


@EMBEDDED
def test_a_slack_url_is_shown_by_its_host_alone_and_no_receiver_is_a_webhook(database: Engine) -> None:
    made = schedule(database, "mailto:ann@example.com", SLACK)
    assert [one.to for one in made.to] == ["mailto:ann@example.com", "slack:https://hooks.slack.com/…"]
    with reading(database) as connection:
        assert list_webhooks(connection) == []


def test_who_stays_is_left_as_it_is_and_who_goes_is_sent_nothing_more(database: Engine) -> None:
    first = schedule(database, "mailto:ann@example.com,bob@example.com", SLACK)
    ann, bob, slack = first.to
    with writing(database) as connection:
        announce(
            connection, [Announcement("k", "report.scheduled", None, NOW, {"billed_nanousd": 1}, first.id)]
        )
        fan_out(connection, NOW)
        assert {one.webhook_id for one in list_deliveries(connection)} == {ann.id, bob.id, slack.id}
    second = schedule(database, "mailto:ann@example.com", slack.id, "mailto:cy@example.com")
    assert second.to == [ann, Receiver(second.to[1].id, "email", "mailto:cy@example.com"), slack]
    with writing(database) as connection:
        assert {one.webhook_id for one in claim(connection, NOW, lambda _: 8, 64)} == {ann.id, slack.id}
        errors = {one.webhook_id: one.error for one in list_deliveries(connection)}
    assert errors == {ann.id: None, slack.id: None, bob.id: REMOVED}
    with pytest.raises(StoreError, match="no receiver"):
        schedule(database, bob.id)


@EMBEDDED
def test_webhooks_are_of_whom_they_hear(database: Engine) -> None:
    with writing(database) as connection:
        for name in ("acme", "globex"):
            create_tenant(connection, name, ACT)
        all_, _ = create_webhook(connection, url=URL, act=ACT)
        acmes, _ = create_webhook(connection, url=URL, act=ACT, tenant_name="acme")
    made = schedule(database, f"webhook:{acmes.id}", f"webhook:{all_.id}", tenant="acme")
    assert sorted(made.to, key=str) == sorted(
        (Receiver(id, "webhook", f"webhook:{id}") for id in (acmes.id, all_.id)), key=str
    )
    for tenant in (None, "globex"):
        with pytest.raises(StoreError, match="tenant acme only"):
            schedule(database, f"webhook:{acmes.id}", tenant=tenant)
    with pytest.raises(StoreError, match="no webhook"):
        schedule(database, "webhook:whk_none")
    with writing(database) as connection:
        delete_webhook(connection, acmes.id, ACT)
    kept = schedule(database, f"webhook:{all_.id}", tenant="acme")
    assert [one.id for one in kept.to] == [all_.id]
    assert receivers(database) == [("webhook", URL, True), ("webhook", URL, False)]


@EMBEDDED
def test_a_webhook_hears_of_anomalies_by_itself(database: Engine) -> None:
    """The text holds for the command line and for the API: it names neither's options."""
    with writing(database) as connection:
        hook, _ = create_webhook(connection, url=URL, act=ACT)
    with pytest.raises(StoreError) as refused:
        schedule(database, f"webhook:{hook.id}", content=Content.ANOMALY, table=None)
    assert str(refused.value) == (
        f"Webhook {hook.id} hears of anomalies at once if it was made for spend.anomaly: that needs no"
        " schedule. For a list of them let the schedule send every day or every week."
    )
