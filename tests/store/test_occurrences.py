"""Occurrences: each is made once, by whoever dies and by however many try; and what is in them."""

import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from proxy.core.reconcile import Threshold
from proxy.core.usage import Meter
from proxy.store import StoreError, occurrences
from proxy.store.audit import Act, list_audit
from proxy.store.database import open_database, reading, writing
from proxy.store.markups import set_markup
from proxy.store.occurrences import Made, make_due, make_now
from proxy.store.outbox import Announcement, announce
from proxy.store.reconciliations import (
    Reconciliation,
    Scope,
    Terms,
    TheirSide,
    compare_bill,
    reconciled_since,
    record,
)
from proxy.store.saved_reports import run_saved
from proxy.store.schedules import Content, Schedule, due_schedules
from proxy.store.schema import outbox, saved_report
from tests.announcements import ANOMALY
from tests.ledgers import Books
from tests.scheduling import ACT, DAILY, EMBEDDED, NOW, save, schedule, sent

ROOT = Path(__file__).parents[2]
MONDAY = datetime(2026, 11, 30, 8, tzinfo=UTC)


def make(engine: Engine, now: datetime) -> list[Made | None]:
    """Make what is due, as one look of the control plane does."""
    with reading(engine) as connection:
        due = due_schedules(connection, now)
    return [make_due(engine, one, now) for one in due]


@pytest.fixture
def books(database: Engine) -> Books:
    books = Books(database)
    for session, tenant in (("s1", "acme"), ("s2", "globex")):
        books.open(session, tenant, "web")
        books.bill(session, f"{session}-r", {Meter.TEXT_OUT: 1_000})
    return books


def test_each_occurrence_is_made_once_and_missed_ones_are_counted(database: Engine) -> None:
    schedule(database)
    assert make(database, MONDAY - timedelta(seconds=1)) == []
    (made,) = make(database, MONDAY + timedelta(minutes=1))
    assert made is not None and (made.due_at, made.skipped, made.problem) == (MONDAY, 0, None)
    assert make(database, MONDAY + timedelta(days=6)) == []
    (late,) = make(database, MONDAY + timedelta(days=24))
    assert late is not None and (late.due_at, late.skipped) == (MONDAY + timedelta(days=21), 2)
    assert [(one["due_at"], one["skipped"]) for one in sent(database)] == [
        ("2026-11-30T08:00:00Z", 0),
        ("2026-12-21T08:00:00Z", 2),
    ]
    with reading(database) as connection:
        assert due_schedules(connection, MONDAY + timedelta(days=28)) != []


def test_who_is_killed_has_made_it_wholly_or_not_at_all(sqlite_url: str) -> None:
    """Killed before each statement of the transaction, then started again."""
    engine = open_database(sqlite_url)
    schedule(engine, table=DAILY)
    codes = []
    for number in range(20):
        codes.append(worker(sqlite_url, number))
        with reading(engine) as connection:
            rows = connection.execute(select(outbox.c.key)).all()
        assert len(rows) == (codes[-1] == 0), "nothing before the last statement, and then one row"
        if codes[-1] == 0:
            break
    assert len(codes) > 3 and set(codes[:-1]) == {-9}
    (one,) = sent(engine)
    assert (one["due_at"], one["skipped"]) == ("2026-12-14T08:00:00Z", 20)
    engine.dispose()


def worker(url: str, number: int) -> int:
    command = [sys.executable, "-m", "tests.store.schedule_worker", url, str(number)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert not ran.stderr, ran.stderr
    return ran.returncode


def test_of_several_that_try_at_once_one_makes_it(migrated_postgres_url: str) -> None:
    engines = [open_database(migrated_postgres_url) for _ in range(3)]
    for number in range(5):
        schedule(engines[0], name=f"s{number}", table=DAILY)
    found: list[Made | None] = []
    start = threading.Barrier(len(engines))

    def try_it(engine: Engine) -> None:
        start.wait()
        for hours in range(0, 72, 6):
            found.extend(make(engine, MONDAY + timedelta(hours=hours)))

    threads = [threading.Thread(target=try_it, args=[engine]) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = [(one.schedule.name, one.due_at) for one in found if one is not None]
    assert len(made) == len(set(made)) == len(sent(engines[0])) == 15
    for engine in engines:
        engine.dispose()


@EMBEDDED
def test_what_was_made_before_a_change_is_not_made_again(database: Engine) -> None:
    """As where somebody whose clock is late sets the schedule again."""
    schedule(database)
    make(database, MONDAY)
    schedule(database, table=DAILY)
    schedule(database)
    assert make(database, MONDAY) == [None]
    assert len(sent(database)) == 1


def test_a_saved_report_is_about_its_span_when_it_was_due(books: Books) -> None:
    save(books.engine, groups=("tenant",))
    schedule(books.engine, content=Content.REPORT, report="costs")
    make(books.engine, MONDAY + timedelta(days=3))
    (told,) = sent(books.engine)
    assert (told["first_on"], told["last_on"], told["zone"]) == ("2026-11-23", "2026-11-29", "UTC")
    report = told["report"]
    assert [row["tenant"] for row in report["rows"]] == ["acme", "globex"]
    assert report["columns"][:2] == ["tenant", "sessions"] and report["rows_left_out"] == 0
    assert report["total"]["responses"] == 2 and not report["is_billed"]


@EMBEDDED
def test_end_users_are_told_by_their_ids(books: Books) -> None:
    books.open("s4", "acme", end_user="zoë")
    books.bill("s4", "r", {Meter.TEXT_OUT: 1})
    save(books.engine, groups=("end_user",))
    schedule(books.engine, content=Content.REPORT, report="costs")
    make(books.engine, MONDAY)
    first, rest = sent(books.engine)[0]["report"]["rows"]
    assert first["end_user"] == first["end_user_id"] != "zoë" and rest["end_user"] is None
    assert "zoë" not in str(sent(books.engine))


@EMBEDDED
def test_a_long_report_is_cut_and_says_so(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(occurrences, "ROWS_MAX", 1)
    save(books.engine, groups=("tenant",))
    schedule(books.engine, content=Content.REPORT, report="costs")
    make(books.engine, MONDAY)
    report = sent(books.engine)[0]["report"]
    assert (len(report["rows"]), report["rows_left_out"], report["total"]["responses"]) == (1, 1, 2)


@EMBEDDED
def test_a_tenants_report_holds_what_it_owes_and_nothing_else(books: Books) -> None:
    with writing(books.engine) as connection:
        set_markup(connection, "acme", 5_000, NOW - timedelta(days=1), ACT)
    later = Books(books.engine)
    later.key("acme")
    later.open("s3", "acme")
    later.bill("s3", "r", {Meter.TEXT_OUT: 1_000})
    own = save(books.engine, "own", groups=("model",), tenant="acme")
    schedule(books.engine, content=Content.REPORT, report="own", tenant="acme")
    schedule(books.engine, name="digest", tenant="acme")
    make(books.engine, MONDAY)
    report, digest = sent(books.engine)
    ours = run_saved(books.engine, own, MONDAY, is_billed=False)
    assert isinstance(ours.total["cost_nanousd"], int)
    for total in (report["report"]["total"], digest["digest"]["total"]):
        assert total["cost_nanousd"] == total["billed_nanousd"] == total["list_nanousd"]
        assert total["cost_nanousd"] > ours.total["cost_nanousd"]
    assert "globex" not in str(sent(books.engine))


@EMBEDDED
def test_what_cannot_be_made_is_told_and_the_next_comes(books: Books) -> None:
    saved = save(books.engine, groups=("session",), span="last-366-days")
    schedule(books.engine, content=Content.REPORT, report="costs")
    with writing(books.engine) as connection:
        query = {**saved.query, "filters": {"project": "gone"}}
        connection.execute(saved_report.update().values(query=query))
    (made,) = make(books.engine, MONDAY)
    assert made is not None and "no project 'gone'" in str(made.problem)
    assert sent(books.engine)[0]["problem"] == made.problem
    with reading(books.engine) as connection:
        assert due_schedules(connection, MONDAY + timedelta(days=7)) != []


def test_anomalies_of_the_day_before(books: Books) -> None:
    acme = books.key("acme").tenant_id
    hours = ((acme, "2026-11-22T23:00:00Z"), (None, "2026-11-23T00:00:00Z"), (acme, "2026-11-23T23:00:00Z"))
    rows = [
        Announcement(at, "spend.anomaly", who, NOW + timedelta(days=1), ANOMALY | {"starts_at": at})
        for who, at in hours
    ]
    with writing(books.engine) as connection:
        announce(connection, rows)
    for tenant in (None, "acme"):
        schedule(books.engine, name="odd", content=Content.ANOMALY, table=DAILY, tenant=tenant)
    make(books.engine, NOW + timedelta(days=1))
    told = {one["tenant"]: [hour["starts_at"] for hour in one["anomalies"]] for one in sent(books.engine)}
    assert told == {None: [hours[1][1], hours[2][1]], "acme": [hours[2][1]]}


@EMBEDDED
def test_now_is_beside_the_timetable(books: Books) -> None:
    one = schedule(books.engine)
    make_now(books.engine, one, ACT)
    assert [told["due_at"] for told in sent(books.engine)] == ["2026-11-23T12:00:00Z"]
    with reading(books.engine) as connection:
        assert due_schedules(connection, MONDAY)[0].next_at == one.next_at
        assert list_audit(connection)[-1].action == "schedule.run"
    at_once: Schedule = schedule(books.engine, name="alarm", content=Content.ANOMALY, table=None)
    with pytest.raises(StoreError, match="when they are found"):
        make_now(books.engine, at_once, ACT)


def test_a_comparison_goes_back_some_days_and_says_what_differs(books: Books) -> None:
    """The days before are compared again too; without an admin key the reason is sent."""
    asked = []

    def reconcile(days: int, act: Act) -> Reconciliation:
        asked.append((days, act.actor))
        scope = Scope(NOW.date() - timedelta(days=days), NOW.date() + timedelta(days=1))
        terms, said = Terms(timedelta(), Threshold(0, 0)), TheirSide((), (), act.at + timedelta(days=1))
        with writing(books.engine) as connection:
            rows = compare_bill(connection, scope, terms, said, {})
            return record(connection, scope, terms, said, rows, act)

    one = schedule(books.engine, name="bill", content=Content.RECONCILIATION, table=DAILY)
    with reading(books.engine) as connection:
        assert reconciled_since(connection) == NOW.date()
    make_due(books.engine, one, NOW + timedelta(days=1), reconcile)
    make_now(books.engine, one, ACT)
    assert asked == [(7, "schedule:bill")]
    told, without = sent(books.engine)
    assert (told["first_on"], told["last_on"], told["zone"]) == ("2026-11-16", "2026-11-23", "UTC")
    compared = told["reconciliation"]
    assert compared["is_over"] and compared["unexplained_usd"] == compared["ours_usd"] == "0.048000000"
    assert [row["model"] for row in compared["worst_rows"]] == ["gpt-realtime-2.1"]
    assert without["problem"] == "The provider's bill cannot be read here."


@EMBEDDED
def test_a_comparison_is_of_the_installation_and_regular(books: Books) -> None:
    for tenant, table, problem in (("acme", DAILY, "without a tenant"), (None, None, "how often")):
        with pytest.raises(StoreError, match=problem):
            schedule(books.engine, name="b", content=Content.RECONCILIATION, table=table, tenant=tenant)
