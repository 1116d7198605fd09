"""Occurrences: what a schedule sends when it is due, made once and put into the outbox.

What is sent is made before the transaction that announces it, since a report can take its time and SQLite has
one writer. That transaction moves the schedule on from the occurrence it was made for; whoever finds it moved
on already has made it in vain. So a process that dies has either announced an occurrence or not begun it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Engine

from proxy.core.announced import REPORT
from proxy.core.spans import before, window_span
from proxy.core.timetable import Every, Timetable, catch_up
from proxy.core.windows import Span, Window, midnight
from proxy.store import StoreError
from proxy.store.anomalies import listed
from proxy.store.audit import Act
from proxy.store.columns import to_micros
from proxy.store.database import reading, writing
from proxy.store.digest import Digest
from proxy.store.instants import format_instant, parse_zone
from proxy.store.outbox import Announcement, announce
from proxy.store.reconciliations import Reconciliation, worst_rows
from proxy.store.reports import Report, ReportRow
from proxy.store.saved_reports import find_report, run_saved
from proxy.store.schedules import Content, Schedule, move_on

DAYS_BACK = {Every.DAY: 7, Every.WEEK: 14, Every.MONTH: 38}  # that a scheduled comparison goes
WORST_ROWS_MAX = 50
Reconcile = Callable[[int, Act], Reconciliation]  # the last so many days whose bill is complete

ROWS_MAX = 1_000  # of a report that is sent; more are left out, which it says
_MOMENT = timedelta(microseconds=1)
_WINDOWS = {Every.DAY: Window.DAY, Every.WEEK: Window.WEEK, Every.MONTH: Window.MONTH}


@dataclass(frozen=True, slots=True)
class Made:
    """An occurrence that was announced. `problem` says why there is nothing in it."""

    schedule: Schedule
    due_at: datetime
    skipped: int
    problem: str | None


def make_due(engine: Engine, one: Schedule, now: datetime, reconcile: Reconcile | None = None) -> Made | None:
    """Make what is due of a schedule and announce it; return None where somebody else did.

    Of several occurrences that were missed the latest is made, and says how many were not.
    """
    assert one.timetable is not None and one.next_at is not None, "something is due"
    due = catch_up(one.timetable, one.next_at, now)
    act = Act(f"schedule:{one.name}", now)
    payload = _payload(engine, one, due.latest, due.skipped, act, reconcile)
    with writing(engine) as connection:
        if not move_on(connection, one, due.following):
            return None
        new = announce(connection, [_announcement(one, f"{to_micros(due.latest)}", payload, now)])
    return Made(one, due.latest, due.skipped, payload["problem"]) if new else None


def make_now(engine: Engine, one: Schedule, act: Act, reconcile: Reconcile | None = None) -> Made:
    """Make what a schedule would send if it were due now, and announce it. The next occurrence stays.

    Raises:
        StoreError: it tells at once, so there is nothing to make.
    """
    if one.timetable is None:
        raise StoreError(
            f"The schedule {one.name!r} tells anomalies when they are found: there is no report."
        )
    payload = _payload(engine, one, act.at, 0, act, reconcile)
    with writing(engine) as connection:
        announce(connection, [_announcement(one, f"now/{to_micros(act.at)}", payload, act.at)])
        act.note(connection, "schedule.run", one.id, tenant_id=one.tenant_id)
    return Made(one, act.at, 0, payload["problem"])


def _announcement(one: Schedule, key: str, payload: Mapping[str, Any], now: datetime) -> Announcement:
    return Announcement(f"schedule/{one.id}/{key}", REPORT, one.tenant_id, now, payload, one.id)


def _payload(
    engine: Engine, one: Schedule, due_at: datetime, skipped: int, act: Act, reconcile: Reconcile | None
) -> dict[str, Any]:
    """Return what is sent. What cannot be made is sent too, with the reason: nobody waits for it in vain."""
    about = {
        "schedule_id": one.id,
        "schedule": one.name,
        "tenant": one.tenant,
        "content": one.content.value,
        "due_at": format_instant(due_at),
        "skipped": skipped,
        "problem": None,
    }
    try:
        return about | _content(engine, one, due_at, act, reconcile)
    except StoreError as problem:
        return about | {"problem": str(problem)}


def _content(
    engine: Engine, one: Schedule, due_at: datetime, act: Act, reconcile: Reconcile | None
) -> dict[str, Any]:
    table = one.timetable
    assert table is not None, "it is due at some time"
    match one.content:
        case Content.REPORT:
            return _report(engine, one, due_at)
        case Content.DIGEST:
            span, earlier = _last(table, due_at)
            digest = Digest(span, earlier, table.zone, one.tenant_id)
            return _times(span, table.zone) | {"digest": digest.make(engine, due_at)}
        case Content.ANOMALY:
            span, _ = _last(table, due_at)
            with reading(engine) as connection:
                found = listed(connection, span, one.tenant_id)
            return _times(span, table.zone) | {"anomalies": found}
        case Content.RECONCILIATION:
            return _reconciled(engine, table, act, reconcile)


def _reconciled(engine: Engine, table: Timetable, act: Act, reconcile: Reconcile | None) -> dict[str, Any]:
    """Compare the days before, some of them again: a bill may change, and a day may have been missed."""
    if reconcile is None:
        raise StoreError("The provider's bill cannot be read here.")
    made = reconcile(DAYS_BACK[table.every], act)
    with reading(engine) as connection:
        rows = worst_rows(connection, made.id, WORST_ROWS_MAX)
    utc = parse_zone("UTC")
    span = Span(midnight(utc, made.scope.first_on), midnight(utc, made.scope.end_on))
    return _times(span, utc) | {"reconciliation": made.as_json() | {"worst_rows": rows}}


def _last(table: Timetable, due_at: datetime) -> tuple[Span, Span]:
    """Return the last whole day, week or month before `due_at`, and the one before that."""
    window = _WINDOWS[table.every]
    last = before(window, table.zone, window_span(window, table.zone, due_at))
    return last, before(window, table.zone, last)


def _report(engine: Engine, one: Schedule, due_at: datetime) -> dict[str, Any]:
    with reading(engine) as connection:
        saved = find_report(connection, one.report_id or "")
    told = run_saved(engine, saved, due_at, is_billed=one.tenant_id is not None)
    filters = told.query.filters
    assert filters.start is not None and filters.end is not None, "a saved report has a span"
    times = _times(Span(filters.start, filters.end), parse_zone(saved.query["zone"]))
    return times | {"report": _report_json(saved.name, told)}


def _report_json(name: str, told: Report) -> dict[str, Any]:
    """Return a report as it is sent; `columns` keeps the order, which a JSON object has not."""
    first = told.rows[0] if told.rows else told.total
    return {
        "name": name,
        "group_by": list(told.query.group_by),
        "is_billed": told.query.is_billed,
        "columns": list(first),
        "rows": [_discreet(row) for row in told.rows[:ROWS_MAX]],
        "rows_left_out": max(0, len(told.rows) - ROWS_MAX),
        "total": dict(told.total),
    }


def _discreet(row: ReportRow) -> dict[str, Any]:
    """Return a row with an end user's id in the place of the name: what is sent cannot be erased."""
    return {**row, "end_user": row["end_user_id"]} if "end_user" in row else dict(row)


def _times(span: Span, zone: ZoneInfo) -> dict[str, Any]:
    """Return the instants, and for people the first and the last day, both inside."""
    first, last = (at.astimezone(zone).date() for at in (span.start, span.end - _MOMENT))
    return {
        "from": format_instant(span.start),
        "to": format_instant(span.end),
        "zone": zone.key,
        "first_on": first.isoformat(),
        "last_on": last.isoformat(),
    }
