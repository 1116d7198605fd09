"""`talkmeter lease`."""

from tests.cli.conftest import Talkmeter
from tests.cli.test_instances import dead
from tests.ledgers import Books


def test_what_an_instance_holds_is_seen(talkmeter: Talkmeter, books: Books) -> None:
    dead(books)
    (shown,) = talkmeter("lease", "list", "--json").json
    assert (shown["instance_id"], shown["reserved_nanousd"]) == ("ins_1", 5_000_000_000)
    assert "bud_1" in talkmeter("lease", "list").out
    talkmeter("instance", "forget", "ins_1", "--reason", "its disk is gone", "--yes")
    assert talkmeter("lease", "list", "--json").json == []
