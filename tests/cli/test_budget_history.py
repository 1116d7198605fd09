"""`talkmeter budget history`."""

from datetime import UTC, datetime

from proxy.core.usage import Meter
from tests.cli.conftest import Talkmeter
from tests.ledgers import Books


def test_what_an_amount_would_have_meant(talkmeter: Talkmeter, books: Books) -> None:
    now = datetime.now(UTC)
    for session, tenant, tokens in (("s1", "acme", 1_000), ("s2", "globex", 10)):
        books.open(session, tenant, at=now, end_user="zoë")
        books.bill(session, "r1", {Meter.TEXT_OUT: tokens}, at=now)  # 24,000 nano-dollars each
    said = talkmeter("budget", "history", "--tenant", "acme", "--amount", "0.02").out
    assert "0.024000000" in said
    assert "More than $0.020000000 was spent in 1 of 30 windows, and by 1 of 1 sessions in 30 days." in said
    told = talkmeter("budget", "history", "--amount", "1", "--window", "hour", "--json").json
    assert (told["scope"], told["windows_over"], told["sessions"], told["sessions_over"]) == (
        "organisation",
        0,
        2,
        0,
    )
    assert (told["data"][0]["spent_usd"], told["largest_session_usd"]) == ("0.024240000", "0.024000000")
    user = talkmeter("budget", "history", "--tenant", "acme", "--user", "zoë", "--json").json
    assert (user["windows_over"], user["largest_session_id"]) == (None, "s1")
    key = talkmeter("budget", "history", "--key", books.key("acme").id, "--json").json
    assert (key["scope"], key["sessions"]) == ("key", 1)
    largest = talkmeter("budget", "history", "--tenant", "globex").out
    assert "These are the largest of 30 windows; there were 1 sessions in 30 days." in largest
    assert "--project needs --tenant" in talkmeter.fails("budget", "history", "--project", "web", code=2)
