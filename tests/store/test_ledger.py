"""Entries as people and programs see them."""

from typing import Any

import pytest
from sqlalchemy import Engine, delete, event

from proxy.core.usage import Meter
from proxy.store import NotFound
from proxy.store.database import open_database, reading, writing
from proxy.store.filters import Filters
from proxy.store.ledger import PAGE_ENTRIES, entries, newest, page_of_entries, session_turns, windows
from proxy.store.prices import load_cards
from proxy.store.schema import api_key, project, tenant
from tests.ledgers import MODEL, NOW, Books


@pytest.fixture
def books(database: Engine) -> Books:
    return Books(database)


def test_an_entry_shows_everything_that_was_booked(books: Books) -> None:
    books.open("s1", "acme", "web")
    books.bill(
        "s1",
        "resp_1",
        {Meter.AUDIO_IN: 10, Meter.AUDIO_IN_CACHED: 4, Meter.TEXT_OUT: 5},
        estimated=True,
        flags=("upstream_lost",),
        status="estimated",
    )
    with reading(books.engine) as connection:
        (card,) = [card for card in load_cards(connection) if card.model == MODEL]
    (entry,) = entries(books.engine)

    def line(meter: str, quantity: int, price: int) -> dict[str, object]:
        return {
            "meter": meter,
            "quantity": quantity,
            "unit": "token",
            "price_nanousd": price,
            "price_per": 1,
            "cost_nanousd": quantity * price,
            "rate_card_id": card.id,
            "list_nanousd": quantity * price,
            "billed_nanousd": quantity * price,
        }

    assert entry.as_json() == {
        "id": 1,
        "occurred_at": "2026-11-23T12:00:00Z",
        "tenant": "acme",
        "project": "web",
        "api_key_id": books.key("acme", "web").id,
        "session_id": "s1",
        "upstream_session_id": "sess_s1",
        "model": MODEL,
        "kind": "response",
        "role": "original",
        "subject_id": "resp_1",
        "status": "estimated",
        "status_reason": None,
        "rated": True,
        "estimated": True,
        "flags": ["upstream_lost"],
        "period": "2026-11",
        "cost_nanousd": 441_600,
        "billed_nanousd": 441_600,
        "list_nanousd": 441_600,
        "public_card_id": None,
        "agreed_card_id": None,
        "markup_bp": None,
        "corrects": None,
        "corrects_period": None,
        "archive": None,
        "lines": [line("audio_in", 10, 32_000), line("audio_in_cached", 4, 400), line("text_out", 5, 24_000)],
    }


def test_an_unrated_entry_has_no_cost_rather_than_none_to_pay(books: Books) -> None:
    books.open("s1")
    books.bill("s1", "r1", {Meter.TEXT_IN: 7}, model="unheard-of")
    books.bill("s1", "r2")
    books.bill("s1", "r3", {})
    unknown, missing, nothing = (entry.as_json() for entry in entries(books.engine))
    assert (unknown["rated"], unknown["cost_nanousd"], unknown["billed_nanousd"]) == (False, None, None)
    assert unknown["lines"][0]["quantity"] == 7 and unknown["lines"][0]["cost_nanousd"] is None
    assert (missing["rated"], missing["cost_nanousd"], missing["lines"]) == (False, None, [])
    assert (nothing["rated"], nothing["cost_nanousd"], nothing["lines"]) == (True, 0, [])


def test_what_has_lost_its_name_keeps_its_cost(books: Books) -> None:
    books.open("s1", "acme", "web")
    books.bill("s1", "r1", {Meter.TEXT_IN: 1})
    owner = books.key("acme", "web")
    with writing(books.engine) as connection:  # such as after restoring yesterday's backup
        for table in (api_key, project, tenant):
            connection.execute(delete(table))
    (entry,) = entries(books.engine)
    assert (entry.tenant, entry.project) == (owner.tenant_id, owner.project_id)


def test_long_lists_come_in_pages(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.store.ledger.PAGE_ENTRIES", 2)
    monkeypatch.setattr("proxy.store.ledger.WINDOW_IDS", 3)
    books.open("s1")
    for number in range(10):
        books.bill("s1", f"r{number}", {Meter.TEXT_IN: number + 1, Meter.TEXT_OUT: 1})
    read = list(entries(books.engine))
    assert [entry.id for entry in read] == list(range(1, 11))
    assert [entry.lines[0].quantity for entry in read] == list(range(1, 11))
    assert [entry.id for entry in entries(books.engine, after=7)] == [8, 9, 10]
    assert [entry.id for entry in newest(books.engine, limit=4)] == [7, 8, 9, 10]
    assert [entry.id for entry in newest(books.engine, Filters(session="none"))] == []
    assert PAGE_ENTRIES >= 100


def test_windows_tell_how_far_they_are_and_go_to_what_was_there_at_their_start(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.store.ledger.WINDOW_IDS", 2)
    for number, session in enumerate(("s1", "s2", "s2", "s2", "s1", "s2")):
        books.open(session, {"s1": "acme", "s2": "globex"}[session])
        books.bill(session, f"r{number}", {Meter.TEXT_IN: 1})

    def seen(filters: Filters) -> list[tuple[list[int], int, int]]:
        found = windows(books.engine, filters)
        return [([one.id for one in window.entries], window.done, window.total) for window in found]

    assert seen(Filters(tenant="globex")) == [([2, 3], 2, 5), ([4], 4, 5), ([6], 5, 5)]
    assert seen(Filters(tenant="acme", model="none")) == []
    reading_on = windows(books.engine, Filters(tenant="acme"))
    assert [one.id for one in next(reading_on).entries] == [1]
    books.bill("s1", "later", {Meter.TEXT_IN: 1})
    assert [one.id for window in reading_on for one in window.entries] == [5]
    with pytest.raises(NotFound):
        list(windows(books.engine, Filters(tenant="nobody")))


def test_a_page_goes_from_one_that_is_meant_to_the_next(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.store.ledger.WINDOW_IDS", 2)
    for number, session in enumerate(("s1", "s2", "s2", "s2", "s1", "s1", "s2", "s1")):
        books.open(session, {"s1": "acme", "s2": "globex"}[session])
        books.bill(session, f"r{number}", {Meter.TEXT_IN: 1})
    acme = Filters(tenant="acme")
    with reading(books.engine) as connection:

        def ids(filters: Filters, after: int, limit: int) -> list[int]:
            return [one.id for one in page_of_entries(connection, filters, after=after, limit=limit)]

        assert [ids(acme, after, 2) for after in (0, 5, 6, 8)] == [[1, 5], [6, 8], [8], []]
        assert ids(acme, 0, 100) == [1, 5, 6, 8] and ids(acme, 0, 1) == [1]
        assert ids(Filters(), 2, 5) == [3, 4, 5, 6, 7]
        assert ids(acme, 2**63 - 1, 5) == ids(Filters(model="none"), 0, 5) == []

        def back(filters: Filters, after: int | None, limit: int) -> list[int]:
            found = page_of_entries(connection, filters, after=after, limit=limit, newest_first=True)
            return [one.id for one in found]

        assert [back(acme, after, 2) for after in (None, 6, 2, 1)] == [[8, 6], [5, 1], [1], []]
        assert back(acme, None, 100) == [8, 6, 5, 1] and back(acme, 2**63 - 1, 1) == [8]
        assert back(Filters(), 7, 5) == [6, 5, 4, 3, 2]
        assert back(Filters(model="none"), None, 5) == []


@pytest.mark.parametrize("filters", [Filters(), Filters(tenant="acme"), Filters(period="2026-11")], ids=str)
def test_a_window_reads_its_own_ids_only(sqlite_url: str, filters: Filters) -> None:
    """Not all that a tenant or a period has, which is what their indexes would make of it."""
    engine = open_database(sqlite_url, checkpoints=True)
    books = Books(engine)
    books.open("s1", "acme")
    books.bill("s1", "r1", {Meter.TEXT_IN: 1})
    ran: list[tuple[str, Any]] = []
    event.listen(engine, "before_cursor_execute", lambda *given: ran.append(given[2:4]))
    assert len(list(windows(engine, filters))) == 1
    of_window = [one for one in ran if "BETWEEN" in one[0]]
    with reading(engine) as connection:
        (plan,) = (
            list(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", given)) for sql, given in of_window
        )
    engine.dispose()
    assert plan[0].detail == "SEARCH ledger_entry USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"
    assert not [step for step in plan if "TEMP B-TREE" in step.detail]


def test_a_session_turn_by_turn(books: Books) -> None:
    books.open("s1")
    books.open("s2")
    books.bill("s1", "late", {Meter.TEXT_IN: 1}, at=NOW.replace(hour=14))
    books.bill("s2", "other", {Meter.TEXT_IN: 1})
    books.bill("s1", "early", {Meter.TEXT_IN: 1}, at=NOW.replace(hour=13))
    assert [turn.subject_id for turn in session_turns(books.engine, "s1")] == ["early", "late"]
    assert session_turns(books.engine, "s3") == []
