"""The gauges that come from the database: unknown without it, and true again when it is back."""

import asyncio
import logging
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from proxy.admin import gauges
from proxy.admin.gauges import look
from proxy.core.bill import Charge
from proxy.core.reconcile import Threshold
from proxy.observe.control_metrics import ControlMetrics
from proxy.store.audit import Act
from proxy.store.database import migrate, open_database, reading, writing
from proxy.store.instances import register
from proxy.store.reconciliations import Scope, Terms, TheirSide, compare_bill, record
from tests.announcements import until

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def variance(metrics: ControlMetrics) -> float | None:
    return metrics.registry.get_sample_value("talkmeter_reconciliation_variance_ratio")


def running(metrics: ControlMetrics) -> float | None:
    return metrics.registry.get_sample_value("talkmeter_instances", {"state": "running"})


async def test_they_are_unknown_until_the_database_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What they are charged for and we have nothing of is unexplained: all of it."""
    caplog.set_level(logging.INFO, "proxy.admin.polling")
    monkeypatch.setattr(gauges, "LOOK_S", 0.02)
    engine, metrics = open_database(f"sqlite:///{tmp_path / 'x.db'}"), ControlMetrics(CollectorRegistry())
    keeping = gauges.gauges(engine, metrics)
    async with asyncio.TaskGroup() as group:
        group.create_task(keeping.run())
        await until(lambda: bool(caplog.records))  # there are no tables yet
        assert math.isnan(variance(metrics) or 0) and running(metrics) is None
        migrate(engine)
        said = TheirSide([Charge(NOW.date() - timedelta(days=2), None, None, "a surprise", 500)], [], NOW)
        scope = Scope(NOW.date() - timedelta(days=2), NOW.date() - timedelta(days=1))
        terms = Terms(timedelta(hours=24), Threshold(0, 0))
        with reading(engine) as connection:
            rows = compare_bill(connection, scope, terms, said, {})
        with writing(engine) as connection:
            record(connection, scope, terms, said, rows, Act("test", NOW))
        await until(lambda: variance(metrics) == 1.0)
        assert running(metrics) == 0
        register(engine, "i1", tmp_path / "journal.db", "1.0", datetime.now(UTC))
        await until(lambda: running(metrics) == 1)
        keeping.stop()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    look(engine, metrics)
    engine.dispose()
