"""`talkmeter schedule`."""

import pytest
from sqlalchemy import Engine

from proxy.store.database import writing
from proxy.store.deliveries import Outcome, claim, fan_out, record
from tests.cli.conftest import Talkmeter
from tests.scheduling import EMBEDDED, NOW

SLACK = "slack:https://hooks.slack.com/services/canary"
DIGEST = ("--digest", "--every", "week")


def test_a_schedule_is_set_tried_out_and_removed(talkmeter: Talkmeter, database: Engine) -> None:
    talkmeter("report", "save", "costs")
    words = ("--every", "month", "--at", "07:30", "--on", "31", "--tz", "Europe/Berlin")
    ran = talkmeter(
        "schedule",
        "set",
        "monthly",
        "--report",
        "costs",
        *words,
        "--to",
        "mailto:ann@example.com",
        "--to",
        SLACK,
    )
    assert "every month on 31 at 07:30 (Europe/Berlin), to mailto:ann@example.com" in ran.out
    assert "SMTP_URL is not set" in ran.err and "canary" not in ran.out + ran.err
    (listed,) = talkmeter("schedule", "list", "--json").json
    assert (listed["report"], listed["every"], listed["on"], listed["tz"]) == (
        "costs",
        "month",
        "31",
        "Europe/Berlin",
    )
    assert listed["to"][1]["to"] == "slack:https://hooks.slack.com/…" and listed["next_at"]
    assert "every month" in talkmeter("schedule", "list").out
    assert "on its way" in talkmeter("schedule", "run", "monthly").out
    with writing(database) as connection:
        fan_out(connection, NOW)
        for one in claim(connection, NOW, lambda _: 8, 64):
            status = 250 if one.channel == "email" else 503
            record(connection, [Outcome(one, status, None if status == 250 else "it answered 503")], NOW)
    rows = talkmeter("schedule", "deliveries", "--schedule", "monthly", "--json").json
    rows.sort(key=lambda one: one["to"], reverse=True)  # both are of one moment, in either order
    assert [(one["to"], one["state"]) for one in rows] == [
        ("slack:https://hooks.slack.com/…", "pending"),
        ("mailto:ann@example.com", "delivered"),
    ]
    assert "it answered 503" in talkmeter("schedule", "deliveries").out
    again = talkmeter("webhook", "redeliver", str(rows[1]["id"]), "--webhook", rows[1]["receiver_id"])
    assert "is made again" in again.out
    assert "is removed" in talkmeter("schedule", "remove", "monthly", "--reason", "enough").out
    assert talkmeter("schedule", "list", "--json").json == []
    noted = talkmeter("audit", "list", "--json")
    actions = [one["action"] for one in noted.json]
    assert actions == ["report.save", "schedule.set", "schedule.run", "webhook.redeliver", "schedule.remove"]
    assert "canary" not in noted.out


@EMBEDDED
def test_an_alarm_and_what_cannot_be_run(talkmeter: Talkmeter) -> None:
    made = talkmeter("schedule", "set", "alarm", "--anomaly", "--to", SLACK, "--json").json
    assert (made["every"], made["next_at"], made["content"]) == (None, None, "anomaly")
    assert "at once" in talkmeter("schedule", "list").out
    assert "when they are found" in talkmeter.fails("schedule", "run", "alarm")


@EMBEDDED
@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--to", SLACK), 2, "give one of"),
        (("--to", SLACK, "--digest", "--anomaly"), 2, "give one of"),
        (("--to", SLACK, "--digest"), 1, "how often"),
        (("--to", SLACK, *DIGEST, "--at", "8"), 2, "HH:MM"),
        (("--to", SLACK, *DIGEST, "--on", "1"), 2, "weekday"),
        (("--to", SLACK, "--anomaly", "--on", "monday"), 2, "needs --every"),
        (("--to", SLACK, *DIGEST, "--tz", "Mars"), 2, "not a time zone"),
        (("--to", "ann@example.com", *DIGEST), 1, "is written mailto:"),
        (("--to", "slack:http://example.com", *DIGEST), 1, "has to be https"),
        (("--to", "webhook:none", *DIGEST), 1, "no webhook"),
        (("--to", SLACK, "--report", "none", "--every", "day"), 1, "no saved report"),
        (("--to", SLACK, *DIGEST, "--tenant", "none"), 1, "no tenant"),
    ],
)
def test_what_is_refused(talkmeter: Talkmeter, words: tuple[str, ...], code: int, says: str) -> None:
    assert says in talkmeter.fails("schedule", "set", "x", *words, code=code)


@EMBEDDED
def test_a_comparison_with_the_bill_is_scheduled(talkmeter: Talkmeter) -> None:
    words = ("--reconciliation", "--every", "day", "--to", "mailto:ann@example.com")
    assert talkmeter("schedule", "set", "bill", *words, "--json").json["content"] == "reconciliation"
    ran = talkmeter("schedule", "run", "bill")
    assert "TALKMETER_UPSTREAM_ADMIN_KEY is not set" in ran.err
