"""Saved reports: what is kept of a question, who it is about, and what it answers."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, update

from proxy.core.usage import Meter
from proxy.store import NotFound, StoreError, saved_reports
from proxy.store.audit import list_audit
from proxy.store.database import open_database, reading, writing
from proxy.store.filters import Filters
from proxy.store.reports import CostQuery, run
from proxy.store.saved_reports import (
    SavedReport,
    Wanted,
    change_report,
    find_report,
    forget_report,
    list_reports,
    rename_report,
    run_saved,
    save_report,
)
from proxy.store.schedules import Content
from proxy.store.schema import saved_report
from tests.ledgers import Books
from tests.scheduling import ACT, EMBEDDED, NOW, save, schedule

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def books(database: Engine) -> Books:
    books = Books(database)
    for session, tenant in (("s1", "acme"), ("s2", "globex")):
        books.open(session, tenant, "web", end_user="zoë")
        days = [(NOW - timedelta(days=days), {Meter.TEXT_OUT: 1 + days}) for days in range(10)]
        books.post(*(books.entry(session, f"{session}-{at}", counts, at=at) for at, counts in days))
    return books


def wanted(name: str = "costs", span: str = "last-week", **filters: Any) -> Wanted:
    return Wanted(name, CostQuery(("model",), Filters(**filters), BERLIN), span)


def test_it_answers_what_the_report_with_its_times_does(books: Books) -> None:
    saved = save(
        books.engine, groups=("tenant", "day"), filters=Filters(project="web", tenant=None), tenant="acme"
    )
    told = run_saved(books.engine, saved, NOW, is_billed=False)
    start, end = datetime(2026, 11, 16, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC)
    filters = Filters(start=start, end=end, tenant="acme", project="web")
    same = run(books.engine, CostQuery(("tenant", "day"), filters, UTC))
    assert (told.rows, told.total) == (same.rows, same.total) and told.total["responses"] == 7
    later = run_saved(books.engine, saved, NOW + timedelta(days=7), is_billed=False)
    assert later.total["responses"] == 1


@EMBEDDED
def test_a_tenants_is_about_that_tenant_whatever_is_asked(books: Books) -> None:
    with writing(books.engine) as connection, pytest.raises(StoreError, match="has a span"):
        save_report(connection, wanted(session="s1"), ACT, tenant="acme")
    installation = save(books.engine, groups=("tenant",))
    acme = frozenset({books.key("acme").tenant_id})
    for within, tenants in ((None, ["acme", "globex"]), (acme, ["acme"])):
        told = run_saved(books.engine, installation, NOW, is_billed=True, within=within)
        assert [row["tenant"] for row in told.rows] == tenants


def test_names_are_one_tenants_own(books: Books) -> None:
    engine, acme = books.engine, books.key("acme").tenant_id
    own, other, all_ = save(engine, tenant="acme"), save(engine, tenant="globex"), save(engine)
    with reading(engine) as connection:
        assert [one.id for one in list_reports(connection)] == [all_.id, own.id, other.id]
        assert list_reports(connection, "acme") == [own]
        assert find_report(connection, "costs", "acme") == own == find_report(connection, own.id)
        assert find_report(connection, "costs", within=frozenset({acme})) == own
        with pytest.raises(StoreError, match="acme, globex, the installation"):
            find_report(connection, "costs")
        for hidden in (other.id, all_.id):
            with pytest.raises(NotFound):
                find_report(connection, hidden, within=frozenset({acme}))


def test_saving_again_changes_it_and_the_audit_log_keeps_what_it_was(books: Books) -> None:
    engine = books.engine
    with writing(engine) as connection:
        first = save_report(connection, wanted(), ACT)
        assert save_report(connection, wanted(), ACT) == first
        again = save_report(connection, wanted(model="m"), ACT)
        assert (again.id, again.query["filters"]) == (first.id, {"model": "m"})
        with pytest.raises(StoreError, match="already"):
            save_report(connection, wanted(), ACT, only_new=True)
        renamed = rename_report(connection, "costs", "all costs", ACT)
        assert (renamed.id, renamed.query) == (first.id, again.query)
        other = save_report(connection, wanted(), ACT)
        with pytest.raises(StoreError, match="already"):
            change_report(connection, other.id, wanted("all costs"), ACT)
        forget_report(connection, renamed.id, ACT)
        noted = list_audit(connection)
    assert [(one.action, one.object) for one in noted][-5:] == [
        ("report.save", first.id),
        ("report.save", first.id),
        ("report.save", first.id),
        ("report.save", other.id),
        ("report.forget", first.id),
    ]
    assert noted[-3].before is not None and noted[-3].after is not None
    assert (noted[-3].before["name"], noted[-3].after["name"]) == ("costs", "all costs")
    assert noted[-1].before == {"name": "all costs", "span": "last-week", **again.query}


@EMBEDDED
def test_an_end_user_is_kept_by_id_since_a_name_can_be_erased(books: Books) -> None:
    with writing(books.engine) as connection:
        saved = save_report(connection, wanted(end_user="zoë"), ACT, tenant="acme")
        assert saved.query["filters"]["end_user"] != "zoë" and "zoë" not in str(list_audit(connection))
        with pytest.raises(StoreError, match="Several tenants"):
            save_report(connection, wanted(end_user="zoë"), ACT)
        with pytest.raises(NotFound, match="end user"):
            save_report(connection, wanted(end_user="nobody"), ACT)
    assert run_saved(books.engine, saved, NOW, is_billed=False).total["responses"] == 7


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": ""}, "A name has"),
        ({"name": "two\nlines"}, "A name has"),
        ({"span": "last-year"}, "no span"),
        ({"query": CostQuery(("zodiac",), zone=BERLIN)}, "nothing to group by"),
        ({"query": CostQuery((), Filters(start=NOW), BERLIN)}, "has a span"),
        ({"query": CostQuery((), Filters(period="2026-11"), BERLIN)}, "has a span"),
        ({"query": CostQuery((), Filters(kind="gift"), BERLIN)}, "is no kind"),
        ({"query": CostQuery((), Filters(meter="audio_in", modality="text"), BERLIN)}, "one of the two"),
        ({"query": CostQuery((), Filters(project="none"), BERLIN)}, "no project"),
        ({"query": CostQuery((), Filters(tag="team"), BERLIN)}, "no tag"),
    ],
)
def test_what_cannot_be_asked_is_not_saved(sqlite_url: str, change: dict[str, Any], says: str) -> None:
    engine = open_database(sqlite_url)
    with writing(engine) as connection, pytest.raises(StoreError, match=says):
        save_report(connection, replace(wanted(), **change), ACT)
    engine.dispose()


@EMBEDDED
def test_there_is_a_limit_and_what_a_schedule_sends_stays(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved_reports, "REPORTS_MAX", 3)
    with writing(books.engine) as connection:
        for number in range(3):
            save_report(connection, wanted(f"r{number}"), ACT)
        with pytest.raises(StoreError, match="at most 3"):
            save_report(connection, wanted(), ACT)
        save_report(connection, wanted(), ACT, tenant="acme")
    schedule(books.engine, content=Content.REPORT, report="r1")
    with writing(books.engine) as connection, pytest.raises(StoreError, match="'weekly' sends"):
        forget_report(connection, "r1", ACT)


@EMBEDDED
def test_what_this_version_cannot_read_is_said(books: Books) -> None:
    saved = save(books.engine)
    for query in ({}, {"filters": {"zodiac": "leo"}, "group_by": [], "zone": "UTC", "count_sessions": False}):
        with writing(books.engine) as connection:
            connection.execute(update(saved_report).values(query=query))
        with reading(books.engine) as connection, pytest.raises(StoreError, match="save it again"):
            _read(find_report(connection, saved.id))


def _read(saved: SavedReport) -> CostQuery:
    return saved.cost_query()
