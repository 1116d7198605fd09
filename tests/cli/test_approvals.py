"""`talkmeter approval`, and what asks for one: the command line can ask, and not decide."""

import pytest

from proxy.core.usage import Meter
from tests.cli.conftest import Talkmeter
from tests.closing import LATER
from tests.ledgers import Books

CREDIT = ("ledger", "credit", "--tenant", "acme", "--reason", "outage 7", "--key", "k1")


@pytest.fixture(autouse=True)
def _four_eyes(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.cli.periods.now", lambda: LATER)
    monkeypatch.setattr("proxy.cli.output.now", lambda: LATER)
    monkeypatch.setattr("proxy.cli.approvals.now", lambda: LATER)
    monkeypatch.setenv("TALKMETER_FOUR_EYES", "true")
    monkeypatch.setenv("TALKMETER_FOUR_EYES_USD", "5")
    books.open("s1")
    books.bill("s1", "r1", {Meter.TEXT_IN: 10})
    books.close("s1")


def test_what_is_asked_for_is_listed_and_not_done(talkmeter: Talkmeter) -> None:
    ran = talkmeter("period", "close", "2026-11")
    assert ran.out.startswith("Not done yet: period.close 2026-11 waits for a second person, as request apr_")
    assert "before 2027-03-08T00:00:00Z: POST /api/v1/approvals/apr_" in ran.err
    asked = talkmeter(*CREDIT, "--amount", "5.01", "--json").json["approval"]
    assert (asked["state"], asked["object"], asked["wanted"]["billed_nanousd"]) == (
        "pending",
        "k1",
        -5_010_000_000,
    )
    assert talkmeter(*CREDIT[:-1], "k2", "--amount", "5").out.startswith("Entry 2: credit for acme")
    shown = talkmeter("approval", "list", "--state", "pending").out
    assert "ledger.credit k1, acme, billed $-5.010000000" in shown and "period.close 2026-11" in shown
    assert len(talkmeter("approval", "list", "--json").json) == 2
    assert talkmeter("approval", "list", "--state", "approved", "--json").json == []
    (month, *_) = talkmeter("period", "list", "--json").json
    assert month["state"] == "over"


def test_another_request_about_the_same_is_refused(talkmeter: Talkmeter) -> None:
    talkmeter("period", "close", "2026-11")
    talkmeter("period", "close", "2026-11")
    again = talkmeter.fails("period", "close", "2026-11", "--reason", "another")
    assert "about 2026-11 already" in again
