"""The check of rollups: any cell that is wrong, missing or too much is named, the first day's first."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, delete, insert, select, update

from proxy.core.usage import Meter
from proxy.store.database import reading, writing
from proxy.store.rollup_check import rollup_fault
from proxy.store.rollups import FACTS, use_zone
from proxy.store.schema import rollup_day, rollup_group, rollup_month, rollup_quarter
from proxy.store.verify import verify
from tests.ledgers import NOW, Books

TABLES = {"rollup_quarter": rollup_quarter, "rollup_day": rollup_day, "rollup_month": rollup_month}


@pytest.fixture
def books(database: Engine) -> Books:
    books = Books(database)
    books.open("s1")
    books.bill("s1", "r1", {Meter.TEXT_IN: 10, Meter.AUDIO_OUT: 3})
    books.bill("s1", "r2", at=NOW + timedelta(days=40))
    books.bill("s1", "r3", {}, at=NOW + timedelta(days=40))
    return books


def changed(engine: Engine, *statements: Any) -> str | None:
    with writing(engine) as connection:
        for statement in statements:
            connection.execute(statement)
    return rollup_fault(engine)


def test_what_postings_have_kept_is_right(books: Books) -> None:
    for zone in ("UTC", "Europe/Berlin", "Asia/Kathmandu", "America/Los_Angeles", "Pacific/Apia"):
        use_zone(books.engine, ZoneInfo(zone))
        assert rollup_fault(books.engine) is None


def test_an_empty_ledger_has_none(database: Engine) -> None:
    assert rollup_fault(database) is None


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("fact", FACTS)
def test_any_figure_that_is_wrong_is_named(books: Books, table: str, fact: str) -> None:
    of = TABLES[table]
    with reading(books.engine) as connection:
        last = connection.execute(
            select(of.c.starts_at, of.c.group_id).order_by(of.c.starts_at.desc())
        ).first()
    assert last is not None
    where = (of.c.starts_at == last.starts_at) & (of.c.group_id == last.group_id)
    fault = changed(books.engine, update(of).where(where).values({fact: of.c[fact] + 1}))
    name = fact if fact in ("entries", "quantity") else f"{fact.partition('_')[0]}_nanousd"
    assert fault is not None
    assert fault.startswith(f"{table}: {name} is ") and f"from {last.starts_at:%Y-%m-%d %H:%M} UTC" in fault
    assert verify(books.engine, ZoneInfo("UTC")).fault == fault


@pytest.mark.parametrize("table", TABLES)
def test_what_is_missing_or_too_much_is_named(books: Books, table: str) -> None:
    of = TABLES[table]
    with reading(books.engine) as connection:
        row = dict(connection.execute(select(of).order_by(of.c.starts_at)).mappings().first() or {})
    gone = (of.c.starts_at == row["starts_at"]) & (of.c.group_id == row["group_id"])
    assert f"entries is 0 from {row['starts_at']:%Y-%m-%d}" in str(
        changed(books.engine, delete(of).where(gone))
    )
    for days in (-500, 20, 500):
        more = row | {"starts_at": row["starts_at"] + timedelta(days=days)}
        fault = str(changed(books.engine, delete(of).where(gone), insert(of).values([row, more])))
        assert fault.startswith(f"{table}: entries is 1 from {more['starts_at']:%Y-%m-%d}"), days
        assert changed(books.engine, delete(of).where(of.c.starts_at == more["starts_at"])) is None


def test_a_group_that_is_another_is_found(books: Books) -> None:
    assert "entries is " in str(changed(books.engine, update(rollup_group).values(model="cheaper")))


def test_the_first_day_that_is_wrong_is_named(books: Books) -> None:
    fault = changed(
        books.engine, update(rollup_day).values(entries=9), update(rollup_quarter).values(entries=8)
    )
    assert str(fault).startswith("rollup_quarter: entries is 8 from 2026-11-23 12:00 UTC of ten_")


def test_instants_before_1970_and_odd_offsets_are_no_alarm(books: Books) -> None:
    times = ("1969-12-31T23:59:59.5", "1930-06-01T12:07", "1890-03-01T23:10", "1970-01-01")
    for number, at in enumerate(times):
        books.bill("s1", f"old{number}", at=datetime.fromisoformat(at).replace(tzinfo=UTC))
    for zone in ("UTC", "Europe/Amsterdam", "Africa/Monrovia"):
        use_zone(books.engine, ZoneInfo(zone))
        assert rollup_fault(books.engine) is None
