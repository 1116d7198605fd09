"""What stands in the way of closing a period: each is cleared, or overridden with a reason.

A period that is closed cannot get what belongs into it any more; that would be booked as a correction of the
next one. So everything that may still come, or still change, is looked for first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from proxy.core.money import format_usd
from proxy.core.periods import Periods, month_after, month_before, span_of
from proxy.store.columns import EPOCH
from proxy.store.corrections import CURRENT
from proxy.store.instance_list import is_forgotten
from proxy.store.instants import format_instant
from proxy.store.leases import LIVE_FOR
from proxy.store.periods import Closes
from proxy.store.reconciliations import Day, reconciled_since, verdicts
from proxy.store.schema import instance, ledger_entry, session

EXAMPLES_MAX = 5
_DAY, _MOMENT = timedelta(days=1), timedelta(microseconds=1)
JOURNALS, UNRATED, ZONE, DAYS = "journals", "unrated", "zone", "days"
NAMES = (JOURNALS, UNRATED, ZONE, DAYS)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One kind of thing in the way: what is wrong with how many, some of them, and how to clear it."""

    name: str
    count: int
    problem: str
    remedy: str
    examples: Sequence[str]


@dataclass(frozen=True, slots=True)
class Closing:
    """The period that is to be closed, and how far the books are closed now."""

    connection: Connection
    period: str
    periods: Periods
    closes: Closes
    now: datetime


def obstacles(closing: Closing) -> list[Obstacle]:
    """Return what stands in the way."""
    return [found for look in _LOOKS if (found := look(closing)) is not None]


# --- Journals


def _journals(closing: Closing) -> Obstacle | None:
    """Find instances that may have usage of the period which is not in the ledger yet.

    An instance that did not end well was overridden with the whole, if a close has done that since it was
    last heard of: it does not stand in the way of every later period too.
    """
    end = span_of(closing.period, closing.periods.zone).end
    overridden_at = max((one.closed_at for one in closing.closes if _overrode(one, JOURNALS)), default=EPOCH)
    unfinished = _unfinished(closing.connection, end)
    known = {row.id: row for row in closing.connection.execute(_instances(list(unfinished)))}
    found = []
    for instance_id in sorted(known.keys() | unfinished.keys()):
        row, (sessions, heard_at) = known.get(instance_id), unfinished.get(instance_id, (0, EPOCH))
        heard_at = row.seen_at if row is not None else heard_at
        if row is not None and is_forgotten(row):  # whoever forgot it was told what that hides
            continue
        is_live = row is not None and row.seen_at > closing.now - LIVE_FOR
        if is_live or heard_at > overridden_at:
            problem = _problem(row, sessions, end, is_live=is_live)
            found += [f"{instance_id}: {problem}"] if problem else []
    if not found:
        return None
    return Obstacle(
        JOURNALS,
        len(found),
        "instances may have usage of this month that is not in the ledger",
        "start again what did not end well, on its journal (if that is lost, forget it); wait for the others",
        found[:EXAMPLES_MAX],
    )


def _overrode(close: Any, name: str) -> bool:
    return any(one["what"] == name for one in close.overridden)


def _unfinished(connection: Connection, end: datetime) -> dict[str, tuple[int, datetime]]:
    """Return how many sessions of each instance began before `end` and are not over, and the last one."""
    of = session.c
    query = select(of.instance_id, func.count(), func.max(of.opened_at)).group_by(of.instance_id)
    rows = connection.execute(query.where(of.closed_at.is_(None), of.opened_at < end))
    return {row[0]: (row[1], row[2]) for row in rows}


def _instances(unfinished: Sequence[str]) -> Any:
    """Select those that have not ended, and those that left sessions open."""
    return select(instance).where(instance.c.ended_at.is_(None) | instance.c.id.in_(unfinished))


def _problem(row: Any, sessions: int, end: datetime, *, is_live: bool) -> str | None:
    """Return what an instance may still have, None if it has nothing."""
    if row is None:
        return f"{sessions} sessions are not over, and it was never seen"
    if not is_live and (row.ended_at is None or sessions):
        return f"did not end well, last seen {format_instant(row.seen_at)}, journal {row.journal_path}"
    if row.parked:
        return f"{row.parked} records are parked in its journal: the ledger refused them"
    if row.unposted_from is not None and row.unposted_from < end:
        return f"runs, and has posted nothing since {format_instant(row.unposted_from)}"
    return f"{sessions} sessions that began before the month was over go on" if sessions else None


# --- Entries


def _unrated(closing: Closing) -> Obstacle | None:
    """Find entries without a price that nothing has replaced."""
    entry = ledger_entry.c
    wanted = (entry.period == closing.period, entry.cost_nanousd.is_(None), CURRENT)
    count, examples = _found(closing.connection, *wanted)
    if not count:
        return None
    return Obstacle(
        UNRATED,
        count,
        "entries have no price, and would be stated without an amount",
        "give their models prices, then rate again what is unrated",
        [f"entry {row.id}: {row.model or 'no model'}" for row in examples],
    )


def _zone(closing: Closing) -> Obstacle | None:
    """Find entries of the period that were booked by the months of another time zone than the ledger's."""
    entry, period = ledger_entry.c, closing.period
    span = span_of(period, closing.periods.zone)
    inside = (entry.occurred_at >= span.start) & (entry.occurred_at < span.end)
    before = closing.closes.find(month_before(period))
    late = (entry.occurred_at < span.start) & (entry.id > before.entries) if before else None
    fits = inside | late if late is not None else inside
    beside = [
        one for one in (month_before(period), month_after(period)) if not closing.periods.is_closed(one)
    ]
    misfits = ((entry.period == period) & ~fits) | (entry.period.in_(beside) & inside)
    count, examples = _found(closing.connection, misfits)
    if not count:
        return None
    return Obstacle(
        ZONE,
        count,
        f"entries were booked by months of another time zone than {closing.periods.zone}",
        "before the first close: set TALKMETER_PERIOD_TIMEZONE to the zone that they were booked by",
        [f"entry {row.id}: {format_instant(row.occurred_at)} in {row.period}" for row in examples],
    )


def _found(connection: Connection, *wanted: ColumnElement[bool]) -> tuple[int, Sequence[Any]]:
    """Return how many entries are wanted, and the first of them."""
    entry = ledger_entry.c
    count = connection.execute(select(func.count()).select_from(ledger_entry).where(*wanted)).scalar_one()
    query = select(entry.id, entry.model, entry.occurred_at, entry.period).where(*wanted).order_by(entry.id)
    return count, connection.execute(query.limit(EXAMPLES_MAX)).all() if count else ()


# --- Days


def _days(closing: Closing) -> Obstacle | None:
    """Find UTC days of the period that do not agree with the provider's bill, or were not compared with it.

    Only from the first day on that was ever compared, or from when on a schedule does it: nobody has to.
    """
    since = reconciled_since(closing.connection)
    span = span_of(closing.period, closing.periods.zone)
    first, last = span.start.astimezone(UTC).date(), (span.end - _MOMENT).astimezone(UTC).date()
    if since is None or since > last:
        return None
    first = max(first, since)
    said = verdicts(closing.connection, first, last + _DAY)
    found = []
    while first <= last:
        found += [f"{first}: {problem}"] if (problem := _day_problem(said.get(first))) else []
        first += _DAY
    if not found:
        return None
    return Obstacle(
        DAYS,
        len(found),
        "days do not agree with the provider's bill, or were not compared with it",
        "reconcile them once the provider's delay has passed, and book what differs or say why",
        found[:EXAMPLES_MAX],
    )


def _day_problem(day: Day | None) -> str | None:
    if day is None:
        return "not compared since it was over and the provider's delay had passed"
    if day.is_over:
        return f"${format_usd(day.amounts['unexplained'])} unexplained"
    return None


_LOOKS: Sequence[Callable[[Closing], Obstacle | None]] = (_journals, _unrated, _zone, _days)
