"""Accounts of sessions, as the ledger has them: exact, with the prices of each entry's own cards."""

import pytest
from sqlalchemy import Engine

from proxy.core import session_account as core
from proxy.core.rating import Price
from proxy.core.records import Kind
from proxy.core.usage import Meter
from proxy.store import NotFound, StoreError
from proxy.store.audit import Act
from proxy.store.card_files import NewCard
from proxy.store.database import reading, writing
from proxy.store.filters import Filters
from proxy.store.markups import set_markup
from proxy.store.prices import import_cards, load_prices
from proxy.store.reports import CostQuery, run
from proxy.store.rerate import Rerating
from proxy.store.session_accounts import session_account
from tests.ledgers import ACT, MODEL, NOW, Books

FIRST = {Meter.TEXT_IN: 640, Meter.AUDIO_IN: 128, Meter.AUDIO_OUT: 50}
BROKEN = {Meter.TEXT_IN: 700, Meter.AUDIO_IN: 200}


@pytest.fixture
def books(database: Engine) -> Books:
    """Acme is billed by ten per cent more, and text input by a price of its own."""
    books = Books(database)
    acme = books.key("acme").tenant_id
    own = {Meter.TEXT_IN: Price(6_000), Meter.TEXT_IN_CACHED: Price(600)}
    with writing(database) as connection:
        set_markup(connection, "acme", 1_000, NOW, ACT)
        import_cards(connection, [NewCard("openai", MODEL, NOW, "a deal", own, owner=acme)], ACT)
    with reading(database) as connection:
        books.prices = load_prices(connection)
    books.open("s1", "acme")
    return books


def test_it_sums_to_what_the_ledger_says_of_the_session(books: Books) -> None:
    books.bill("s1", "r1", FIRST)
    books.bill("s1", "i1:0", {Meter.AUDIO_IN: 9}, kind=Kind.TRANSCRIPTION, estimated=True)
    books.bill("s1", "r2", BROKEN)
    books.bill("s1", "r3")
    ours, owed = (session_account(books.engine, "s1", is_billed=billed) for billed in (False, True))
    total = run(books.engine, CostQuery([], Filters(session="s1"))).total
    for one, name in ((ours, "cost_nanousd"), (owed, "billed_nanousd")):
        sums = core.sums(one.explained)
        assert sums.nanousd == sum(sums.parts.values()) == total[name]
        assert sums.unrated == 1
    assert core.sums(ours.explained).estimated_nanousd == total["estimated_nanousd"]
    assert [thing["subject_id"] for thing in ours.as_json()["things"]] == ["r1", "i1:0", "r2", "r3"]
    broke, billed = ours.explained[2].broke, owed.explained[2].broke
    assert broke is not None and billed is not None
    assert broke.tokens == billed.tokens == 640 + 128
    assert broke.extra_nanousd == 640 * (4_000 - 400) + 128 * (32_000 - 400)
    assert billed.extra_nanousd == 640 * (6_000 - 600) + 128 * (32_000 - 400) * 11 // 10


def test_a_rerated_entry_is_taken_back_and_explained_anew(books: Books) -> None:
    books.bill("s1", "r1", FIRST, model="gpt-next")
    prices = {meter: Price(1_000) for meter in FIRST}
    with writing(books.engine) as connection:
        import_cards(connection, [NewCard("openai", "gpt-next", NOW, "late", prices)], ACT)
    because = Act("cli:finance@desk", NOW, "the card came late")
    for _ in Rerating(Filters(), {}, NOW.tzinfo, because).run(books.engine):  # type: ignore[arg-type]
        pass
    told = session_account(books.engine, "s1").as_json()
    shown = [(one["role"], one["corrected"], one["amount_nanousd"]) for one in told["things"]]
    assert shown == [("original", True, None), ("reversal", False, None), ("replacement", False, 818_000)]
    assert told["things"][2]["growth"]["amount_nanousd"] == told["total"]["growth_nanousd"] == 768_000
    assert (told["total"]["unrated_entries"], told["total"]["growth_tokens"]) == (0, 768)


def test_what_is_refused(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    for id, within in (("s9", None), ("s1", frozenset({"another"}))):
        with pytest.raises(NotFound, match="There is no session"):
            session_account(books.engine, id, within)
    assert session_account(books.engine, "s1").as_json()["things"] == []
    monkeypatch.setattr("proxy.store.session_accounts.ENTRIES_MAX", 1)
    books.bill("s1", "r1", FIRST)
    session_account(books.engine, "s1")
    books.bill("s1", "r2", FIRST)
    with pytest.raises(StoreError, match="more than 1 entries: its sums are in a report"):
        session_account(books.engine, "s1")
