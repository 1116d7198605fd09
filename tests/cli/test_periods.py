"""`talkmeter period` and what its closing says."""

import pytest

from proxy.core.usage import Meter
from tests.cli.conftest import Talkmeter
from tests.closing import LATER
from tests.ledgers import NOW, Books


@pytest.fixture(autouse=True)
def _november(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """A month that is over, of two tenants; one entry has no price."""
    monkeypatch.setattr("proxy.cli.periods.now", lambda: LATER)
    monkeypatch.setattr("proxy.cli.output.now", lambda: LATER)
    for session, tenant in (("s1", "acme"), ("s2", "globex")):
        books.open(session, tenant, "web")
        books.bill(session, f"{session}-r1", {Meter.TEXT_IN: 10}, at=NOW)
        books.close(session)
    books.bill("s1", "r2", {Meter.TEXT_IN: 3}, model="gpt-realtime-9")


def test_a_month_is_shown_closed_and_stated(talkmeter: Talkmeter) -> None:
    (month,) = talkmeter("period", "list", "--json").json
    assert (month["period"], month["state"], month["entries"], month["unrated_entries"]) == (
        "2026-11",
        "over",
        3,
        1,
    )
    shown = talkmeter.run("period", "show", "2026-11", "--json")
    assert (shown.code, shown.json["can_be_closed"]) == (1, False)
    assert [one["name"] for one in shown.json["obstacles"]] == ["unrated"]
    assert "entry 3: gpt-realtime-9" in talkmeter.run("period", "show", "2026-11").out
    assert "or override unrated, with a reason" in talkmeter.fails("period", "close", "2026-11")
    ran = talkmeter("period", "close", "2026-11", "--override", "unrated=no price was published")
    assert ran.out.startswith("2026-11 is closed, in UTC. Statements: 2.\n3:")
    assert "Overridden: unrated, 1 (no price was published)." in ran.err and "Keep this digest" in ran.err
    digest = ran.out.splitlines()[1]
    assert talkmeter("ledger", "verify", "--digest", digest).out.startswith("3 entries add up.")
    (month,) = talkmeter("period", "list", "--json").json
    assert (month["state"], month["statements"], month["digest"]) == ("closed", 2, digest)
    assert "closed" in talkmeter("period", "list").out
    assert "period.close" in talkmeter("audit", "list").out


def test_what_comes_later_is_marked_as_a_correction(talkmeter: Talkmeter, books: Books) -> None:
    talkmeter("period", "close", "2026-11", "--override", "unrated=a test")
    books.bill("s1", "late", {Meter.TEXT_IN: 4}, at=NOW)
    assert "correction of 2026-11" in talkmeter("ledger", "list").out
    assert talkmeter("report", "--period", "2026-12", "--json").json["total"]["responses"] == 1
    assert talkmeter("ledger", "verify").out.startswith("4 entries add up.")


def test_another_time_zone_is_refused_once_a_month_is_closed(
    talkmeter: Talkmeter, monkeypatch: pytest.MonkeyPatch
) -> None:
    talkmeter("period", "close", "2026-11", "--override", "unrated=a test")
    monkeypatch.setenv("TALKMETER_PERIOD_TIMEZONE", "Asia/Tokyo")
    assert "set TALKMETER_PERIOD_TIMEZONE=UTC" in talkmeter.run("check").out


def test_mistakes_are_told(talkmeter: Talkmeter) -> None:
    assert "is no month" in talkmeter.fails("period", "close", "november", code=2)
    assert "WHAT=REASON" in talkmeter.fails("period", "close", "2026-11", "--override", "unrated", code=2)
    assert "can be overridden" in talkmeter.fails("period", "close", "2026-11", "--override", "all=x")
    assert "not over before 2027-04-01" in talkmeter.fails("period", "show", "2027-03")
    assert "nothing in or before 2026-10" in talkmeter.fails("period", "close", "2026-10")
