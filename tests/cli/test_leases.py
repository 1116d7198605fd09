"""`talkmeter lease`."""

import getpass
import socket
from datetime import UTC, datetime, timedelta

from sqlalchemy import insert

from proxy.store.database import writing
from proxy.store.schema import instance, lease
from tests.cli.conftest import Talkmeter
from tests.ledgers import Books


def test_what_a_dead_instance_holds_is_seen_and_freed(talkmeter: Talkmeter, books: Books) -> None:
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    held = {"budget_id": "bud_1", "subject": "", "starts_at": long_ago, "instance_id": "ins_1"}
    amounts = {"granted_nanousd": 7_000_000_000, "taken_nanousd": 2_000_000_000, "wanted": False}
    facts = {"id": "ins_1", "started_at": long_ago, "seen_at": long_ago, "journal_path": "", "version": "1"}
    with writing(books.engine) as connection:
        connection.execute(insert(instance).values(**facts))
        connection.execute(insert(lease).values(**held, **amounts))
    (shown,) = talkmeter("lease", "list", "--json").json
    assert (shown["instance_id"], shown["reserved_nanousd"]) == ("ins_1", 5_000_000_000)
    assert "bud_1" in talkmeter("lease", "list").out
    assert "the list of leases" in talkmeter.fails("lease", "write-off", "ins_9", "--reason", "gone")
    freed = talkmeter("lease", "write-off", "ins_1", "--reason", "its disk is gone", "--json").json
    assert freed["freed_nanousd"] == 5_000_000_000
    assert "ins_1 held is free" in talkmeter("lease", "write-off", "ins_1", "--reason", "again").out
    assert talkmeter("lease", "list", "--json").json == []
    (noted,) = talkmeter("audit", "list", "--json").json
    assert (noted["action"], noted["reason"]) == ("lease.write_off", "its disk is gone")
    assert noted["actor"] == f"cli:{getpass.getuser()}@{socket.gethostname()}"
    assert (noted["object"], noted["before"]) == ("ins_1", None)
    assert noted["after"] == {"freed_usd": "5.000000000"}


def test_a_write_off_wants_a_reason(talkmeter: Talkmeter) -> None:
    assert "Missing option '--reason'" in talkmeter.fails("lease", "write-off", "ins_1", code=2)
