"""`talkmeter webhook`."""

from datetime import UTC, datetime

from sqlalchemy import Engine

from proxy.store.database import writing
from proxy.store.deliveries import Outcome, claim, fan_out, record
from tests.announcements import announce
from tests.cli.conftest import Talkmeter

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
URL = "https://example.com/hook"


def test_webhooks(talkmeter: Talkmeter) -> None:
    talkmeter("tenant", "create", "acme")
    made = talkmeter(
        "webhook", "create", "--url", URL, "--tenant", "acme", "--kind", "budget.cut", "--json"
    ).json
    assert made["secret"].startswith("whsec_") and made["kinds"] == ["budget.cut"]
    said = talkmeter("webhook", "create", "--url", URL).out
    assert "of all tenants" in said and "whsec_" in said
    listed = talkmeter("webhook", "list", "--json").json
    assert [one["tenant"] for one in listed] == ["acme", None]
    assert "whsec_" not in talkmeter("webhook", "list", "--json").out
    assert URL in talkmeter("webhook", "list", "--tenant", "acme").out
    rotated = talkmeter("webhook", "rotate", made["id"], "--json").json
    assert rotated["id"] == made["id"] and rotated["secret"] != made["secret"]
    assert "whsec_" in talkmeter("webhook", "rotate", made["id"]).out
    assert talkmeter("webhook", "delete", made["id"], "--json").json["id"] == made["id"]
    assert "is deleted" in talkmeter("webhook", "delete", listed[1]["id"]).out
    assert talkmeter("webhook", "list", "--json").json == []


def test_what_is_refused(talkmeter: Talkmeter) -> None:
    assert "has to be https" in talkmeter.fails("webhook", "create", "--url", "http://example.com/")
    assert "not announced" in talkmeter.fails("webhook", "create", "--url", URL, "--kind", "x")
    assert "no tenant 'none'" in talkmeter.fails("webhook", "create", "--url", URL, "--tenant", "none")
    for command in ("delete", "rotate"):
        assert "no webhook 'x'" in talkmeter.fails("webhook", command, "x")


def test_deliveries(talkmeter: Talkmeter, database: Engine) -> None:
    hook = talkmeter("webhook", "create", "--url", URL, "--json").json["id"]
    for key in ("sent", "failed", "gone"):
        announce(database, key, NOW, "budget.cut")
    statuses = {"sent": (200, None), "failed": (503, "it answered 503"), "gone": (410, "it answered 410")}
    with writing(database) as connection:
        fan_out(connection, NOW)
        tried = claim(connection, NOW, lambda _: 8, 64)
        record(connection, [Outcome(one, *statuses[one.announcement.key]) for one in tried], NOW)
    found = talkmeter("webhook", "deliveries", "--json").json
    assert [one["state"] for one in found] == ["given up", "pending", "delivered"]
    assert found[1]["next_at"] == "2026-11-26T12:00:05Z" and found[1]["attempts"] == 1
    table = talkmeter("webhook", "deliveries", "--webhook", hook, "--limit", "2").out
    assert "it answered 503" in table and "given up" in table and "delivered" not in table
    gone, failed, sent = (str(one["id"]) for one in found)
    assert talkmeter("webhook", "redeliver", gone, "--webhook", hook, "--json").json["state"] == "pending"
    assert "is made again" in talkmeter("webhook", "redeliver", sent, "--webhook", hook).out
    assert "still being tried" in talkmeter.fails("webhook", "redeliver", failed, "--webhook", hook)
    assert talkmeter("webhook", "deliveries", "--webhook", "none", "--json").json == []
