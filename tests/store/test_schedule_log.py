"""The log of schedules: what was sent to whom, and what could not be."""

from datetime import timedelta

from sqlalchemy import Engine

from proxy.store.database import reading, writing
from proxy.store.deliveries import Outcome, claim, fan_out, prune, record
from proxy.store.occurrences import make_due, make_now
from proxy.store.pages import Page
from proxy.store.schedule_log import LogRow, list_log, page_of_log
from proxy.store.schedules import Content, remove_schedule
from proxy.store.tenants import create_tenant
from tests.announcements import announce
from tests.scheduling import ACT, DAILY, EMBEDDED, NOW, schedule


def states(rows: list[LogRow]) -> list[tuple[str, str | None, str]]:
    return [(one.schedule, one.to, one.state) for one in rows]


def test_each_receiver_of_each_occurrence_and_how_it_went(database: Engine) -> None:
    daily = schedule(
        database, "mailto:ann@example.com", "slack:https://hooks.slack.com/x", name="daily", table=DAILY
    )
    other = schedule(database, "mailto:bob@example.com", name="other", table=DAILY)
    make_due(database, daily, NOW + timedelta(days=3))
    make_now(database, other, ACT)
    with writing(database) as connection:
        remove_schedule(connection, other.id, ACT)
        assert states(list_log(connection)) == [("other", None, "pending"), ("daily", None, "pending")]
        fan_out(connection, NOW)
        for one in claim(connection, NOW, lambda _: 8, 64):
            is_mail = one.url.startswith("mailto:")
            outcome = Outcome(one, 250, None) if is_mail else Outcome(one, 410, "it answered 410")
            record(connection, [outcome], NOW)
        rows = list_log(connection)
        assert states(rows[:1]) == [("other", None, "to nobody")]
        mail, slack = sorted(rows[1:], key=lambda row: row.to or "")  # by their ids: as chance had it
        assert states([mail, slack]) == [
            ("daily", "mailto:ann@example.com", "delivered"),
            ("daily", "slack:https://hooks.slack.com/…", "given up"),
        ]
        assert (slack.skipped, slack.due_at, slack.error) == (2, "2026-11-26T08:00:00Z", "it answered 410")
        assert list_log(connection, schedule_id=other.id) == rows[:1]
        first = page_of_log(connection, Page(limit=2, newest_first=True))
        after = (first[-1].id, first[-1].receiver_id or "")
        assert first + page_of_log(connection, Page(after=after, newest_first=True)) == rows


def test_alarms_are_in_it_and_announcements_of_webhooks_are_not(database: Engine) -> None:
    with writing(database) as connection:
        acme = create_tenant(connection, "acme", ACT).id
    alarm = schedule(database, name="alarm", content=Content.ANOMALY, table=None, tenant="acme")
    for key, kind, tenant in (
        ("1", "spend.anomaly", acme),
        ("2", "spend.anomaly", None),
        ("3", "budget.cut", acme),
    ):
        announce(database, key, NOW, kind, tenant)
    with writing(database) as connection:
        fan_out(connection, NOW)
        (row,) = list_log(connection)
        assert (row.schedule_id, row.schedule, row.content, row.state) == (
            alarm.id,
            "alarm",
            "anomaly",
            "pending",
        )
        assert page_of_log(connection, Page(within=frozenset({"ten_other"}))) == []


@EMBEDDED
def test_it_is_kept_for_thirty_days(database: Engine) -> None:
    make_now(database, schedule(database), ACT)
    with writing(database) as connection:
        fan_out(connection, NOW)
        record(connection, [Outcome(one, 250, None) for one in claim(connection, NOW, lambda _: 8, 64)], NOW)
        prune(connection, NOW + timedelta(days=29))
        assert len(list_log(connection)) == 1
        prune(connection, NOW + timedelta(days=31))
    with reading(database) as connection:
        assert list_log(connection) == []
