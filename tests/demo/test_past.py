"""The demo's past: booked as real calls are, so that a ledger of it verifies."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from proxy.core.money import parse_usd
from proxy.core.records import Entry, SessionOpened
from proxy.demo.past import DAYS, HABITS, book_past, past
from proxy.demo.stage import BUDGETS_USD
from proxy.store.audit import Act
from proxy.store.database import open_database, writing
from proxy.store.prices import load_prices
from proxy.store.reports import CostQuery, run
from proxy.store.tenants import Key, create_key, create_tenant
from proxy.store.verify import verify
from tests.ledgers import PEPPER

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def people(connection: Connection) -> dict[str, Key]:
    """Create the demo's tenants; return a key of each."""
    act, keys = Act("demo", NOW), {}
    for tenant in HABITS:
        create_tenant(connection, tenant, act)
        keys[tenant], _ = create_key(connection, PEPPER, tenant_name=tenant, act=act, name="demo")
    return keys


def test_the_past_verifies_and_ends_before_today(sqlite_url: str) -> None:
    sqlite = open_database(sqlite_url)
    with writing(sqlite) as connection:
        keys = people(connection)
        calls = book_past(connection, keys, NOW)
    assert verify(sqlite, UTC).fault is None
    report = run(sqlite, CostQuery(("day", "tenant"), count_sessions=True))
    assert {row["tenant"] for row in report.rows} == set(HABITS)
    days = sorted({str(row["day"]) for row in report.rows})
    assert days[0] >= f"{NOW - timedelta(days=DAYS):%Y-%m-%d}" and days[-1] == "2026-11-28"
    assert report.total["sessions"] == calls and calls > 100
    assert report.total["unrated_entries"] == 0


def test_no_month_ends_with_a_budget_that_the_past_has_spent(sqlite_url: str) -> None:
    """The demo runs on the last day of any month too."""
    with writing(open_database(sqlite_url)) as connection:
        keys, book = people(connection), load_prices(connection)
    of = {key.tenant_id: tenant for tenant, key in keys.items()}
    for month in range(36):
        first = datetime(2026 + (month + 1) // 12, (month + 1) % 12 + 1, 1, tzinfo=UTC)
        last = first - timedelta(hours=1)
        spent: Counter[str] = Counter()
        tenant_of = {}
        for record in past(keys, book, last):
            if isinstance(record, SessionOpened):
                tenant_of[record.session_id] = of[record.tenant_id]
            if isinstance(record, Entry) and record.occurred_at.month == last.month:
                spent[tenant_of[record.session_id]] += record.cost_nanousd or 0
        for tenant, amount in BUDGETS_USD.items():
            assert 0 < spent[tenant] < parse_usd(amount) * 0.95, (last, tenant)
