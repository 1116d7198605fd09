"""A comparison from end to end: the bill is read, compared and kept."""

import asyncio
from datetime import date, timedelta

import pytest
from sqlalchemy import Engine

from proxy.admin.config import BillConfig
from proxy.admin.reconciling import Reconciler
from proxy.core.usage import Meter
from proxy.store import StoreError
from proxy.store.audit import Act
from proxy.store.database import reading
from proxy.store.reconciliations import find_reconciliation
from tests.admin.test_provider_bill import ADMIN, NOW, ON, account
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


def test_what_stands_in_the_way_is_said_before_anything_is_asked(database: Engine) -> None:
    nothing = Reconciler(BillConfig(), {})
    with pytest.raises(StoreError, match="TALKMETER_UPSTREAM_ADMIN_KEY is not set"):
        nothing.run(database, ON, ON, Act("ann", NOW))
    config = BillConfig(url="http://127.0.0.1:1", admin_key=ADMIN)
    with pytest.raises(StoreError, match="not here yet"):
        Reconciler(config, {}).run(database, date(2027, 1, 1), date(2027, 1, 2), Act("ann", NOW))
    assert ADMIN not in repr(config) + repr(Reconciler(config, {}))
