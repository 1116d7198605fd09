"""Cost reports: exact, in the same shape whatever is asked."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, update

from proxy.core.records import Kind
from proxy.core.usage import Meter
from proxy.store import StoreError
from proxy.store.filters import Filters
from proxy.store.ledger import Booked, entries
from proxy.store.reports import CostQuery, run
from proxy.store.schema import ledger_entry, ledger_line
from tests.ledgers import MODEL, NOW, Books
from tests.tampering import sum_anew, tampering

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def books(database: Engine) -> Books:
    return Books(database)


def test_the_shape_of_an_answer(books: Books) -> None:
    books.open("s1", "acme")
    books.open("s2", "acme")
    books.bill("s1", "r1", {Meter.AUDIO_IN: 10, Meter.AUDIO_IN_CACHED: 20, Meter.AUDIO_OUT: 30})
    books.bill("s1", "r2", {Meter.AUDIO_OUT: 5}, estimated=True)
    books.bill("s2", "r3")
    query = CostQuery(["tenant", "model"], Filters(start=NOW, end=NOW + timedelta(hours=1)))
    amounts = {
        "sessions": 2,
        "responses": 3,
        "entries": 3,
        "cost_nanousd": 2_568_000,
        "cost_usd": "0.002568000",
        "list_nanousd": 2_568_000,
        "billed_nanousd": 2_568_000,
        "billed_usd": "0.002568000",
        "estimated_nanousd": 320_000,
        "unrated_entries": 1,
        "cached_share": "0.6667",
        "cost_per_session_usd": "0.001284000",
        "cost_per_spoken_minute_usd": "0.088045714",
        "text_in": 0,
        "text_in_cached": 0,
        "audio_in": 10,
        "audio_in_cached": 20,
        "image_in": 0,
        "image_in_cached": 0,
        "text_out": 0,
        "audio_out": 35,
        "duration_ms": 0,
        "untold_in": 0,
        "untold_out": 0,
    }
    assert run(books.engine, query).as_json() == {
        "from": "2026-11-23T12:00:00Z",
        "to": "2026-11-23T13:00:00Z",
        "basis": "occurred",
        "group_by": ["tenant", "model"],
        "rows": [{"tenant": "acme", "model": MODEL} | amounts],
        "total": amounts,
    }


def test_without_entries_the_total_is_zero(books: Books) -> None:
    report = run(books.engine, CostQuery(["tenant", "hour"]))
    assert report.rows == [] and report.as_json()["from"] is None
    assert set(report.total.values()) == {0, "0.000000000", None}
    assert run(books.engine, CostQuery(["session"])).total == report.total
    assert run(books.engine, CostQuery()).total == report.total


def test_without_groups_there_is_only_a_total(books: Books) -> None:
    books.open("s1")
    books.bill("s1", "r1", {Meter.TEXT_IN: 1})
    report = run(books.engine, CostQuery())
    assert report.rows == [] and report.total["cost_nanousd"] == 4_000


def test_meters_sum_to_the_total_and_unrated_lines_to_none(books: Books) -> None:
    books.open("s1")
    books.bill("s1", "r1", {Meter.TEXT_IN: 10, Meter.TEXT_OUT: 1})
    books.bill("s1", "r2", {Meter.TEXT_IN: 10, Meter.UNTOLD_IN: 5})  # partly priced, so unrated
    books.bill("s1", "r3")
    report = run(books.engine, CostQuery(["meter"]))
    shown = [
        (row["meter"], row["cost_nanousd"], row["unrated_entries"], row["text_in"]) for row in report.rows
    ]
    assert shown == [
        ("text_in", 40_000, 1, 20),
        ("text_out", 24_000, 0, 0),
        ("untold_in", 0, 1, 0),
        (None, 0, 1, 0),
    ]
    assert (report.total["cost_nanousd"], report.total["unrated_entries"]) == (64_000, 2)


def test_huge_amounts_do_not_overflow(books: Books) -> None:
    books.open("s1")
    for number in range(3):
        books.bill("s1", f"r{number}", {Meter.TEXT_IN: 1})
    huge = 2**63 - 1
    with tampering(books.engine) as connection:
        connection.execute(update(ledger_entry).values(cost_nanousd=huge))
        connection.execute(update(ledger_line).values(cost_nanousd=huge))
        sum_anew(connection)
    for groups in (["tenant"], ["meter"], ["session"], ["meter", "session"]):
        (row,) = run(books.engine, CostQuery(groups)).rows
        assert row["cost_nanousd"] == 3 * huge
        assert row["cost_usd"] == "27670116110.564327421"


def test_a_corrected_entry_counts_once(books: Books) -> None:
    """A reversal takes away what the original added; of an unrated entry it takes away the mark."""
    books.open("s1")
    for number, role in enumerate(("original", "reversal", "replacement")):
        books.bill("s1", f"r{number}", {Meter.TEXT_IN: 1} if number == 2 else None)
        with tampering(books.engine) as connection:
            connection.execute(update(ledger_entry).where(ledger_entry.c.id == number + 1).values(role=role))
            sum_anew(connection)
    for groups in ([], ["status"], ["meter"], ["session", "modality"]):
        total = run(books.engine, CostQuery(groups)).total
        assert (total["responses"], total["unrated_entries"], total["cost_nanousd"]) == (1, 0, 4_000)


def test_days_are_those_of_the_asked_zone(books: Books) -> None:
    books.open("s1")
    books.bill("s1", "r1", {Meter.TEXT_IN: 1}, at=datetime(2026, 10, 24, 21, 59, tzinfo=UTC))
    books.bill("s1", "r2", {Meter.TEXT_IN: 2}, at=datetime(2026, 10, 24, 22, 1, tzinfo=UTC))
    books.bill("s1", "r3", {Meter.TEXT_IN: 3}, at=datetime(2026, 10, 25, 0, 30, tzinfo=UTC))
    books.bill("s1", "r4", {Meter.TEXT_IN: 4}, at=datetime(2026, 10, 25, 1, 30, tzinfo=UTC))
    books.bill("s1", "r5", {Meter.TEXT_IN: 5}, at=datetime(2026, 10, 31, 23, 30, tzinfo=UTC))

    def report(group: str, zone: ZoneInfo) -> list[tuple[object, object]]:
        rows = run(books.engine, CostQuery([group], zone=zone)).rows
        return [(row[group], row["text_in"]) for row in rows]

    assert report("day", BERLIN) == [("2026-10-24", 1), ("2026-10-25", 9), ("2026-11-01", 5)]
    assert report("month", BERLIN) == [("2026-10", 10), ("2026-11", 5)]
    assert report("month", ZoneInfo("UTC")) == [("2026-10", 15)]
    assert report("hour", BERLIN) == [
        ("2026-10-24T23:00+02:00", 1),
        ("2026-10-25T00:00+02:00", 2),
        ("2026-10-25T02:00+02:00", 3),
        ("2026-10-25T02:00+01:00", 4),
        ("2026-11-01T00:00+01:00", 5),
    ]


def test_too_many_rows_are_refused(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.store.reports.ROWS_MAX", 2)
    for number in range(3):
        books.open(f"s{number}")
        books.bill(f"s{number}", "r", {Meter.TEXT_IN: 1})
    with pytest.raises(StoreError, match="more than 2 rows"):
        run(books.engine, CostQuery(["session"]))
    assert run(books.engine, CostQuery(["tenant"])).total["sessions"] == 3


def test_every_grouping_agrees_with_a_fold_over_the_entries(books: Books) -> None:
    fill(books, random.Random(7))
    booked = list(entries(books.engine))
    values: dict[str, Any] = {
        "tenant": lambda entry: entry.tenant,
        "model": lambda entry: entry.model,
        "kind": lambda entry: entry.kind,
        "session": lambda entry: entry.session_id,
        "day": lambda entry: f"{entry.occurred_at.astimezone(BERLIN):%Y-%m-%d}",
    }
    for names in (["tenant"], ["model", "kind"], ["session", "day"], ["day"], ["tenant", "model", "day"]):
        report = run(books.engine, CostQuery(names, zone=BERLIN))
        found = {tuple(row[name] for name in names): row for row in report.rows}
        folded: dict[tuple[object, ...], list[Booked]] = {}
        for entry in booked:
            folded.setdefault(tuple(values[name](entry) for name in names), []).append(entry)
        assert found.keys() == folded.keys()
        for key, row in found.items():
            assert {name: row[name] for name in fold(folded[key])} == fold(folded[key])
        assert {name: report.total[name] for name in fold(booked)} == fold(booked)


def fill(books: Books, chance: random.Random) -> None:
    for number in range(6):
        books.open(f"s{number}", chance.choice(["acme", "globex"]))
    for number in range(40):
        counts = {meter: chance.randrange(1_000) for meter in chance.sample(list(Meter), 3)}
        books.bill(
            f"s{chance.randrange(6)}",
            f"r{number}",
            chance.choice([counts, counts, None]),
            model=chance.choice([MODEL, "gpt-realtime-mini", "gpt-4o-transcribe"]),
            kind=chance.choice([Kind.RESPONSE, Kind.TRANSCRIPTION]),
            at=NOW + timedelta(hours=chance.randrange(100)),
            estimated=chance.random() < 0.2,
        )


def fold(booked: list[Booked]) -> dict[str, int]:
    counted = {meter.value: 0 for meter in Meter}
    for entry in booked:
        for line in entry.lines:
            counted[line.meter] += line.quantity
    return counted | {
        "sessions": len({entry.session_id for entry in booked}),
        "responses": sum(entry.kind == "response" for entry in booked),
        "cost_nanousd": sum(entry.cost_nanousd or 0 for entry in booked),
        "estimated_nanousd": sum(entry.cost_nanousd or 0 for entry in booked if entry.estimated),
        "unrated_entries": sum(not entry.rated for entry in booked),
    }
