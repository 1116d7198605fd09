"""`/reports/forecast`, and thresholds on forecasts."""

from datetime import UTC, datetime

from proxy.core.usage import Meter
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking
from tests.ledgers import Books
from tests.scheduling import EMBEDDED


@EMBEDDED
async def test_a_viewer_sees_its_own(api: Asking) -> None:
    books, now = Books(api.engine), datetime.now(UTC)
    for session, tenant in (("s1", "acme"), ("s2", "globex")):
        books.open(session, tenant, at=now)
        books.bill(session, "r1", {Meter.TEXT_OUT: 1_000}, at=now)
    budget = {"scope": "tenant", "tenant": "acme", "window": "month", "amount_usd": "5"}
    made = await api.done("POST", "/budgets", budget | {"forecast_thresholds": [100, 90]})
    assert made["forecast_thresholds"] == [90, 100]
    await api.problem(422, "POST", "/budgets", budget | {"window": "day", "forecast_thresholds": [90]})
    await api.problem(422, "POST", "/budgets", budget | {"window": "week", "forecast_thresholds": [0]})
    everything = (await api.done("GET", "/reports/forecast"))["data"]
    assert [(one["budget_id"], one["tenant"]) for one in everything] == [
        (made["id"], "acme"),
        (None, "globex"),
    ]
    assert everything[0]["left_nanousd"] == 5 * 10**9 - everything[0]["spent_nanousd"]
    viewer = api.token(TokenRole.VIEWER, "globex")
    own = (await api("GET", "/reports/forecast", token=viewer)).json["data"]
    assert own and {one["tenant"] for one in own} == {"globex"}
    await api.problem(404, "GET", "/reports/forecast", params={"tenant": "acme"}, token=viewer)
    await api.problem(422, "GET", "/reports/forecast", params={"tz": "Mars"})
