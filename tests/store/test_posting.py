"""One posting transaction, on both databases: each thing once, numbered in order, whole or not at all."""

from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, Table, select, update
from sqlalchemy.exc import DBAPIError

from proxy.core.rating import Line
from proxy.core.records import Kind, Record
from proxy.core.usage import Meter
from proxy.store.database import reading, writing
from proxy.store.posting import Posting, Unpostable, post
from proxy.store.schema import (
    chain_head,
    end_user,
    entry_conflict,
    journal_checkpoint,
    ledger_entry,
    ledger_line,
    session,
)
from tests.store import made

NOW = datetime(2026, 12, 1, 0, 0, 1, tzinfo=UTC)


def book(database: Engine, *records: Record, upto: int = 1, zone: tzinfo = UTC) -> Posting:
    with writing(database) as connection:
        return post(connection, records, instance_id="i_1", upto=upto, zone=zone, now=NOW)


def rows(database: Engine, table: Table) -> Sequence[Any]:
    with reading(database) as connection:
        return connection.execute(select(table).order_by(*table.primary_key.columns)).all()


def test_an_entry_says_who_pays_for_what_and_when(database: Engine) -> None:
    facts: dict[str, Any] = {
        "project_id": "p_1",
        "tags": {"team": "a"},
        "account": "org-1",
        "end_user": "Zoë",
    }
    entry = made.entry(
        "r1", 10, status="incomplete", status_reason="max_output_tokens", flags=("details_missing",)
    )
    posting = book(database, made.opened(**facts), entry)
    assert [(one.id, one.tenant_id, one.entry) for one in posting.new] == [(1, "t_1", entry)]
    (user,) = rows(database, end_user)
    assert (user.tenant_id, user.name) == ("t_1", "Zoë")
    (booked,) = rows(database, ledger_entry)
    assert booked._asdict() == {
        "id": 1,
        "entry_key": "openai/sess_s_1/r1/response/0/original",
        "digest": entry.digest,
        "session_id": "s_1",
        "tenant_id": "t_1",
        "project_id": "p_1",
        "api_key_id": "k_1",
        "end_user_id": user.id,
        "tags": {"team": "a"},
        "provider": "openai",
        "account": "org-1",
        "upstream_session_id": "sess_s_1",
        "model": "gpt-realtime",
        "kind": "response",
        "role": "original",
        "subject_id": "r1",
        "revision": 0,
        "status": "incomplete",
        "status_reason": "max_output_tokens",
        "estimated": False,
        "flags": ["details_missing"],
        "occurred_at": made.AT,
        "posted_at": NOW,
        "period": "2026-11",
        "list_nanousd": 480_000,
        "cost_nanousd": 480_000,
        "billed_nanousd": 480_000,
        "charge_nanousd": None,
        "estimate_nanousd": None,
        "held_nanousd": None,
        "corrects": None,
        "public_card_id": None,
        "agreed_card_id": None,
        "markup_bp": None,
    }
    assert [tuple(line) for line in rows(database, ledger_line)] == [
        (1, "audio_in", 10, "token", 32_000, 1, 320_000, 320_000, 320_000, "rc_1"),
        (1, "text_out", 10, "token", 16_000, 1, 160_000, 160_000, 160_000, "rc_1"),
    ]


def test_a_session_from_its_opening_to_its_end(database: Engine) -> None:
    book(database, made.opened(model=None), made.bound(), made.bound(upstream_session_id=None, model="gpt-2"))
    book(database, made.closed(close_code=1008, reason="budget"))
    book(database, made.closed(close_code=None, reason="crash"))  # the first end stands
    (found,) = rows(database, session)
    assert (found.model, found.upstream_session_id, found.instance_id) == ("gpt-2", "sess_1", "i_1")
    assert (found.close_code, found.reason) == (1008, "budget")
    assert found.closed_at == made.closed().closed_at


def test_a_known_key_is_not_booked_again(database: Engine) -> None:
    book(database, made.opened(), made.entry("r1"))
    again = book(database, made.opened(), made.entry("r1"), made.entry("r2"), made.entry("r2"))
    assert (len(again.new), again.duplicates, again.conflicts) == (1, 2, 0)
    assert [row.id for row in rows(database, ledger_entry)] == [1, 2]
    assert [row.entries for row in rows(database, chain_head)] == [2]
    assert len(rows(database, ledger_line)) == 4


def test_the_same_key_with_another_payload_is_an_alarm(database: Engine) -> None:
    """Also within one batch, and listed once however often it comes."""
    other = made.entry("r1", 99)
    posting = book(database, made.opened(), made.entry("r1", 10), other)
    assert (len(posting.new), posting.conflicts) == (1, 1)
    assert book(database, other).conflicts == 1
    (alarm,) = rows(database, entry_conflict)
    assert (alarm.entry_key, alarm.digest) == (other.entry_key, other.digest)
    assert '"quantity":99' in alarm.payload
    assert rows(database, ledger_entry)[0].cost_nanousd == made.cost(10)


def test_unrated_has_no_amounts_but_its_quantities(database: Engine) -> None:
    counted = (Line(meter=Meter.UNTOLD_IN, quantity=7), *made.lines(1))
    book(database, made.opened(), made.entry("r1", lines=counted, cost_nanousd=None))
    (found,) = rows(database, ledger_entry)
    assert (found.list_nanousd, found.cost_nanousd, found.billed_nanousd) == (None, None, None)
    assert {line.meter: line.quantity for line in rows(database, ledger_line)}["untold_in"] == 7


def test_nothing_used_costs_nothing(database: Engine) -> None:
    book(database, made.opened(), made.entry("r1", lines=(), cost_nanousd=0))
    assert rows(database, ledger_entry)[0].billed_nanousd == 0


def test_the_three_amounts_are_summed_apart(database: Engine) -> None:
    line = made.lines(1)[0]
    dear = Line(
        meter=Meter.DURATION_MS,
        quantity=1_000,
        price_nanousd=6,
        price_per=60_000,
        list_nanousd=5,
        cost_nanousd=4,
        billed_nanousd=9,
        rate_card_id="rc_2",
    )
    book(database, made.opened(), made.entry("r1", lines=(line, dear), cost_nanousd=32_004))
    (found,) = rows(database, ledger_entry)
    assert (found.list_nanousd, found.cost_nanousd, found.billed_nanousd) == (32_005, 32_004, 32_009)
    assert [row.unit for row in rows(database, ledger_line)] == ["token", "ms"]


def test_the_period_is_a_month_where_the_books_are_kept(database: Engine) -> None:
    """In the zone of the setting, until a first close has fixed another; and never a closed one."""
    book(database, made.opened(), made.entry("r1"), zone=ZoneInfo("Europe/Berlin"))
    with writing(database) as connection:
        connection.execute(update(chain_head).values(period_zone="America/Los_Angeles"))
    book(database, made.entry("r2"), zone=ZoneInfo("Europe/Berlin"))
    with writing(database) as connection:
        connection.execute(update(chain_head).values(closed_through="2027-01"))
    book(database, made.entry("r3"), zone=ZoneInfo("Europe/Berlin"))
    assert [row.period for row in rows(database, ledger_entry)] == ["2026-12", "2026-11", "2027-02"]


def test_a_user_is_one_surrogate_per_tenant(database: Engine) -> None:
    book(
        database,
        made.opened("s_1", end_user="ann"),
        made.opened("s_2", end_user="ann"),
        made.opened("s_3", end_user="ann", tenant_id="t_2"),
    )
    book(database, made.opened("s_4", end_user="ann"), made.opened("s_5", end_user=None))
    assert len(rows(database, end_user)) == 2
    first, second, third, fourth, fifth = (row.end_user_id for row in rows(database, session))
    assert (first == second == fourth, first == third, fifth) == (True, False, None)


def test_what_a_database_cannot_store_is_stored_nearly(database: Engine) -> None:
    """NUL would stop PostgreSQL; a key with one is still recognised."""
    odd = made.entry("r\0", status_reason="a\0b")
    book(database, made.opened(end_user="x\0", tags={"a\0": "b"}), odd)
    assert book(database, odd).duplicates == 1
    assert rows(database, ledger_entry)[0].status_reason == "a\ufffdb"


def test_the_checkpoint_never_goes_back(database: Engine) -> None:
    for upto in (5, 9, 3):
        book(database, made.opened(), upto=upto)
    assert [(row.instance_id, row.seq) for row in rows(database, journal_checkpoint)] == [("i_1", 9)]


def test_an_entry_of_an_unknown_session_is_refused(database: Engine) -> None:
    with pytest.raises(Unpostable, match="s_9"):
        book(database, made.opened(), made.entry("r1", session_id="s_9"))
    assert rows(database, session) == [], "nothing of the transaction stands"


def test_an_amount_beyond_the_column_is_refused_whole(database: Engine) -> None:
    big = made.entry("r2", 2**50)
    with pytest.raises((DBAPIError, OverflowError)):
        book(database, made.opened(), made.entry("r1"), big)
    assert rows(database, ledger_entry) == []


def test_a_transcription_has_a_key_of_its_own(database: Engine) -> None:
    entries = [made.entry(f"item:{n}", kind=Kind.TRANSCRIPTION) for n in range(2)]
    assert len(book(database, made.opened(), *entries, made.entry("item:0")).new) == 3
