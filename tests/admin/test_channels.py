"""The channels, through the delivery loop: one retry and one record for all of them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from proxy.admin import webhooks
from proxy.admin.channels import NO_MAIL
from proxy.admin.mail import Mailer
from proxy.admin.webhooks import Deliverer
from proxy.core.mail_relay import parse_relay
from proxy.store.database import reading, writing
from proxy.store.occurrences import make_now
from proxy.store.schedule_log import LogRow, list_log
from proxy.store.schedules import Content
from proxy.store.webhooks import create_webhook
from tests.admin.mailbox import mailbox
from tests.admin.test_webhooks import Place, logged
from tests.announcements import announce, receiver, until
from tests.scheduling import ACT, EMBEDDED, NOW, schedule

NOBODY = "slack:http://127.0.0.1:1/hook"


@pytest.fixture
def place(database: Engine, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(webhooks, "POLL_S", 0.02)
    return Place(database, NOW)


@contextlib.asynccontextmanager
async def delivering(place: Place, url: str | None = None) -> AsyncIterator[None]:
    mailer = Mailer(parse_relay(url), "reports@example.com") if url else None
    deliverer = Deliverer(place.engine, place.metrics, lambda: place.now, mailer)
    async with asyncio.TaskGroup() as group:
        group.create_task(deliverer.run())
        yield
        deliverer.stop()
    if mailer:
        mailer.close()


def log(place: Place) -> dict[str, LogRow]:
    with reading(place.engine) as connection:
        return {str(one.to): one for one in list_log(connection)}


async def logs(place: Place, *states: str) -> dict[str, LogRow]:
    """Return the log once it has these states, in any order, and each attempt has its outcome."""

    def settled() -> bool:
        found = log(place).values()
        done = all(one.delivered_at or one.error for one in found)
        return done and sorted(one.state for one in found) == sorted(states)

    await until(settled)
    return log(place)


async def test_one_report_reaches_each_kind_of_receiver(place: Place) -> None:
    async with receiver() as slack, receiver() as hook, mailbox() as box:
        with writing(place.engine) as connection:
            made, secret = create_webhook(connection, url=hook.url, act=ACT, kinds=["budget.cut"])
        to = ("mailto:ann@example.com,bob@example.com", f"slack:{slack.url}", f"webhook:{made.id}")
        one = schedule(place.engine, *to)
        make_now(place.engine, one, ACT)
        async with delivering(place, box.url):
            await logs(place, *["delivered"] * 4)
    assert sorted(address for got in box.got for address in got.rcpt_tos) == [
        "ann@example.com",
        "bob@example.com",
    ]
    assert all(len(got.rcpt_tos) == 1 for got in box.got), "nobody sees who else is sent it"
    (said,), (told,) = slack.got, hook.got
    assert said.json.keys() == {"text"} and said.json["text"].startswith("weekly, 2026-11-16 to 2026-11-22\n")
    assert "webhook-signature" not in said.headers
    assert told.is_signed_with(secret) and told.json["type"] == "report.scheduled"
    assert told.json["data"]["digest"]["total"]["cost_nanousd"] == 0
    assert box.messages[0]["Message-ID"].startswith(f"<{told.id}@")
    assert place.count("announcements", kind="report.scheduled") == 1


@EMBEDDED
async def test_a_busy_mail_server_is_tried_again_and_a_wrong_address_is_not(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    async with mailbox() as box:
        make_now(place.engine, schedule(place.engine), ACT)
        box.replies["RCPT"] = ["451 4.3.0 Later", "550 5.1.1 No such user"]
        async with delivering(place, box.url):
            (row,) = (await logs(place, "pending")).values()
            assert (row.status, row.error) == (451, "the mail server answered 451 4.3.0 Later")
            assert row.next_at == NOW + timedelta(seconds=5)
            place.pass_(seconds=5)
            (row,) = (await logs(place, "given up")).values()
            place.pass_(days=2)
            await asyncio.sleep(0.1)
    assert (row.attempts, row.error) == (2, "the mail server answered 550 5.1.1 No such user")
    assert box.tried == 2 and place.count("webhook_deliveries", outcome="given_up") == 1
    (record,) = logged(caplog, "webhook delivery given up")
    assert "550" in record.__dict__["error"]


@EMBEDDED
async def test_slack_that_is_gone_or_moved(place: Place) -> None:
    async with receiver(410) as gone, receiver(302) as moved:
        make_now(place.engine, schedule(place.engine, f"slack:{gone.url}", name="a"), ACT)
        make_now(place.engine, schedule(place.engine, f"slack:{moved.url}", name="b"), ACT)
        async with delivering(place):
            await until(lambda: len(gone.got) == len(moved.got) == 1)
            await asyncio.sleep(0.1)
    with reading(place.engine) as connection:
        rows = {one.schedule: (one.state, one.error) for one in list_log(connection)}
    assert rows == {
        "a": ("given up", "it answered 410"),
        "b": ("pending", "it answered 302: redirects are not followed"),
    }


@EMBEDDED
async def test_without_a_mail_server_mail_waits(place: Place) -> None:
    make_now(place.engine, schedule(place.engine), ACT)
    async with delivering(place):
        (row,) = (await logs(place, "pending")).values()
    assert row.error == NO_MAIL
    async with mailbox() as box:
        place.pass_(seconds=5)
        async with delivering(place, box.url):
            await logs(place, "delivered")
    assert len(box.got) == 1


async def test_an_alarm_is_told_at_once_to_whom_it_concerns(place: Place) -> None:
    async with receiver() as all_, receiver() as acmes:
        from proxy.store.tenants import create_tenant

        with writing(place.engine) as connection:
            acme = create_tenant(connection, "acme", ACT).id
        alarm = {"content": Content.ANOMALY, "table": None}
        schedule(place.engine, f"slack:{all_.url}", name="all", **alarm)  # type: ignore[arg-type]
        schedule(place.engine, f"slack:{acmes.url}", name="own", tenant="acme", **alarm)  # type: ignore[arg-type]
        announce(place.engine, "1", NOW, "spend.anomaly", "ten_other")
        announce(place.engine, "2", NOW, "spend.anomaly", acme)
        announce(place.engine, "3", NOW, "budget.cut", acme)
        async with delivering(place):
            await until(lambda: len(all_.got) == 2 and len(acmes.got) == 1)
            await until(lambda: len([one for one in place.rows() if one.delivered_at]) == 3)
    assert "$25.000000000 in an hour is unusual" in acmes.got[0].json["text"]
    with reading(place.engine) as connection:
        assert sorted(one.schedule for one in list_log(connection)) == ["all", "all", "own"]


@EMBEDDED
async def test_a_slow_mail_server_is_one_receiver(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many addresses wait behind it: no more than so many at once, and others go on."""
    monkeypatch.setattr(webhooks, "OF_ONE_WEBHOOK_MAX", 2)
    async with mailbox() as box, receiver() as slack:
        addresses = ",".join(f"a{n}@example.com" for n in range(6))
        box.replies["RCPT"] = ["451 4.3.0 Later"]
        make_now(place.engine, schedule(place.engine, f"mailto:{addresses}", f"slack:{slack.url}"), ACT)
        async with delivering(place, box.url):
            await slack.has(1)
            await until(lambda: place.count("webhook_deliveries", outcome="failed") == 6)
    assert box.got == [] and box.tried == 6
