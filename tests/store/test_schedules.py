"""Schedules as they are kept."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, select

from proxy.core.timetable import Every, Timetable
from proxy.store import NotFound, StoreError, schedules
from proxy.store.audit import list_audit
from proxy.store.database import open_database, writing
from proxy.store.pages import Page
from proxy.store.receivers import parse_targets
from proxy.store.schedules import (
    Content,
    Wanted,
    change_schedule,
    due_schedules,
    find_schedule,
    list_schedules,
    move_on,
    remove_schedule,
    set_schedule,
)
from proxy.store.schema import schedule_receiver, webhook
from proxy.store.tenants import archive_tenant, create_tenant
from tests.scheduling import ACT, DAILY, EMBEDDED, MONDAYS, NOW, save, schedule

ANN = parse_targets(["mailto:ann@example.com"])
DIGEST = Wanted("weekly", Content.DIGEST, MONDAYS, ANN)


@EMBEDDED
def test_set_changed_and_removed(database: Engine) -> None:
    made = schedule(database)
    assert made.next_at == datetime(2026, 11, 30, 8, tzinfo=UTC)
    assert made.when == {"every": "week", "at": "08:00", "on": "monday", "tz": "UTC"}
    berlin = Timetable(Every.MONTH, time(17, 5), ZoneInfo("Europe/Berlin"), 31)
    again = schedule(database, table=berlin)
    assert (again.id, again.next_at) == (made.id, datetime(2026, 11, 30, 16, 5, tzinfo=UTC))
    with writing(database) as connection:
        renamed = change_schedule(connection, made.id, replace(DIGEST, name="digest"), ACT)
        assert find_schedule(connection, "digest") == renamed
        with pytest.raises(NotFound):
            find_schedule(connection, "weekly")
        remove_schedule(connection, made.id, ACT)
        assert list_schedules(connection) == []
        assert connection.execute(select(schedule_receiver)).all() == []
        assert connection.execute(select(webhook.c.deleted_at)).scalars().all() == [NOW]
        noted = list_audit(connection)
    assert [one.action for one in noted] == ["schedule.set"] * 3 + ["schedule.remove"]
    assert noted[1].before is not None and noted[1].before["every"] == "week"
    assert noted[3].before is not None and noted[3].before["to"] == ["mailto:ann@example.com"]


def test_one_of_a_name_for_each_tenant(database: Engine) -> None:
    with writing(database) as connection:
        acme, globex = (create_tenant(connection, name, ACT).id for name in ("acme", "globex"))
    own, other, all_ = (schedule(database, tenant=tenant) for tenant in ("acme", "globex", None))
    with writing(database) as connection:
        assert [one.id for one in list_schedules(connection)] == [all_.id, own.id, other.id]
        assert (
            list_schedules(connection, "acme")
            == [own]
            == list_schedules(connection, page=Page(frozenset({acme})))
        )
        assert find_schedule(connection, "weekly", within=frozenset({globex})) == other
        with pytest.raises(StoreError, match="acme, globex, the installation"):
            find_schedule(connection, "weekly")
        with pytest.raises(StoreError, match="already"):
            set_schedule(connection, DIGEST, ACT, tenant="acme", only_new=True)
        second = set_schedule(connection, replace(DIGEST, name="second"), ACT, tenant="acme")
        with pytest.raises(StoreError, match="already"):
            change_schedule(connection, second.id, DIGEST, ACT)
        archive_tenant(connection, "acme", ACT)
        with pytest.raises(StoreError, match="archived"):
            set_schedule(connection, replace(DIGEST, name="third"), ACT, tenant="acme")


@EMBEDDED
def test_a_report_is_sent_to_those_it_is_about(database: Engine) -> None:
    with writing(database) as connection:
        create_tenant(connection, "acme", ACT)
    own, all_ = save(database, "own", tenant="acme"), save(database, "all")
    made = schedule(database, content=Content.REPORT, report="own", tenant="acme")
    assert (made.report_id, made.report) == (own.id, "own")
    assert schedule(database, content=Content.REPORT, report=all_.id).report_id == all_.id
    with pytest.raises(StoreError, match="of the tenant acme"):
        schedule(database, content=Content.REPORT, report="own")
    with pytest.raises(NotFound):
        schedule(database, content=Content.REPORT, report="all", tenant="acme")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": " "}, "A name has"),
        ({"name": "a\r\nBcc: eve@example.com"}, "A name has"),
        ({"timetable": None}, "how often"),
        ({"content": Content.REPORT}, "Name the saved report"),
        ({"report": "costs"}, "or else ask for something else"),
        (
            {"content": Content.ANOMALY, "timetable": Timetable(Every.MONTH, time(), ZoneInfo("UTC"), 1)},
            "30 days",
        ),
    ],
)
def test_what_cannot_be_set(sqlite_url: str, change: dict[str, Any], says: str) -> None:
    engine = open_database(sqlite_url)
    with writing(engine) as connection, pytest.raises(StoreError, match=says):
        set_schedule(connection, replace(DIGEST, **change), ACT)
    engine.dispose()


@EMBEDDED
def test_there_is_a_limit(database: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "SCHEDULES_MAX", 3)
    with writing(database) as connection:
        for number in range(3):
            set_schedule(connection, replace(DIGEST, name=f"s{number}"), ACT)
        with pytest.raises(StoreError, match="at most 3"):
            set_schedule(connection, DIGEST, ACT)


def test_what_is_due_is_moved_on_by_one(database: Engine) -> None:
    one = schedule(database, table=DAILY)
    at_once = schedule(database, name="alarm", content=Content.ANOMALY, table=None)
    assert one.next_at is not None and at_once.next_at is None
    with writing(database) as connection:
        assert due_schedules(connection, one.next_at - timedelta(microseconds=1)) == []
        assert due_schedules(connection, one.next_at) == [one]
        following = one.next_at + timedelta(days=1)
        assert move_on(connection, one, following)
        assert not move_on(connection, one, following), "somebody else has done so"
        assert due_schedules(connection, one.next_at) == []


@EMBEDDED
def test_a_change_passes_over_nothing_that_is_due_already(database: Engine) -> None:
    one = schedule(database, table=DAILY)
    later = NOW + timedelta(days=1)
    assert schedule(database, "mailto:bob@example.com", table=DAILY, at=later).next_at == one.next_at
    other = Timetable(Every.DAY, time(9), ZoneInfo("UTC"))
    assert schedule(database, table=other, at=later).next_at == datetime(2026, 11, 25, 9, tzinfo=UTC)
