"""`talkmeter ledger`."""

import json

import pytest
from sqlalchemy import update

from proxy.core.usage import Meter
from proxy.store.schema import ledger_entry
from tests.cli.conftest import Talkmeter
from tests.ledgers import Books
from tests.tampering import tampering

FIELDS = """
id occurred_at tenant project api_key_id session_id upstream_session_id model kind role subject_id
status status_reason rated estimated flags period cost_nanousd billed_nanousd list_nanousd public_card_id
agreed_card_id markup_bp corrects corrects_period archive lines
"""
LINE_FIELDS = """
meter quantity unit price_nanousd price_per cost_nanousd rate_card_id list_nanousd billed_nanousd
"""


@pytest.fixture
def booked(books: Books) -> Books:
    books.open("s1", "acme", "web")
    books.bill("s1", "r1", {Meter.TEXT_IN: 10})
    books.bill("s1", "r2", {Meter.TEXT_IN: 10}, model="bad\x1b[2Jmodel", estimated=True)
    books.open("s2", "globex")
    books.bill("s2", "r3", {Meter.TEXT_IN: 1})
    return books


def test_json_gives_an_object_a_line_with_the_promised_fields(talkmeter: Talkmeter, booked: Books) -> None:
    entries = [json.loads(line) for line in talkmeter("ledger", "list", "--json").out.splitlines()]
    assert [entry["subject_id"] for entry in entries] == ["r1", "r2", "r3"]
    for entry in entries:
        assert list(entry) == FIELDS.split()
        assert [list(line) for line in entry["lines"]] == [LINE_FIELDS.split()]
    assert (entries[0]["cost_nanousd"], entries[0]["rated"]) == (40_000, True)
    assert (entries[1]["cost_nanousd"], entries[1]["rated"]) == (None, False)


def test_filters(talkmeter: Talkmeter, booked: Books) -> None:
    def subjects(*words: str) -> list[str]:
        lines = talkmeter("ledger", "list", "--json", *words).out.splitlines()
        return [json.loads(line)["subject_id"] for line in lines]

    assert subjects("--tenant", "acme", "--project", "web") == ["r1", "r2"]
    assert subjects("--session", "s2") == ["r3"]
    assert subjects("--unrated") == ["r2"]
    assert subjects("--after", "2") == ["r3"]
    assert subjects("--from", "2026-11-23", "--to", "2026-11-24") == ["r1", "r2", "r3"]
    assert subjects("--to", "2026-11-23") == []
    assert subjects("--key", booked.key("globex").id, "--model", "gpt-realtime-2.1") == ["r3"]


def test_the_table_shows_the_newest(talkmeter: Talkmeter, booked: Books) -> None:
    ran = talkmeter("ledger", "list", "--limit", "2")
    assert "r1" not in ran.out and "r3" in ran.out
    assert "unrated" in ran.out and "estimated" in ran.out and "0.000004000" in ran.out
    assert "\x1b" not in ran.out and "bad\ufffd[2Jmodel" in ran.out
    assert "newest 2" in ran.err
    assert talkmeter("ledger", "list").err == ""


def test_verifying(talkmeter: Talkmeter, booked: Books) -> None:
    ran = talkmeter("ledger", "verify")
    words, digest = ran.out.splitlines()
    assert words == "3 entries add up." and digest.startswith("3:")
    assert "Keep this digest elsewhere" in ran.err and "cut off" in ran.err
    told: dict[str, object] = {"ok": True, "entries": 3, "fault": None, "digest": digest, "archived": []}
    assert talkmeter("ledger", "verify", "--json").json == told
    compared = talkmeter("ledger", "verify", "--digest", digest)
    assert compared.out == ran.out and "Nothing was changed" in compared.err
    other = f"2:{'0' * 64}"
    assert f"does not begin with what {other}" in talkmeter.fails("ledger", "verify", "--digest", other)
    with tampering(booked.engine) as connection:
        connection.execute(update(ledger_entry).where(ledger_entry.c.id == 3).values(cost_nanousd=0))
    ran = talkmeter.run("ledger", "verify", "--json")
    assert (
        ran.code == 1
        and ran.json["entries"] == 2
        and ran.json["fault"].startswith("entry 3: cost_nanousd is 0")
    )
    assert "error: entry 3: cost_nanousd is 0" in talkmeter.fails("ledger", "verify")


def test_mistakes_are_told(talkmeter: Talkmeter) -> None:
    assert "no tenant 'none'" in talkmeter.fails("ledger", "list", "--tenant", "none")
    for digest in ("", "3", "3:abc", "-1:" + "0" * 64, "03:" + "0" * 64, "3:" + "G" * 64):
        said = talkmeter.fails("ledger", "verify", "--digest", digest, code=2)
        assert "--digest" in said and "talkmeter ledger verify" in " ".join(said.split())
    assert "no tenant 'none'" in talkmeter.fails("ledger", "list", "--tenant", "none", "--json")
    assert "'soon' is not a time" in talkmeter.fails("ledger", "list", "--from", "soon", code=2)


def test_what_cannot_be_meant_is_said(talkmeter: Talkmeter) -> None:
    assert "--limit" in talkmeter.fails("ledger", "list", "--limit", "9" * 30, code=2)
    assert "--after" in talkmeter.fails("ledger", "list", "--json", "--after", "9" * 30, code=2)
    words = ("ledger", "list", "--from", "2026-12-02", "--to", "2026-12-01")
    assert "--to" in talkmeter.fails(*words, code=2)
