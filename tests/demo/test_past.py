"""The demo's past: booked as real calls are, so that a ledger of it verifies."""

from datetime import UTC, datetime, timedelta

from proxy.demo.past import DAYS, HABITS, book_past
from proxy.store.audit import Act
from proxy.store.database import open_database, writing
from proxy.store.reports import CostQuery, run
from proxy.store.tenants import create_key, create_tenant
from proxy.store.verify import verify
from tests.ledgers import PEPPER

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def test_the_past_verifies_and_ends_before_today(sqlite_url: str) -> None:
    sqlite, act, keys = open_database(sqlite_url), Act("demo", NOW), {}
    with writing(sqlite) as connection:
        for tenant in HABITS:
            create_tenant(connection, tenant, act)
            keys[tenant], _ = create_key(connection, PEPPER, tenant_name=tenant, act=act, name="demo")
        calls = book_past(connection, keys, NOW)
    assert verify(sqlite, UTC).fault is None
    report = run(sqlite, CostQuery(("day", "tenant"), count_sessions=True))
    assert {row["tenant"] for row in report.rows} == set(HABITS)
    days = sorted({str(row["day"]) for row in report.rows})
    assert days[0] >= f"{NOW - timedelta(days=DAYS):%Y-%m-%d}" and days[-1] == "2026-11-28"
    assert report.total["sessions"] == calls and calls > 100
    assert report.total["unrated_entries"] == 0
