"""`/alerts`: announcements as they were made, and which are asked for."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from proxy.admin.config import BillConfig
from proxy.store.database import writing
from proxy.store.outbox import Announcement, announce
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking, asking

FIRST = datetime(2099, 11, 1, tzinfo=UTC)  # what is old is not kept


async def test_which_are_asked_for(api: Asking) -> None:
    acme, globex = (api.books.key(name).tenant_id for name in ("acme", "globex"))
    made: list[tuple[str, str, str | None, dict[str, Any]]] = [
        ("a", "budget.threshold", acme, {"percent": 80, "billed_nanousd": 5}),
        ("b", "budget.cut", acme, {"budget": {"id": "bud_1"}}),
        ("c", "spend.anomaly", None, {"zoë": "\U0001f600"}),
        ("d", "budget.cut", globex, {}),
    ]
    with writing(api.engine) as connection:
        for day, (key, kind, tenant, data) in enumerate(made):
            announce(connection, [Announcement(key, kind, tenant, FIRST + timedelta(days=day), data)])
    alerts = (await api.done("GET", "/alerts"))["data"]
    told = [(one["kind"], one["tenant_id"], one["data"]) for one in alerts]
    assert told == [one[1:] for one in reversed(made)], "the newest first"
    ids = dict(zip("dcba", (one["id"] for one in alerts), strict=True))
    for params, keys in (
        ({"tenant": "acme"}, "ba"),
        ({"kind": "budget.cut"}, "db"),
        ({"tenant": "globex", "kind": "spend.anomaly"}, ""),
        ({"from": "2099-11-02", "to": "2099-11-04"}, "cb"),
        ({"from": "2099-11-02T00:00:00.000001Z"}, "dc"),
    ):
        found = (await api.done("GET", "/alerts", params=params))["data"]
        assert [one["id"] for one in found] == [ids[key] for key in keys], params
    assert sum(await api.pages("/alerts", 3), []) == alerts
    last = await api.done("GET", f"/alerts/{ids['c']}")
    assert last == alerts[1] and last["at"] == "2099-11-03T00:00:00Z"
    assert last["message_id"].startswith("msg_") and "." not in last["message_id"]
    confined = api.token(TokenRole.FINANCE, "acme")
    seen = (await api.done("GET", "/alerts", token=confined))["data"]
    assert [one["id"] for one in seen] == [ids["b"], ids["a"]]
    gone = f"There is no alert {ids['c']}: they are kept for 30 days."
    await api.refused(404, gone, "GET", f"/alerts/{ids['c']}", token=confined)
    await api.refused(404, "There is no alert 99", "GET", "/alerts/99")
    await api.refused(422, "#/kind", "GET", "/alerts", params={"kind": "report.scheduled"})


async def test_the_rules_that_the_settings_make(tmp_path: Path, sqlite_url: str) -> None:
    bill = BillConfig(usd=3, percent=2)
    async with asking(tmp_path, sqlite_url, anomaly_usd=7, anomaly_deviations=4, bill=bill) as api:
        assert await api.done("GET", "/alert-rules", token=api.token(TokenRole.FINANCE)) == {
            "anomaly_floor_nanousd": 7_000_000_000,
            "anomaly_floor_usd": "7.000000000",
            "anomaly_deviations": 4,
            "anomaly_weeks": 4,
            "unexplained_limit_nanousd": 3_000_000_000,
            "unexplained_limit_usd": "3.000000000",
            "unexplained_percent": 2,
        }
