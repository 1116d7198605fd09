"""`talkmeter webhook`."""

import getpass
import socket
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


def test_every_act_says_who_what_and_why(talkmeter: Talkmeter, database: Engine) -> None:
    words = ("--url", f"{URL}?token=hidden", "--kind", "budget.cut", "--reason", "r1", "--json")
    made = talkmeter("webhook", "create", *words).json
    hook, noted = made["id"], {"url": URL, "kinds": ["budget.cut"]}
    new = talkmeter("webhook", "rotate", hook, "--reason", "r2", "--json").json
    announce(database, "sent", NOW, "budget.cut")
    with writing(database) as connection:
        fan_out(connection, NOW)
        tried = claim(connection, NOW, lambda _: 8, 64)
        record(connection, [Outcome(one, 200, None) for one in tried], NOW)
    (delivery,) = talkmeter("webhook", "deliveries", "--json").json
    talkmeter("webhook", "redeliver", str(delivery["id"]), "--webhook", hook, "--reason", "r3")
    talkmeter("webhook", "delete", hook, "--reason", "r4")
    listed = talkmeter("audit", "list", "--json")
    assert [(one["action"], one["object"], one["reason"]) for one in listed.json] == [
        ("webhook.create", hook, "r1"),
        ("webhook.rotate", hook, "r2"),
        ("webhook.redeliver", hook, "r3"),
        ("webhook.delete", hook, "r4"),
    ]
    create, rotate, redeliver, delete = listed.json
    assert (create["before"], create["after"]) == (None, noted)
    assert (rotate["before"], rotate["after"]) == (None, None)
    assert (redeliver["before"], redeliver["after"]) == (None, {"delivery": delivery["id"]})
    assert (delete["before"], delete["after"]) == (noted, None)
    assert {one["actor"] for one in listed.json} == {f"cli:{getpass.getuser()}@{socket.gethostname()}"}
    assert not [secret for secret in (made["secret"], new["secret"], "hidden") if secret in listed.out]


def test_a_webhook_is_tried_out(talkmeter: Talkmeter) -> None:
    made = talkmeter("webhook", "create", "--url", URL, "--kind", "budget.cut", "--json").json
    said = talkmeter("webhook", "test", made["id"]).out
    sent = talkmeter("webhook", "test", made["id"], "--reason", "set up", "--json").json
    assert f"Test {sent['id'] - 1} to webhook {made['id']} is due now." in said
    assert (sent["kind"], sent["state"], sent["attempts"]) == ("webhook.test", "pending", 0)
    listed = talkmeter("webhook", "deliveries", "--json").json
    assert [one["id"] for one in listed] == [sent["id"], sent["id"] - 1]
    assert "There is no webhook 'whk_0'" in talkmeter.fails("webhook", "test", "whk_0")
    (act,) = talkmeter("audit", "list", "--action", "webhook.test", "--limit", "1", "--json").json
    assert (act["object"], act["reason"], act["after"]) == (made["id"], "set up", {"delivery": sent["id"]})
