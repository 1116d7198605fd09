"""The loop that makes what is due and looks at hours, on both databases."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, select

from proxy.admin import schedules
from proxy.admin.schedules import FORECASTS_EVERY, HOUR_SETTLES, Scheduler
from proxy.core.anomaly import Sensitivity
from proxy.core.budgets import Scope
from proxy.core.usage import Meter
from proxy.core.windows import Window
from proxy.store import StoreError
from proxy.store.audit import Act
from proxy.store.budgets import Terms, set_budget
from proxy.store.database import open_database, reading, writing
from proxy.store.reconciliations import Reconciliation
from proxy.store.schedules import Content
from proxy.store.schema import outbox, saved_report
from tests.announcements import until
from tests.ledgers import Books
from tests.scheduling import ACT, DAILY, EMBEDDED, NOW, save, schedule, sent

SENSITIVE = Sensitivity(1, 5)
OFF = Sensitivity(1, 0)


@dataclass
class Place:
    """A database, a clock that a test moves, and loops."""

    engine: Engine
    now: datetime = NOW

    @contextlib.asynccontextmanager
    async def scheduling(
        self, sensitivity: Sensitivity = OFF, engine: Engine | None = None
    ) -> AsyncIterator[Scheduler]:
        scheduler = Scheduler(engine or self.engine, ZoneInfo("UTC"), sensitivity, lambda: self.now)
        async with asyncio.TaskGroup() as group:
            group.create_task(scheduler.run())
            yield scheduler
            scheduler.stop()

    def forecasts(self) -> list[int]:
        query = select(outbox).where(outbox.c.kind == "budget.forecast").order_by(outbox.c.id)
        with reading(self.engine) as connection:
            return [row.payload["percent"] for row in connection.execute(query)]

    def anomalies(self) -> list[tuple[str | None, str]]:
        query = select(outbox).where(outbox.c.kind == "spend.anomaly").order_by(outbox.c.id)
        with reading(self.engine) as connection:
            return [(row.tenant_id, row.payload["starts_at"]) for row in connection.execute(query)]


@pytest.fixture
def place(database: Engine, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(schedules, "POLL_S", 0.02)
    return Place(database)


async def test_what_is_due_is_made_when_it_is_and_after_a_pause_the_latest(place: Place) -> None:
    schedule(place.engine, table=DAILY)
    async with place.scheduling():
        await asyncio.sleep(0.1)
        assert sent(place.engine) == []
        place.now += timedelta(hours=20)
        await until(lambda: len(sent(place.engine)) == 1)
    place.now += timedelta(days=3)
    async with place.scheduling():
        await until(lambda: len(sent(place.engine)) == 2)
        await asyncio.sleep(0.1)
    assert [(one["due_at"], one["skipped"]) for one in sent(place.engine)] == [
        ("2026-11-24T08:00:00Z", 0),
        ("2026-11-27T08:00:00Z", 2),
    ]


async def test_two_loops_on_one_database_make_each_once(
    migrated_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedules, "POLL_S", 0.01)
    one, other = open_database(migrated_postgres_url), open_database(migrated_postgres_url)
    place = Place(one)
    spike(one)
    for number in range(4):
        schedule(one, name=f"s{number}", table=DAILY)
    place.now = NOW + HOUR_SETTLES
    async with place.scheduling(SENSITIVE), place.scheduling(SENSITIVE, other):
        await until(lambda: len(place.anomalies()) == 2)
        for day in range(1, 4):
            place.now = NOW + timedelta(days=day)
            await until(lambda day=day: len(sent(one)) == 4 * day)  # type: ignore[misc]
        await asyncio.sleep(0.1)
    assert len(sent(one)) == 12 and len(place.anomalies()) == 2
    for engine in (one, other):
        engine.dispose()


def spike(engine: Engine) -> str:
    """Let acme spend something for five weeks, and a lot in the hour before now; return its id."""
    books = Books(engine)
    books.open("s1", "acme")
    for weeks in range(6):
        at = NOW - timedelta(weeks=weeks, minutes=30)
        books.bill("s1", f"r{weeks}", {Meter.TEXT_OUT: 100 if weeks else 10_000}, at=at)
    return books.key("acme").tenant_id


async def test_an_hour_is_looked_at_when_it_is_over_and_again_after_a_start(place: Place) -> None:
    acme = await asyncio.to_thread(spike, place.engine)
    place.now = NOW + HOUR_SETTLES - timedelta(seconds=1)
    async with place.scheduling(SENSITIVE):
        await asyncio.sleep(0.2)
        assert place.anomalies() == []
        place.now = NOW + HOUR_SETTLES
        await until(lambda: len(place.anomalies()) == 2)
    place.now += timedelta(hours=20)
    async with place.scheduling(SENSITIVE) as scheduler:
        await until(lambda: scheduler._looked_until == NOW + timedelta(hours=20))
    assert sorted(place.anomalies(), key=str) == sorted(
        [(None, "2026-11-23T11:00:00Z"), (acme, "2026-11-23T11:00:00Z")], key=str
    )


@EMBEDDED
async def test_forecasts_are_looked_at_every_few_minutes(place: Place) -> None:
    books = Books(place.engine)
    books.open("s1", "acme", at=NOW)
    books.bill("s1", "r1", {Meter.TEXT_OUT: 1_000}, at=NOW - timedelta(days=10))
    with writing(place.engine) as connection:
        terms = Terms(forecast_thresholds=(100,))
        facts = {"scope": Scope.TENANT, "window": Window.MONTH, "amount_nanousd": 10**12, "tenant": "acme"}
        made = set_budget(connection, ACT, terms=terms, **facts)  # type: ignore[arg-type]
    async with place.scheduling() as scheduler:
        await until(lambda: scheduler._forecast_at == NOW)
        assert place.forecasts() == []
        with writing(place.engine) as connection:
            set_budget(connection, ACT, **facts | {"amount_nanousd": 1})  # type: ignore[arg-type]
        place.now = NOW + FORECASTS_EVERY - timedelta(seconds=1)
        await asyncio.sleep(0.1)
        assert place.forecasts() == []
        place.now = NOW + FORECASTS_EVERY
        await until(lambda: place.forecasts() == [100])
    assert made.rule.forecast_thresholds == (100,)


@EMBEDDED
async def test_with_no_deviations_nothing_is_looked_at(place: Place) -> None:
    await asyncio.to_thread(spike, place.engine)
    place.now = NOW + timedelta(hours=2)
    async with place.scheduling(OFF):
        await asyncio.sleep(0.1)
    assert place.anomalies() == []


@EMBEDDED
async def test_a_lost_database_is_said_once_and_nothing_is_lost(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    schedule(place.engine, table=DAILY)
    place.now += timedelta(days=1)
    broken = open_database("sqlite:////nowhere/at-all.db")
    async with place.scheduling(engine=broken) as scheduler:
        await until(lambda: "database lost: what is scheduled waits" in caplog.text)
        await asyncio.sleep(0.1)
        scheduler._engine = place.engine
        await until(lambda: len(sent(place.engine)) == 1)
        await until(lambda: "database is back: what is scheduled goes on" in caplog.text)
    assert caplog.text.count("database lost: what is scheduled waits") == 1
    broken.dispose()


@EMBEDDED
async def test_one_that_fails_holds_up_no_other(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    save(place.engine)
    schedule(place.engine, name="a", content=Content.REPORT, report="costs", table=DAILY)
    schedule(place.engine, name="b", table=DAILY)
    query = {"filters": {"model": ["no text"]}, "group_by": [], "zone": "UTC", "count_sessions": False}
    with writing(place.engine) as connection:
        connection.execute(saved_report.update().values(query=query))
    place.now += timedelta(days=1)
    async with place.scheduling():
        await until(lambda: len(sent(place.engine)) == 1)
        await until(lambda: "what is scheduled waits" in caplog.text)
    assert [one["schedule"] for one in sent(place.engine)] == ["b"]


async def test_comparisons_are_made_by_whoever_can_read_the_bill(place: Place) -> None:
    asked = []

    def reconcile(days: int, act: Act) -> Reconciliation:
        asked.append((days, act.actor))
        raise StoreError("The provider does not answer.")

    schedule(place.engine, name="bill", content=Content.RECONCILIATION, table=DAILY)
    place.now = NOW + timedelta(days=1)
    scheduler = Scheduler(place.engine, ZoneInfo("UTC"), OFF, lambda: place.now, reconcile=reconcile)
    async with asyncio.TaskGroup() as group:
        group.create_task(scheduler.run())
        await until(lambda: bool(sent(place.engine)))
        scheduler.stop()
    assert asked == [(7, "schedule:bill")]
    assert sent(place.engine)[0]["problem"] == "The provider does not answer."
