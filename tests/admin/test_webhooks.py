"""The delivery loop against real receivers, on both databases."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine

from proxy.admin import channels, webhooks
from proxy.admin.webhooks import Deliverer
from proxy.observe.control_metrics import ControlMetrics
from proxy.store.audit import Act
from proxy.store.database import open_database, reading, writing
from proxy.store.deliveries import CLAIM_LASTS, DeliveryRow, list_deliveries
from proxy.store.webhooks import create_webhook, rotate_secret
from tests.announcements import CUT, PAYLOADS, THRESHOLD, announce, receiver, until

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
NOBODY = "http://127.0.0.1:1/hook"


@dataclass
class Place:
    """A database, a clock that a test moves, and deliverers."""

    engine: Engine
    now: datetime = NOW
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    metrics: ControlMetrics = field(init=False)

    def __post_init__(self) -> None:
        self.metrics = ControlMetrics(self.registry)

    def pass_(self, **time: float) -> None:
        self.now += timedelta(**time)

    def hook(self, url: str) -> tuple[str, str]:
        """Make a webhook for everything; return its id and its secret."""
        with writing(self.engine) as connection:
            made, secret = create_webhook(connection, url=url, act=Act("test", self.now))
        return made.id, secret

    def rows(self) -> list[DeliveryRow]:
        with reading(self.engine) as connection:
            return list_deliveries(connection, limit=1_000)

    async def row(self) -> DeliveryRow:
        return (await asyncio.to_thread(self.rows))[0]

    async def settled(self, attempts: int) -> DeliveryRow:
        """Return the only delivery once this attempt's outcome is written down."""
        async with asyncio.timeout(30):
            while True:
                row = await self.row() if await asyncio.to_thread(self.rows) else None
                if row and row.attempts == attempts and (row.delivered_at or row.error):
                    return row
                await asyncio.sleep(0.01)

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"talkmeter_{name}_total", labels) or 0.0

    @contextlib.asynccontextmanager
    async def delivering(self, engine: Engine | None = None) -> AsyncIterator[Deliverer]:
        deliverer = Deliverer(engine or self.engine, self.metrics, lambda: self.now)
        async with asyncio.TaskGroup() as group:
            group.create_task(deliverer.run())
            yield deliverer
            deliverer.stop()


@pytest.fixture
def place(database: Engine, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(webhooks, "POLL_S", 0.02)
    return Place(database)


def logged(caplog: pytest.LogCaptureFixture, event: str) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.getMessage() == event]


async def test_an_announcement_arrives_signed_and_once(place: Place) -> None:
    async with receiver() as there:
        hook, secret = place.hook(there.url)
        announce(place.engine, "a", NOW, "budget.cut")
        async with place.delivering():
            (got,) = await there.has(1)
            row = await place.settled(1)
            await asyncio.sleep(0.1)
    assert len(there.got) == 1
    assert got.is_signed_with(secret) and not got.is_signed_with("whsec_" + "A" * 32)
    assert got.headers["webhook-timestamp"] == str(int(NOW.timestamp()))
    assert got.headers["Content-Type"] == "application/json"
    assert got.json == {"type": "budget.cut", "timestamp": "2026-11-26T12:00:00Z", "data": CUT}
    assert (row.webhook_id, row.status, row.delivered_at, row.next_at) == (hook, 200, NOW, None)
    assert row.message_id == got.id and row.error is None
    assert place.count("webhook_deliveries", outcome="delivered") == 1


async def test_a_failed_one_is_tried_again_after_five_seconds(place: Place) -> None:
    async with receiver(500, 204) as there:
        place.hook(there.url)
        announce(place.engine, "a", NOW)
        async with place.delivering():
            row = await place.settled(1)
            assert (row.status, row.error) == (500, "it answered 500")
            assert row.next_at == NOW + timedelta(seconds=5)
            place.pass_(seconds=4)
            await asyncio.sleep(0.1)
            assert len(there.got) == 1
            place.pass_(seconds=1)
            first, second = await there.has(2)
            row = await place.settled(2)
    assert (row.status, row.error, row.next_at) == (204, None, None)
    assert first.id == second.id and first.body == second.body
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]
    assert place.count("webhook_deliveries", outcome="failed") == 1


async def test_a_receiver_that_is_gone_gets_no_second_attempt(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    async with receiver(410) as there:
        hook, _ = place.hook(there.url)
        announce(place.engine, "a", NOW)
        async with place.delivering():
            row = await place.settled(1)
            place.pass_(days=2)
            await asyncio.sleep(0.1)
    assert (row.status, row.next_at, row.delivered_at) == (410, None, None)
    assert len(there.got) == 1
    assert place.count("webhook_deliveries", outcome="given_up") == 1
    (record,) = logged(caplog, "webhook delivery given up")
    assert record.__dict__["webhook"] == hook and there.url not in str(record.__dict__)


async def test_after_the_last_retry_it_is_given_up(place: Place) -> None:
    place.hook(NOBODY)
    announce(place.engine, "a", NOW)
    async with place.delivering():
        for attempt in range(1, 9):
            row = await place.settled(attempt)
            place.pass_(days=1)
    assert (row.attempts, row.next_at, row.delivered_at, row.status) == (8, None, None, None)
    assert row.error == "it cannot be reached: ClientConnectorError"


async def test_redirects_are_not_followed(place: Place) -> None:
    async with receiver(302) as there:
        place.hook(there.url)
        announce(place.engine, "a", NOW)
        async with place.delivering():
            row = await place.settled(1)
    assert row.error == "it answered 302: redirects are not followed" and len(there.got) == 1


async def test_a_slow_receiver_times_out_and_holds_up_nobody(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "ATTEMPT_S", 2.0)
    async with receiver(None) as slow, receiver() as fast:
        slow_id, _ = place.hook(slow.url)
        place.hook(fast.url)
        for n in range(100):
            announce(place.engine, f"a{n}", NOW)
        async with place.delivering():
            await fast.has(100)
            assert len(slow.got) == webhooks.OF_ONE_WEBHOOK_MAX
            await until(lambda: place.count("webhook_deliveries", outcome="failed") >= 8)
            await until(lambda: any(row.error for row in place.rows() if row.webhook_id == slow_id))
    assert len({got.id for got in fast.got}) == len(fast.got) == 100
    errors = {row.error for row in place.rows() if row.webhook_id == slow_id}
    assert errors == {None, "it did not answer within 2 s"}
    assert len(slow.got) <= webhooks.OF_ONE_WEBHOOK_MAX + 2, "a failing one is tried one by one"


async def test_a_restart_repeats_nothing_that_was_delivered(place: Place) -> None:
    async with receiver() as there:
        place.hook(there.url)
        for n in range(3):
            announce(place.engine, f"a{n}", NOW)
        async with place.delivering():
            await there.has(3)
        announce(place.engine, "later", NOW)
        async with place.delivering():
            await there.has(4)
            place.pass_(minutes=1)
            await asyncio.sleep(0.1)
    assert len(there.got) == 4 and len({got.id for got in there.got}) == 4
    assert all(row.delivered_at for row in place.rows())


async def test_what_was_under_way_at_the_end_is_tried_again(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its claim lapses; the receiver may get it twice, with one id."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(webhooks, "STOP_S", 0.1)
    async with receiver(None, 200) as there:
        place.hook(there.url)
        announce(place.engine, "a", NOW)
        async with place.delivering():
            await there.has(1)
        assert logged(caplog, "deliveries under way are left: they are tried again")
        async with place.delivering():
            await asyncio.sleep(0.1)
            assert len(there.got) == 1
            place.now += CLAIM_LASTS
            first, second = await there.has(2)
            assert (await place.settled(2)).delivered_at
    assert first.id == second.id


async def test_two_deliverers_on_one_database_deliver_each_once(
    migrated_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "POLL_S", 0.02)
    one, other = open_database(migrated_postgres_url), open_database(migrated_postgres_url)
    place, count = Place(one), 150
    async with receiver() as there:
        place.hook(there.url)
        async with place.delivering(), place.delivering(other):
            for n in range(count):
                await asyncio.to_thread(announce, one, f"a{n}", NOW)
            await there.has(count)
            await until(lambda: place.count("webhook_deliveries", outcome="delivered") >= count)
            await asyncio.sleep(0.2)
    assert len(there.got) == count == len({got.id for got in there.got})
    assert place.count("announcements", kind="session.ended") == count
    for engine in (one, other):
        engine.dispose()


async def test_for_a_day_both_secrets_sign(place: Place) -> None:
    async with receiver() as there:
        hook, old = place.hook(there.url)
        with writing(place.engine) as connection:
            _, new = rotate_secret(connection, hook, Act("test", place.now))
        announce(place.engine, "a", NOW)
        async with place.delivering():
            (got,) = await there.has(1)
            assert got.is_signed_with(old) and got.is_signed_with(new)
            place.pass_(hours=24)
            for count, event in enumerate(("b", "c"), 2):  # "b" may go with those that were due before
                announce(place.engine, event, place.now)
                got = (await there.has(count))[-1]
    assert got.is_signed_with(new) and not got.is_signed_with(old)


async def test_announcements_are_logged_and_counted_without_any_webhook(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    for kind in (*PAYLOADS, "of.tomorrow"):
        announce(place.engine, kind, NOW, kind, "ten_1", payload=PAYLOADS.get(kind, {"x": 1}))
    async with place.delivering():
        await until(lambda: place.count("announcements", kind="_other") == 1)
        await asyncio.sleep(0.1)
    for kind in PAYLOADS:
        assert place.count("announcements", kind=kind) == 1
    (threshold,) = logged(caplog, "budget threshold reached")
    assert threshold.levelno == logging.WARNING
    for name in ("scope", "window", "percent"):
        assert threshold.__dict__[name] == THRESHOLD[name]
    (cut,) = logged(caplog, "budget cut")
    assert cut.__dict__["overshoot_nanousd"] == 200_000 and cut.__dict__["tenant"] == "ten_1"


async def test_a_lost_database_is_said_once_and_outcomes_wait_for_it(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with receiver() as there:
        place.hook(there.url)
        announce(place.engine, "a", NOW)
        async with place.delivering() as deliverer:
            real, broken = place.engine, open_database("sqlite:////nowhere/at-all.db")

            def lose(*args: object) -> None:
                deliverer._engine = broken

            monkeypatch.setattr(deliverer, "_announce", lose)
            await there.has(1)
            await until(lambda: bool(logged(caplog, "database lost: announcements wait in it")))
            await asyncio.sleep(0.2)
            place.pass_(minutes=5)
            deliverer._engine = real
            assert (await place.settled(1)).delivered_at
            await asyncio.sleep(0.1)
        broken.dispose()
    assert len(there.got) == 1
    assert len(logged(caplog, "database lost: announcements wait in it")) == 1
    assert len(logged(caplog, "database is back: announcements are delivered")) == 1


async def test_a_long_answer_is_not_read(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "ANSWER_BYTES_MAX", 4)
    async with receiver() as there:
        place.hook(there.url)
        announce(place.engine, "a", NOW)
        async with place.delivering():
            row = await place.settled(1)
    assert row.delivered_at and "canary" not in str(row)


async def test_a_damaged_secret_ends_in_an_error_and_nothing_else(place: Place) -> None:
    from sqlalchemy import update

    from proxy.store.schema import webhook

    async with receiver() as there:
        place.hook(there.url)
        with writing(place.engine) as connection:
            connection.execute(update(webhook).values(secret="whsec_canary!"))
        announce(place.engine, "a", NOW)
        async with place.delivering():
            row = await place.settled(1)
    assert row.error == "its secret cannot be used: give it a new one" and there.got == []
