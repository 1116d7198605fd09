"""`talkmeter report forecast`, and thresholds on forecasts."""

from datetime import UTC, datetime, timedelta

import pytest

from proxy.core.usage import Meter
from tests.cli.conftest import Talkmeter
from tests.ledgers import Books


def test_a_forecast_for_budgets_and_tenants(talkmeter: Talkmeter, books: Books) -> None:
    now = datetime.now(UTC)
    for session, tenant in (("s1", "acme"), ("s2", "globex")):
        books.open(session, tenant, at=now - timedelta(days=40))
        for ago in range(40):
            books.bill(session, f"r{ago}", {Meter.TEXT_OUT: 1_000}, at=now - timedelta(days=ago))
    words = ("--tenant", "acme", "--window", "month", "--amount", "1000", "--forecast-thresholds", "90,100")
    made = talkmeter("budget", "set", *words, "--json").json
    assert made["forecast_thresholds"] == [90, 100]
    one, other = talkmeter("report", "forecast", "--json").json
    assert (one["budget_id"], one["tenant"], one["amount_usd"]) == (made["id"], "acme", "1000.000000000")
    assert (other["budget_id"], other["tenant"], other["amount_usd"]) == (None, "globex", None)
    assert one["method"] == other["method"] == "weekdays" and one["exhausted_on"] is None
    assert one["forecast_nanousd"] >= one["spent_nanousd"] > 0
    table = talkmeter("report", "forecast", "--tenant", "acme").out
    assert "Forecast $" in table and one["spent_usd"] in table and "globex" not in table
    cleared = talkmeter("budget", "set", *words[:-1], "none", "--json").json
    assert cleared["forecast_thresholds"] == []


@pytest.mark.parametrize(
    ("words", "problem", "code"),
    [
        (("report", "forecast", "--tz", "Mars"), "'Mars' is not a time zone", 2),
        (("report", "forecast", "--tenant", "none"), "no tenant 'none'", 1),
        (("budget", "set", "--organisation", "--window", "day", "--forecast-thresholds", "80"), "week", 1),
        (
            ("budget", "set", "--organisation", "--window", "week", "--forecast-thresholds", "x"),
            "percents",
            2,
        ),
    ],
)
def test_mistakes_are_told(talkmeter: Talkmeter, words: tuple[str, ...], problem: str, code: int) -> None:
    more = ("--amount", "1") if words[0] == "budget" else ()
    assert problem in talkmeter.fails(*words, *more, code=code)
