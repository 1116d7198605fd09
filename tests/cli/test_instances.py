"""`talkmeter instance`."""

import getpass
import socket
from datetime import UTC, datetime, timedelta

from sqlalchemy import insert

from proxy.store.database import writing
from proxy.store.schema import instance, lease
from tests.cli.conftest import Talkmeter
from tests.ledgers import Books


def dead(books: Books, name: str = "ins_1") -> None:
    """Let there be an instance that has died an hour ago, and holds $5 of a budget."""
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    held = {"budget_id": "bud_1", "subject": "", "starts_at": long_ago, "instance_id": name}
    amounts = {"granted_nanousd": 7_000_000_000, "taken_nanousd": 2_000_000_000, "wanted": False}
    facts = {"started_at": long_ago, "seen_at": long_ago, "journal_path": "/data/j.db", "version": "1"}
    with writing(books.engine) as connection:
        connection.execute(insert(instance).values(id=name, **facts))
        connection.execute(insert(lease).values(**held, **amounts))


def test_a_dead_instance_is_seen_and_forgotten(talkmeter: Talkmeter, books: Books) -> None:
    dead(books)
    (shown,) = talkmeter("instance", "list", "--json").json
    assert (shown["id"], shown["state"], shown["reserved_nanousd"]) == ("ins_1", "dead", 5_000_000_000)
    assert "dead" in talkmeter("instance", "list").out
    assert "the list of instances" in talkmeter.fails(
        "instance", "forget", "ins_9", "--reason", "gone", "--yes"
    )
    forgotten = talkmeter("instance", "forget", "ins_1", "--reason", "its disk is gone", "--yes").out
    assert "ins_1 is forgotten" in forgotten and "* $5.000000000 of budgets" in forgotten
    assert "all was in the ledger" in forgotten
    (shown,) = talkmeter("instance", "list", "--json").json
    assert (shown["state"], shown["reserved_nanousd"]) == ("forgotten", 0)
    (noted,) = talkmeter("audit", "list", "--json").json
    assert (noted["action"], noted["object"], noted["reason"]) == (
        "instance.forget",
        "ins_1",
        "its disk is gone",
    )
    assert noted["actor"] == f"cli:{getpass.getuser()}@{socket.gethostname()}"


def test_it_says_first_what_is_lost_and_asks(talkmeter: Talkmeter, books: Books) -> None:
    dead(books)
    words = ("instance", "forget", "ins_1", "--reason", "gone")
    refused = talkmeter.run(*words, given="n\n")
    assert refused.code == 1 and "nothing was changed" in refused.err
    assert "its journal was /data/j.db" in refused.out and "* $5.000000000 of budgets" in refused.out
    (shown,) = talkmeter("instance", "list", "--json").json
    assert shown["state"] == "dead"
    assert "ins_1 is forgotten" in talkmeter(*words, given="y\n").out


def test_programs_are_told_what_it_hides(talkmeter: Talkmeter, books: Books) -> None:
    dead(books)
    gone = talkmeter("instance", "forget", "ins_1", "--reason", "gone", "--json").json
    assert gone["reserved_nanousd"] == 5_000_000_000 and len(gone["may_hide"]) == 2


def test_it_wants_a_reason(talkmeter: Talkmeter) -> None:
    assert "Missing option '--reason'" in talkmeter.fails("instance", "forget", "ins_1", code=2)
