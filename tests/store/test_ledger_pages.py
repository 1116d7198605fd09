"""Long ways through the ledger: everything once, in pages that an index leads to."""

from datetime import UTC, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from proxy.core.usage import Meter
from proxy.store.chain import chain
from proxy.store.database import open_database, reading
from proxy.store.filters import EVERYTHING, Filters
from proxy.store.ledger_pages import PAGE_ENTRIES, accounted_late, by_time, count, unrated
from proxy.store.rerate import Rerating
from proxy.store.tenants import find_tenant
from tests.closing import close_month
from tests.ledgers import ACT, NOW, Books

LAST_MONTH = NOW - timedelta(days=30)
NEVER = "unheard-of"


@pytest.fixture
def books(database: Engine, monkeypatch: pytest.MonkeyPatch) -> Books:
    """Ten entries each of two months, those of one instant among them, and every fourth without a price."""
    monkeypatch.setattr("proxy.store.ledger_pages.PAGE_ENTRIES", 3)
    books = Books(database)
    books.open("s1", "acme", at=LAST_MONTH)
    books.open("s2", "globex", at=LAST_MONTH)
    for at in (NOW, LAST_MONTH):
        books.post(
            *(
                books.entry(
                    f"s{number % 2 + 1}",
                    f"{at:%m}-{number}",
                    {Meter.TEXT_IN: number + 1},
                    at=at + timedelta(seconds=-(number // 5)),
                    **({"model": NEVER} if number % 4 == 0 else {}),
                )
                for number in range(10)
            )
        )
    return books


def head(engine: Engine) -> int:
    with reading(engine) as connection:
        return chain(connection).entries


def test_entries_come_once_in_the_order_of_time(books: Books) -> None:
    found = list(by_time(books.engine, EVERYTHING, 20))
    assert [(one.occurred_at, one.id) for one in found] == sorted((one.occurred_at, one.id) for one in found)
    assert sorted(one.id for one in found) == list(range(1, 21))
    assert [one.lines[0].quantity for one in found] == [int(one.subject_id[3:]) + 1 for one in found]
    assert [one.id for one in by_time(books.engine, EVERYTHING, 12)] == [
        one.id for one in found if one.id <= 12
    ]
    assert [one.id for one in by_time(books.engine, Filters(start=NOW), 20)] == [1, 2, 3, 4, 5]
    assert PAGE_ENTRIES >= 100


def test_tenants_come_one_after_the_other(books: Books) -> None:
    with reading(books.engine) as connection:
        ids = [find_tenant(connection, name).id for name in ("acme", "globex")]
        assert count(connection, Filters(tenant="acme"), 20) == 10
    found = list(by_time(books.engine, Filters(within=frozenset(ids)), 20))
    assert [one.tenant_id for one in found] == [tenant for tenant in sorted(ids) for _ in range(10)]
    one = list(by_time(books.engine, Filters(tenant="acme", within=frozenset(ids)), 20))
    assert {entry.tenant for entry in one} == {"acme"} and len(one) == 10
    assert list(by_time(books.engine, Filters(within=frozenset()), 20)) == []


def test_what_came_after_a_close_is_found_by_where_it_is_accounted(books: Books) -> None:
    assert list(accounted_late(books.engine, EVERYTHING, "2026-11", 20)) == []
    for session in ("s1", "s2"):
        books.close(session)
    close_month(books.engine, "2026-10", {"unrated": "a test"})
    for number in range(7):
        books.bill("s1", f"late{number}", {Meter.TEXT_IN: 1}, at=LAST_MONTH)
    books.bill("s1", "now", {Meter.TEXT_IN: 1})
    late = list(accounted_late(books.engine, EVERYTHING, "2026-11", head(books.engine)))
    assert [one.subject_id for one in late] == [f"late{number}" for number in range(7)]
    assert len(list(accounted_late(books.engine, EVERYTHING, "2026-11", 24))) == 4
    assert list(accounted_late(books.engine, Filters(tenant="globex"), "2026-11", head(books.engine))) == []


def test_what_was_replaced_is_no_longer_without_a_price(books: Books) -> None:
    expected = [one.id for one in by_time(books.engine, EVERYTHING, 20) if one.model == NEVER]
    assert [one.id for one in unrated(books.engine, EVERYTHING, 20)] == sorted(expected)
    aliases = {NEVER: "gpt-realtime-mini"}
    assert len(list(Rerating(Filters(end=NOW), aliases, UTC, ACT).run(books.engine))) == 4
    left = [one.id for one in unrated(books.engine, EVERYTHING, head(books.engine))]
    assert len(left) == len(expected) - 4 and set(left) < set(expected)
    assert [one.id for one in unrated(books.engine, EVERYTHING, 20)] == sorted(expected), "as it was then"


def test_no_page_sorts_or_reads_what_the_ones_before_have_read(sqlite_url: str) -> None:
    """A plan with a temporary tree sorts a whole month for each page of it."""
    engine = open_database(sqlite_url, checkpoints=True)
    books = Books(engine)
    books.open("s1", "acme")
    books.bill("s1", "r1", {Meter.TEXT_IN: 1}, at=LAST_MONTH)
    books.close("s1")
    close_month(engine, "2026-10")
    asked: list[tuple[str, Any]] = []

    @event.listens_for(engine, "before_cursor_execute")
    def noted(_connection: Connection, _cursor: object, statement: str, values: Any, *_more: object) -> None:
        if "LEFT OUTER JOIN tenant" in statement:
            asked.append((statement, values))

    some = Filters(start=LAST_MONTH, end=NOW, tenant="acme")
    for filters in (Filters(start=LAST_MONTH, end=NOW), some, EVERYTHING):
        list(by_time(engine, filters, 9))
    list(accounted_late(engine, Filters(tenant="acme"), "2026-11", 9))
    list(unrated(engine, Filters(end=NOW), 9))
    event.remove(engine, "before_cursor_execute", noted)
    assert len(asked) == 5
    with engine.connect() as connection:
        for statement, values in asked:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
            assert "ledger_entry" in plan[0][3] and "INDEX" in plan[0][3], plan
            assert not any("TEMP B-TREE" in row[3] for row in plan), plan
    engine.dispose()
