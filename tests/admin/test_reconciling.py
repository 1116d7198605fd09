"""A comparison from end to end: the bill is read, compared and kept."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from proxy.admin.config import BillConfig
from proxy.admin.reconciling import Reconciler
from proxy.core.usage import Meter
from proxy.store import Conflict, StoreError
from proxy.store.audit import Act
from proxy.store.database import reading
from proxy.store.reconciliations import find_reconciliation
from tests.admin.test_provider_bill import ADMIN, NOW, ON, account
from tests.archiving import archive_month
from tests.closing import close_month
from tests.ledgers import Books


async def test_what_is_read_is_compared_and_kept(database: Engine) -> None:
    books = Books(database)
    async with account() as of:
        books.open("s1", at=of.now)
        counts = {Meter.TEXT_IN: 55, Meter.TEXT_IN_CACHED: 64, Meter.AUDIO_IN: 10, Meter.AUDIO_IN_CACHED: 3}
        counts |= {Meter.TEXT_OUT: 30, Meter.AUDIO_OUT: 91}
        books.bill("s1", "r1", counts, at=of.now)
        of.respond()
        config = BillConfig(url=of.source().url, admin_key=ADMIN, usd=0, percent=0)
        reconciler = Reconciler(config, {})
        end = ON + timedelta(days=1)
        made = await asyncio.to_thread(reconciler.run, database, ON, end, Act("ann", NOW))
    with reading(database) as connection:
        assert find_reconciliation(connection, made.id) == made
    assert made.rows == 6 and not made.is_over
    assert made.days[0].amounts["ours"] == made.days[0].amounts["theirs"] > 0
    assert made.days[0].amounts["unexplained"] == 0


async def test_the_last_days_begin_behind_what_is_archived(database: Engine, tmp_path: Path) -> None:
    """A comparison takes the lines of the day before its first one too."""
    books = Books(database)
    october, november = (datetime(2026, month, day, 12, tzinfo=UTC) for month, day in ((10, 31), (11, 3)))
    books.open("s1", at=october)
    for at in (october, november):
        books.bill("s1", f"r{at.month}", {Meter.TEXT_IN: 55}, at=at)
    close_month(database, "2026-10", {"journals": "a test"})
    archive_month(database, "2026-10", tmp_path)
    async with account() as of:
        of.now = november
        of.respond()
        reconciler = Reconciler(BillConfig(url=of.source().url, admin_key=ADMIN, delay_h=24), {})
        of.now = november + timedelta(days=6)
        made = await asyncio.to_thread(reconciler.run_last, database, 14, Act("ann", of.now))
        with pytest.raises(Conflict, match="2026-10 is archived"):
            early = Act("ann", october + timedelta(days=2))
            await asyncio.to_thread(reconciler.run_last, database, 7, early)
    assert (made.scope.first_on, made.scope.end_on) == (date(2026, 11, 2), date(2026, 11, 8))
    assert sum(day.amounts["ours"] for day in made.days) > 0


def test_what_stands_in_the_way_is_said_before_anything_is_asked(database: Engine) -> None:
    nothing = Reconciler(BillConfig(), {})
    with pytest.raises(StoreError, match="TALKMETER_UPSTREAM_ADMIN_KEY is not set"):
        nothing.run(database, ON, ON, Act("ann", NOW))
    config = BillConfig(url="http://127.0.0.1:1", admin_key=ADMIN)
    with pytest.raises(StoreError, match="not here yet"):
        Reconciler(config, {}).run(database, date(2027, 1, 1), date(2027, 1, 2), Act("ann", NOW))
    assert ADMIN not in repr(config) + repr(Reconciler(config, {}))
