"""`/schedules`: made, changed, tried out; what they sent; secrets that are not shown."""

from typing import Any

from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking
from tests.ledgers import Books

SLACK = "slack:http://127.0.0.1:1/canary"  # nobody is there
WEEKLY: dict[str, Any] = {
    "name": "weekly",
    "tenant": "acme",
    "content": "digest",
    "every": "week",
    "on": "friday",
    "at": "17:00",
    "tz": "Europe/Berlin",
    "to": ["mailto:ann@example.com", SLACK],
}


async def test_it_is_made_changed_tried_out_and_removed(api: Asking) -> None:
    Books(api.engine).key("acme")
    made = await api("POST", "/schedules", WEEKLY)
    assert made.status == 201 and made.json["next_at"] and made.json["on"] == "friday"
    mail, slack = made.json["to"]
    assert slack["to"] == "slack:http://127.0.0.1/…" and "canary" not in str(made.json)
    path = made.headers["Location"].removeprefix("/api/v1")
    body = {name: value for name, value in WEEKLY.items() if name not in ("tenant", "on")}
    changed = await api(
        "PUT", path, body | {"to": [slack["id"], "mailto:bob@example.com"]}, If_Match=made.etag
    )
    bob, kept = changed.json["to"]
    assert kept == slack and changed.json["on"] == "monday", "a Slack URL is kept by its id"
    assert bob["to"] == "mailto:bob@example.com" and mail["to"] == "mailto:ann@example.com"
    await api.problem(412, "DELETE", path, If_Match=made.etag)
    sent = await api.done("POST", f"{path}/run")
    assert sent["problem"] is None
    rows = (await api.done("GET", f"{path}/deliveries"))["data"]
    assert {row["state"] for row in rows} <= {"pending", "given up", "delivered"} and rows[0]["id"]
    alerts = (await api.done("GET", "/alerts", params={"tenant": "acme"}))["data"]
    assert alerts == [], "a report is no alert"
    await api.problem(404, "GET", f"/alerts/{rows[0]['id']}")
    webhooks = await api.done("GET", "/webhooks")
    assert webhooks["data"] == [], "a receiver is no webhook"
    await api.problem(404, "POST", f"/webhooks/{slack['id']}/rotate")
    await api.done("DELETE", path, If_Match=changed.etag)
    await api.problem(404, "GET", f"{path}/deliveries")
    actions = [action for _, action, _ in api.audit() if action.startswith("schedule.")]
    assert actions == ["schedule.set", "schedule.set", "schedule.run", "schedule.remove"]


async def test_what_cannot_be_set(embedded: Asking) -> None:
    Books(embedded.engine).key("acme")
    bad: list[dict[str, Any]] = [
        {"to": []},
        {"to": ["ann@example.com"]},
        {"to": ["mailto:ann@example.com\r\nBcc: eve@example.com"]},
        {"to": ["slack:http://169.254.169.254/latest"]},
        {"at": "8:00"},
        {"at": "25:00"},
        {"on": "32"},
        {"every": None},
        {"every": "hour"},
        {"tz": "Mars"},
        {"content": "report"},
        {"report": "costs"},
    ]
    for change in bad:
        await embedded.problem(422, "POST", "/schedules", WEEKLY | change)
    for change in (
        {"to": ["webhook:whk_none"]},
        {"to": ["rcv_none"]},
        {"content": "report", "report": "none"},
    ):
        await embedded.problem(404, "POST", "/schedules", WEEKLY | change)
    confined = embedded.token(TokenRole.ADMIN, "acme")
    await embedded.problem(403, "POST", "/schedules", WEEKLY | {"tenant": None}, token=confined)
    await embedded.done("POST", "/schedules", WEEKLY, token=confined)
