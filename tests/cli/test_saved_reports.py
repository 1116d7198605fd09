"""`talkmeter report save`, `saved`, `run`, `rename` and `forget`."""

from datetime import UTC, datetime, timedelta

import pytest

from proxy.core.usage import Meter
from tests.cli.conftest import Talkmeter
from tests.ledgers import Books
from tests.scheduling import EMBEDDED


@pytest.fixture
def spent(books: Books) -> Books:
    """Something yesterday, of two tenants."""
    for session, tenant in (("s1", "acme"), ("s2", "globex")):
        books.open(session, tenant, "web")
        at = datetime.now(UTC) - timedelta(days=1)
        books.bill(session, f"{session}-r", {Meter.TEXT_OUT: 1_000}, at=at)
    return books


def test_a_report_is_saved_and_run(talkmeter: Talkmeter, spent: Books) -> None:
    words = ("--span", "last-day", "--group-by", "model", "--tz", "UTC", "--project", "web")
    made = talkmeter("report", "save", "costs", *words, "--tenant", "acme", "--json").json
    assert (made["tenant"], made["span"], made["query"]["filters"]) == (
        "acme",
        "last-day",
        {"project": "web"},
    )
    told = talkmeter("report", "run", "costs", "--json").json
    assert told["total"]["responses"] == 1 and told["group_by"] == ["model"]
    assert "gpt-realtime" in talkmeter("report", "run", made["id"]).out
    assert talkmeter("report", "run", "costs", "--tenant", "acme", "--format", "csv").out.startswith("model,")
    listed = talkmeter("report", "saved").out
    assert "last-day" in listed and "project=web" in listed
    assert talkmeter("report", "saved", "--tenant", "globex", "--json").json == []
    assert "is its name now" in talkmeter("report", "rename", "costs", "daily").out
    assert "is forgotten" in talkmeter("report", "forget", "daily", "--reason", "not needed").out
    noted = talkmeter("audit", "list", "--json").json
    assert [one["action"] for one in noted][-3:] == ["report.save", "report.save", "report.forget"]
    assert noted[-1]["reason"] == "not needed" and noted[-1]["before"]["name"] == "daily"


@EMBEDDED
def test_the_report_itself_is_as_it_was(talkmeter: Talkmeter, spent: Books) -> None:
    assert talkmeter("report", "--json", "--group-by", "tenant").json["total"]["responses"] == 2
    assert "save" in talkmeter("report", "--help").out


@EMBEDDED
def test_what_is_refused(talkmeter: Talkmeter) -> None:
    assert "no span" in talkmeter.fails("report", "save", "x", "--span", "last-year")
    assert "nothing to group by" in talkmeter.fails("report", "save", "x", "--group-by", "zodiac", code=2)
    assert "no tenant 'none'" in talkmeter.fails("report", "save", "x", "--tenant", "none")
    assert "not a time zone" in talkmeter.fails("report", "save", "x", "--tz", "Mars", code=2)
    assert "stand behind `report saved`" in talkmeter.fails("report", "--tenant", "acme", "saved", code=2)
    for command in ("run", "forget"):
        assert "no saved report 'x'" in talkmeter.fails("report", command, "x")
