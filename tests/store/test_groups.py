"""What reports can be grouped by."""

import pytest
from sqlalchemy import Engine, delete

from proxy.core.records import Kind
from proxy.core.usage import Meter
from proxy.store import StoreError
from proxy.store.database import writing
from proxy.store.groups import GROUPS, GROUPS_MAX, check_groups
from proxy.store.reports import CostQuery, run
from proxy.store.schema import end_user
from tests.ledgers import MODEL, NOW, Books


@pytest.fixture
def books(database: Engine) -> Books:
    books = Books(database)
    books.open("s1", "acme", "web", end_user="bob", tags={"team": "a", 'od"d.$name': "x"})
    books.open("s2", "globex", "web", end_user="bob", tags={"team": "b"})
    books.open("s3", "globex")
    for session_id in ("s1", "s2", "s3"):
        books.bill(
            session_id, "r1", {Meter.TEXT_IN: 10}, status="cancelled" if session_id == "s3" else "completed"
        )
    books.bill("s1", "item:0", {Meter.DURATION_MS: 60_000}, model="whisper-1", kind=Kind.TRANSCRIPTION)
    return books


def groups(books: Books, *names: str) -> list[tuple[object, ...]]:
    """Return the group columns of a report and its cost, row by row."""
    report = run(books.engine, CostQuery(group_by=names))
    return [tuple(row[name] for name in (*names, "cost_nanousd")) for row in report.rows]


def test_by_who_pays(books: Books) -> None:
    assert groups(books, "tenant") == [("acme", 6_040_000), ("globex", 80_000)]
    assert groups(books, "key") == sorted(
        [
            (books.key("acme", "web").id, 6_040_000),
            (books.key("globex", "web").id, 40_000),
            (books.key("globex").id, 40_000),
        ]
    )


def test_projects_and_users_of_one_name_stay_apart(books: Books) -> None:
    rows = run(books.engine, CostQuery(group_by=["project"])).rows
    expected = {
        ("web", books.key("acme", "web").project_id, 6_040_000),
        ("web", books.key("globex", "web").project_id, 40_000),
        (None, None, 40_000),
    }
    assert {(row["project"], row["project_id"], row["cost_nanousd"]) for row in rows} == expected
    assert rows[-1]["project"] is None
    users = groups(books, "end_user")
    assert sorted(users, key=str) == [("bob", 40_000), ("bob", 6_040_000), (None, 40_000)]


def test_an_erased_user_keeps_a_row(books: Books) -> None:
    with writing(books.engine) as connection:
        connection.execute(delete(end_user))
    first, *_ = run(books.engine, CostQuery(group_by=["end_user"])).rows
    assert first["end_user"] == first["end_user_id"] is not None


def test_by_what_it_was(books: Books) -> None:
    assert groups(books, "model") == [(MODEL, 120_000), ("whisper-1", 6_000_000)]
    assert groups(books, "kind") == [("response", 120_000), ("transcription", 6_000_000)]
    assert groups(books, "status") == [("cancelled", 40_000), ("completed", 6_080_000)]
    assert groups(books, "session") == [("s1", 6_040_000), ("s2", 40_000), ("s3", 40_000)]
    assert groups(books, "meter") == [("duration_ms", 6_000_000), ("text_in", 120_000)]


def test_by_tag(books: Books) -> None:
    assert groups(books, "tag:team") == [("a", 6_040_000), ("b", 40_000), (None, 40_000)]
    assert groups(books, 'tag:od"d.$name') == [("x", 6_040_000), (None, 80_000)]
    assert groups(books, "tag:none") == [(None, 6_120_000)]


def test_by_time(books: Books) -> None:
    books.bill("s1", "later", {Meter.TEXT_IN: 1}, at=NOW.replace(month=12))
    assert groups(books, "month") == [("2026-11", 6_120_000), ("2026-12", 4_000)]
    assert groups(books, "day") == [("2026-11-23", 6_120_000), ("2026-12-23", 4_000)]
    assert groups(books, "hour") == [("2026-11-23T12:00+00:00", 6_120_000), ("2026-12-23T12:00+00:00", 4_000)]


def test_by_several(books: Books) -> None:
    assert groups(books, "tenant", "day", "tag:team", "model") == [
        ("acme", "2026-11-23", "a", MODEL, 40_000),
        ("acme", "2026-11-23", "a", "whisper-1", 6_000_000),
        ("globex", "2026-11-23", "b", MODEL, 40_000),
        ("globex", "2026-11-23", None, MODEL, 40_000),
    ]


@pytest.mark.parametrize("names", [["colour"], ["tag:"], ["model", "model"], [*GROUPS][: GROUPS_MAX + 1]])
def test_groups_that_cannot_be(names: list[str]) -> None:
    with pytest.raises(StoreError, match=r"use tenant, project|each once"):
        check_groups(names)


def test_many_names_are_looked_up_in_parts(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.store.groups._IDS_PER_QUERY", 1)
    assert groups(books, "tenant") == [("acme", 6_040_000), ("globex", 80_000)]
