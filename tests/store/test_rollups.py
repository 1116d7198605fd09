"""Rollups: kept by everything that books, exact whatever the amounts, in days of the zone in use."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, Table, insert, select

from proxy.core.money import AMOUNT_NANOUSD_MAX
from proxy.core.records import Kind
from proxy.core.usage import Meter
from proxy.store.adjustments import Adjustment, book
from proxy.store.audit import Act
from proxy.store.database import reading, writing
from proxy.store.filters import Filters
from proxy.store.reports import CostQuery, run
from proxy.store.rollups import Part, cell_of, day_start, use_zone, zone_of
from proxy.store.schema import rollup_day, rollup_group, rollup_month, rollup_quarter
from proxy.store.verify import verify
from tests.ledgers import MODEL, NOW, Books
from tests.tampering import owning

BERLIN = ZoneInfo("Europe/Berlin")
ZULU = ZoneInfo("UTC")


@pytest.fixture
def books(database: Engine) -> Books:
    books = Books(database)
    books.open("s1", project="web")
    return books


def cells(engine: Engine, table: Table, part: Part = Part.ENTRY) -> list[Any]:
    query = (
        select(table, *(column for column in rollup_group.c if column.name not in ("id", "key")))
        .join(rollup_group, rollup_group.c.id == table.c.group_id)
        .where(rollup_group.c.part == part)
        .order_by(table.c.starts_at, rollup_group.c.meter, rollup_group.c.modality)
    )
    with reading(engine) as connection:
        return list(connection.execute(query))


def starts(engine: Engine, table: Table) -> Sequence[datetime]:
    return sorted({row.starts_at for row in cells(engine, table)})


def test_a_posting_is_counted_by_the_parts_of_its_entries(books: Books) -> None:
    counts = {Meter.TEXT_IN: 1, Meter.AUDIO_IN: 2, Meter.AUDIO_OUT: 3}
    key = books.key("acme", "web")
    entries = [books.entry("s1", f"r{n}", counts, at=NOW + timedelta(minutes=5 * n)) for n in range(4)]
    books.post(*entries, books.entry("s1", "bare", at=NOW))
    whole = sorted(cells(books.engine, rollup_quarter), key=lambda row: (row.starts_at, not row.rated))
    cost = 4_000 + 2 * 32_000 + 3 * 64_000
    assert [(row.starts_at, row.rated, row.entries, cell_of(row).amounts) for row in whole] == [
        (NOW, True, 3, [3 * cost] * 3),
        (NOW, False, 1, [0, 0, 0]),
        (NOW + timedelta(minutes=15), True, 1, [cost] * 3),
    ]
    first = whole[0]
    assert (first.tenant_id, first.project_id, first.api_key_id) == (key.tenant_id, key.project_id, key.id)
    assert (first.model, first.kind, first.role, first.estimated) == (MODEL, "response", "original", False)
    meters = [(row.meter, row.quantity) for row in cells(books.engine, rollup_day, Part.METER)]
    assert meters == [("audio_in", 8), ("audio_out", 12), ("text_in", 4)]
    modalities = cells(books.engine, rollup_day, Part.MODALITY)
    assert [(row.modality, row.entries, cell_of(row).amounts[1]) for row in modalities] == [
        ("audio", 4, 4 * (cost - 4_000)),
        ("text", 4, 16_000),
    ]
    assert [row.entries for row in cells(books.engine, rollup_day, Part.BARE)] == [1]


def test_a_posting_that_is_done_again_counts_nothing(books: Books) -> None:
    entry = books.bill("s1", "r1", {Meter.TEXT_IN: 1})
    books.post(entry)
    assert [row.entries for row in cells(books.engine, rollup_day)] == [1]


def test_amounts_beyond_any_column_are_summed(books: Books) -> None:
    for number in range(3):
        for turn, sign in enumerate((1, 1, -1)):
            wanted = Adjustment(
                key=f"{number}/{turn}",
                kind=Kind.ADJUSTMENT,
                tenant="acme",
                cost_nanousd=sign * AMOUNT_NANOUSD_MAX,
                billed_nanousd=sign * (number + 1),
            )
            with writing(books.engine) as connection:
                book(connection, wanted, Act("cli:finance@desk", NOW, "huge"), UTC)
    total = run(books.engine, CostQuery()).total
    assert total["cost_nanousd"] == 3 * AMOUNT_NANOUSD_MAX
    assert verify(books.engine, ZULU).fault is None


def test_what_a_database_cannot_store_is_one_group_all_the_same(database: Engine) -> None:
    books = Books(database)
    books.open("s1")
    for number in range(2):
        books.bill("s1", f"r{number}", {Meter.TEXT_IN: 1}, model="odd\0model")
    assert [(row.model, row.entries) for row in cells(database, rollup_day)] == [("odd\ufffdmodel", 2)]
    books.bill("s1", "r9", {Meter.TEXT_IN: 1}, model="")
    assert verify(database, ZULU).fault is None


def test_days_are_those_of_the_zone_that_serve_was_started_with(books: Books) -> None:
    times = [datetime(2026, 10, 24, 21, 59, tzinfo=UTC) + timedelta(hours=n) for n in (0, 1, 24, 25, 26, 27)]
    for number, at in enumerate(times[:4]):
        books.bill("s1", f"r{number}", {Meter.TEXT_IN: 1}, at=at)
    assert starts(books.engine, rollup_day) == [datetime(2026, 10, day, tzinfo=UTC) for day in (24, 25)]
    use_zone(books.engine, BERLIN)
    for number, at in enumerate(times[4:]):
        books.bill("s1", f"later{number}", {Meter.TEXT_IN: 1}, at=at)
    assert starts(books.engine, rollup_day) == [
        datetime(2026, 10, 23, 22, tzinfo=UTC),
        datetime(2026, 10, 24, 22, tzinfo=UTC),
        datetime(2026, 10, 25, 23, tzinfo=UTC),
    ]
    assert [row.entries for row in cells(books.engine, rollup_day)] == [1, 3, 2]
    assert starts(books.engine, rollup_month) == [datetime(2026, 9, 30, 22, tzinfo=UTC)]
    assert [row.entries for row in cells(books.engine, rollup_month)] == [6]
    assert verify(books.engine, ZULU).fault is None
    use_zone(books.engine, BERLIN)
    with reading(books.engine) as connection:
        assert zone_of(connection).key == "Europe/Berlin"


def test_changing_the_zone_reads_quarter_hours_in_pages(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.store.rollups.CELLS_PER_PAGE", 3)
    for number in range(20):
        books.bill("s1", f"r{number}", {Meter.TEXT_IN: number + 1}, at=NOW + timedelta(hours=number))
    use_zone(books.engine, BERLIN)
    assert verify(books.engine, ZULU).fault is None
    assert sum(row.quantity for row in cells(books.engine, rollup_day, Part.METER)) == 210


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-10-25T00:30", None),  # within the day of 25 hours
        ("2026-10-24T23:00", "2026-10-25T22:30"),
        ("2026-08-31T22:00", "2026-10-31T23:00"),  # two months
        ("2026-08-31T21:45", "2026-10-31T23:15"),
        ("2026-09-30T22:00", "2026-10-05T22:00"),
        (None, "2026-09-30T22:00"),
        (None, None),
    ],
)
@pytest.mark.parametrize("by", [(), ("month",), ("day",)], ids=["all", "month", "day"])
def test_any_time_is_made_of_months_days_and_quarter_hours(
    books: Books, start: str | None, end: str | None, by: tuple[str, ...]
) -> None:
    use_zone(books.engine, BERLIN)
    times = [datetime(2026, 8, 20, 23, 50, tzinfo=UTC) + timedelta(hours=7 * n) for n in range(300)]
    books.post(
        *(books.entry("s1", f"r{number}", {Meter.TEXT_IN: 1}, at=at) for number, at in enumerate(times))
    )
    span = [None if at is None else datetime.fromisoformat(at).replace(tzinfo=UTC) for at in (start, end)]
    wanted = [at for at in times if (span[0] or times[0]) <= at and (span[1] is None or at < span[1])]
    report = run(books.engine, CostQuery(by, Filters(start=span[0], end=span[1]), BERLIN))
    assert report.total["entries"] == len(wanted)
    if by:
        shape = {"month": "%Y-%m", "day": "%Y-%m-%d"}[by[0]]
        counted = Counter(f"{at.astimezone(BERLIN):{shape}}" for at in wanted)
        assert {row[by[0]]: row["entries"] for row in report.rows} == counted


@pytest.mark.parametrize(
    ("zone", "at", "day"),
    [
        ("UTC", "2026-11-23T12:00", "2026-11-23T00:00"),
        ("Europe/Berlin", "2026-10-25T22:59", "2026-10-24T22:00"),
        ("Asia/Kathmandu", "2026-11-23T18:14", "2026-11-22T18:15"),
        ("Africa/Cairo", "2026-04-23T23:00", "2026-04-23T22:00"),  # midnight is skipped there that night
    ],
)
def test_when_a_day_began(zone: str, at: str, day: str) -> None:
    instants = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (at, day)]
    assert day_start(ZoneInfo(zone), instants[0]) == instants[1]


def test_cells_are_added_to_and_not_written_over(books: Books) -> None:
    """Whatever the interpreter does between: the sum is made in the database."""
    books.bill("s1", "r1", {Meter.TEXT_IN: 1})
    (row,) = cells(books.engine, rollup_quarter)
    with owning(books.engine) as connection:
        connection.execute(
            rollup_quarter.update().where(rollup_quarter.c.group_id == row.group_id).values(entries=8)
        )
        connection.execute(insert(rollup_day).values(**other_day(row)))
    books.bill("s1", "r2", {Meter.TEXT_IN: 1})
    assert [one.entries for one in cells(books.engine, rollup_quarter)] == [9]


def other_day(row: Any) -> dict[str, Any]:
    own = {column.name: getattr(row, column.name) for column in rollup_day.columns}
    return own | {"starts_at": row.starts_at - timedelta(days=40)}
