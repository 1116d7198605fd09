"""Reconciliations: our ledger compared with the provider's bill, kept for good.

`compare_bill` compares and only reads; `record` keeps it, and announces the days of which too much is
unexplained. A day counts as reconciled once it was compared after the provider's delay.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from math import inf
from typing import Any

from sqlalchemy import Connection, func, insert, select

from proxy.core.announced import Announced
from proxy.core.bill import Charge, Count, bill
from proxy.core.money import AMOUNT_NANOUSD_MAX, usd
from proxy.core.reconcile import (
    Cause,
    Row,
    Threshold,
    books,
    by_day,
    compare,
    is_final,
    sole_project,
    sums,
)
from proxy.core.windows import Span
from proxy.ids import new_id
from proxy.store import NotFound, StoreError
from proxy.store.audit import Act
from proxy.store.instants import format_instant
from proxy.store.line_items import load_line_items
from proxy.store.our_side import our_side, price_history
from proxy.store.outbox import Announcement, announce
from proxy.store.pages import EVERYTHING, Page
from proxy.store.schedules import Content
from proxy.store.schema import reconciliation, reconciliation_day, reconciliation_row, schedule

DAYS_MAX = 92
ROWS_MAX = 50_000
_ROWS_PER_INSERT = 500
_DAY = timedelta(days=1)
AMOUNTS = ("ours", "theirs", *(cause.value for cause in Cause), "unexplained")


@dataclass(frozen=True, slots=True)
class Scope:
    """What is compared: UTC days from `first_on` up to `end_on`; all of their projects and keys, or some."""

    first_on: date
    end_on: date
    projects: Sequence[str] = ()
    keys: Sequence[str] = ()

    @property
    def read(self) -> Span:
        """Return the instants that are read: a day more at either end, for what happened around midnight."""
        return Span(_midnight(self.first_on - _DAY), _midnight(self.end_on + _DAY))


@dataclass(frozen=True, slots=True)
class Terms:
    """When their bill is relied on, and what is too much of a difference."""

    delay: timedelta
    threshold: Threshold


@dataclass(frozen=True, slots=True)
class TheirSide:
    """What the provider said, and when."""

    charges: Sequence[Charge]
    counts: Sequence[Count]
    at: datetime


@dataclass(frozen=True, slots=True)
class Day:
    """What one day came to. `amounts` are nano-dollars by AMOUNTS, the unexplained without signs."""

    on: date
    is_final: bool
    amounts: Mapping[str, int]
    limit_nanousd: int

    @property
    def is_over(self) -> bool:
        return self.is_final and self.amounts["unexplained"] > self.limit_nanousd

    def as_json(self) -> dict[str, Any]:
        return {
            "on": self.on.isoformat(),
            "is_final": self.is_final,
            "is_over": self.is_over,
            **_amounts(self.amounts),
            **usd("limit", self.limit_nanousd),
        }


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """One comparison, with its days."""

    id: str
    at: datetime
    actor: str
    scope: Scope
    terms: Terms
    rows: int
    days: Sequence[Day]

    @property
    def is_over(self) -> bool:
        return any(day.is_over for day in self.days)

    def as_json(self) -> dict[str, Any]:
        totals = {name: sum(day.amounts[name] for day in self.days) for name in AMOUNTS}
        return {
            "id": self.id,
            "at": format_instant(self.at),
            "actor": self.actor,
            "from": self.scope.first_on.isoformat(),
            "to": self.scope.end_on.isoformat(),
            "projects": list(self.scope.projects),
            "keys": list(self.scope.keys),
            "delay_s": self.terms.delay // timedelta(seconds=1),
            "row_count": self.rows,
            "is_over": self.is_over,
            **_amounts(totals),
            "days": [day.as_json() for day in self.days],
        }


def check_scope(scope: Scope, now: datetime) -> None:
    """Raises StoreError: these days cannot be compared."""
    days = (scope.end_on - scope.first_on).days
    today = now.astimezone(UTC).date()
    if days <= 0:
        raise StoreError("The days to compare end before they begin: give an end after the first day.")
    if days > DAYS_MAX:
        raise StoreError(f"At most {DAYS_MAX} days are compared at once: these are {days}.")
    if scope.first_on > today:
        raise StoreError(f"{scope.first_on} is not here yet: compare days up to today, {today}, in UTC.")


def compare_bill(
    connection: Connection, scope: Scope, terms: Terms, said: TheirSide, aliases: Mapping[str, str]
) -> list[Row]:
    """Return the comparison of these days, row by row.

    Raises:
        StoreError: it has too many rows.
    """
    told = [charge.project for charge in said.charges] + [count.project for count in said.counts]
    sole = sole_project(scope.projects or told)
    booked = our_side(connection, scope.read, said.at - terms.delay)
    ours = books(booked, aliases, lambda project: project or sole)
    if scope.projects:  # what nobody knows the project of is ours to ask for, too
        ours = {cell: own for cell, own in ours.items() if cell.project in (None, *scope.projects)}
    theirs = bill(said.charges, said.counts, load_line_items(connection), ours)
    found = compare(ours, theirs, price_history(connection, aliases))
    rows = [row for row in found if scope.first_on <= row.cell.on < scope.end_on]
    if len(rows) > ROWS_MAX:
        raise StoreError(f"There are {len(rows):,} rows, more than {ROWS_MAX:,}: compare fewer days.")
    return rows


def record(
    connection: Connection, scope: Scope, terms: Terms, said: TheirSide, rows: Sequence[Row], act: Act
) -> Reconciliation:
    """Keep a comparison, and announce what is over its limit; the same difference of a day once.

    Raises:
        StoreError: the bill comes to more than a ledger can hold.
    """
    id = new_id("rec")
    days = [_day(on, own, terms, said.at) for on, own in by_day(rows, scope.first_on, scope.end_on)]
    of_days = [_day_values(id, day) for day in days]
    values = [_row_values(id, number, row) for number, row in enumerate(rows, 1)]
    _check([*of_days, *values, *(row.theirs.keys for row in rows)])
    connection.execute(
        insert(reconciliation).values(
            id=id,
            at=said.at,
            actor=act.actor,
            first_on=scope.first_on.isoformat(),
            end_on=scope.end_on.isoformat(),
            delay_s=terms.delay // timedelta(seconds=1),
            threshold_nanousd=terms.threshold.nanousd,
            threshold_percent=terms.threshold.percent,
            upstream_projects=list(scope.projects),
            upstream_keys=list(scope.keys),
            row_count=len(rows),
        )
    )
    connection.execute(insert(reconciliation_day), of_days)
    for start in range(0, len(values), _ROWS_PER_INSERT):
        connection.execute(insert(reconciliation_row), values[start : start + _ROWS_PER_INSERT])
    announce(connection, [_announcement(id, day, act.at) for day in days if day.is_over])
    made = Reconciliation(id, said.at, act.actor, scope, terms, len(rows), days)
    about = {"from": scope.first_on.isoformat(), "to": scope.end_on.isoformat(), "is_over": made.is_over}
    act.note(connection, "reconciliation.run", id, after=about)
    return made


def list_reconciliations(connection: Connection, page: Page = EVERYTHING) -> list[Reconciliation]:
    """Return comparisons, by id."""
    rows = connection.execute(page.of(select(reconciliation), reconciliation.c.id, tenant_id=None)).all()
    of_day = reconciliation_day.c
    days: dict[str, list[Day]] = {row.id: [] for row in rows}
    query = select(reconciliation_day).where(of_day.reconciliation_id.in_(days)).order_by(of_day.on_day)
    for row in connection.execute(query) if rows else ():
        days[row.reconciliation_id].append(_read_day(row))
    return [_read(row, days[row.id]) for row in rows]


def find_reconciliation(connection: Connection, id: str) -> Reconciliation:
    """Raises StoreError: there is no such reconciliation."""
    row = connection.execute(select(reconciliation).where(reconciliation.c.id == id)).first()
    if row is None:
        raise NotFound(
            f"There is no reconciliation {id[:60]!r}: the list of reconciliations says which there are."
        )
    of_day = reconciliation_day.c
    query = select(reconciliation_day).where(of_day.reconciliation_id == id).order_by(of_day.on_day)
    return _read(row, [_read_day(one) for one in connection.execute(query)])


def rows_of(connection: Connection, id: str, page: Page = EVERYTHING) -> list[dict[str, Any]]:
    """Return the rows of a comparison as programs get them, by their numbers."""
    of = reconciliation_row.c
    query = select(reconciliation_row).where(of.reconciliation_id == id)
    return [_row_json(row) for row in connection.execute(page.of(query, of.number, tenant_id=None))]


def worst_rows(connection: Connection, id: str, limit: int) -> list[dict[str, Any]]:
    """Return the rows of a comparison of which most is unexplained, and nothing that agrees."""
    of = reconciliation_row.c
    query = select(reconciliation_row).where(of.reconciliation_id == id, of.unexplained_nanousd != 0)
    worst = query.order_by(func.abs(of.unexplained_nanousd).desc(), of.number).limit(limit)
    return [_row_json(row) for row in connection.execute(worst)]


def last_variance(connection: Connection) -> float | None:
    """Return what share of the bill the last comparison could not explain; None if there was none.

    Infinite where they charge nothing for what we have booked.
    """
    of, of_day = reconciliation.c, reconciliation_day.c
    last = connection.execute(select(of.id).order_by(of.at.desc(), of.id.desc()).limit(1)).scalar()
    if last is None:
        return None
    amounts = select(of_day.theirs_nanousd, of_day.unexplained_nanousd).where(
        of_day.reconciliation_id == last
    )
    days = connection.execute(amounts).all()
    theirs, unexplained = (sum(abs(int(day[at])) for day in days) for at in (0, 1))
    if not theirs:
        return inf if unexplained else 0.0
    return unexplained / theirs


def verdicts(connection: Connection, first: date, end: date) -> dict[date, Day]:
    """Return what was last said of each of these days after the provider's delay."""
    of = reconciliation_day.c
    query = (
        select(reconciliation_day)
        .join(reconciliation, reconciliation.c.id == of.reconciliation_id)
        .where(of.on_day >= first.isoformat(), of.on_day < end.isoformat(), of.is_final)
        .order_by(reconciliation.c.at, reconciliation.c.id)
    )
    days = [_read_day(row) for row in connection.execute(query)]
    return {day.on: day for day in days}


def reconciled_since(connection: Connection) -> date | None:
    """Return the first day that was ever compared, or since when a schedule does it; None: nobody does."""
    compared = connection.execute(select(func.min(reconciliation.c.first_on))).scalar_one()
    wanted = schedule.c.content == Content.RECONCILIATION
    scheduled = connection.execute(select(func.min(schedule.c.created_at)).where(wanted)).scalar_one()
    days = [date.fromisoformat(compared)] if compared else []
    days += [scheduled.astimezone(UTC).date()] if scheduled else []
    return min(days, default=None)


# --- Rows


def _day(on: date, rows: Iterable[Row], terms: Terms, at: datetime) -> Day:
    total = sums(rows)
    amounts = {"ours": total.ours, "theirs": total.theirs, "unexplained": total.unexplained}
    causes = {cause.value: amount for cause, amount in total.causes.items()}
    return Day(on, is_final(on, at, terms.delay), {**amounts, **causes}, terms.threshold.of(total.theirs))


def _check(found: Iterable[Mapping[str, object]]) -> None:
    """Raises StoreError: a number is larger than what a BIGINT column holds."""
    for values in found:
        if any(isinstance(one, int) and abs(one) > AMOUNT_NANOUSD_MAX for one in values.values()):
            raise StoreError(
                "The provider's bill has numbers that no ledger can hold: compare fewer days, or ask the"
                " provider what they are."
            )


def _day_values(id: str, day: Day) -> dict[str, Any]:
    return {
        "reconciliation_id": id,
        "on_day": day.on.isoformat(),
        "is_final": day.is_final,
        "limit_nanousd": day.limit_nanousd,
        **{f"{name}_nanousd": amount for name, amount in day.amounts.items()},
    }


def _row_values(id: str, number: int, row: Row) -> dict[str, Any]:
    cell, ours, theirs = row.cell, row.ours, row.theirs
    return {
        "reconciliation_id": id,
        "number": number,
        "on_day": cell.on.isoformat(),
        "project": cell.project,
        "model": cell.model,
        "meter": cell.meter.value if cell.meter else None,
        "line_item": cell.line_item,
        "ours_quantity": ours.quantity,
        "theirs_quantity": theirs.quantity,
        "ours_nanousd": ours.nanousd,
        "theirs_nanousd": theirs.nanousd,
        **{f"{cause.value}_nanousd": row.causes.get(cause, 0) for cause in Cause},
        "unexplained_nanousd": row.unexplained,
        "unrated_quantity": ours.unrated,
        "uncounted": ours.uncounted,
        "upstream_keys": theirs.keys,
    }


def _row_json(row: Any) -> dict[str, Any]:
    amounts = {name: getattr(row, f"{name}_nanousd") for name in AMOUNTS}
    return {
        "number": row.number,
        "on": row.on_day,
        "project": row.project,
        "model": row.model,
        "meter": row.meter,
        "line_item": row.line_item,
        "ours_quantity": row.ours_quantity,
        "theirs_quantity": row.theirs_quantity,
        "unrated_quantity": row.unrated_quantity,
        "uncounted_entries": row.uncounted,
        **_amounts(amounts),
        "keys": row.upstream_keys,
    }


def _amounts(amounts: Mapping[str, int]) -> dict[str, Any]:
    """Return amounts as programs get them, with the difference that they sum to."""
    found: dict[str, Any] = {}
    for name in ("ours", "theirs"):
        found |= usd(name, amounts[name])
    found |= usd("difference", amounts["theirs"] - amounts["ours"])
    for name in AMOUNTS[2:]:
        found |= usd(name, amounts[name])
    return found


def _read_day(row: Any) -> Day:
    amounts = {name: getattr(row, f"{name}_nanousd") for name in AMOUNTS}
    return Day(date.fromisoformat(row.on_day), row.is_final, amounts, row.limit_nanousd)


def _read(row: Any, days: Sequence[Day]) -> Reconciliation:
    first, end = date.fromisoformat(row.first_on), date.fromisoformat(row.end_on)
    scope = Scope(first, end, tuple(row.upstream_projects), tuple(row.upstream_keys))
    terms = Terms(timedelta(seconds=row.delay_s), Threshold(row.threshold_nanousd, row.threshold_percent))
    return Reconciliation(row.id, row.at, row.actor, scope, terms, row.row_count, days)


def _announcement(id: str, day: Day, now: datetime) -> Announcement:
    """Another difference of the same day is announced again, the same one is not."""
    amounts = day.amounts
    key = f"unexplained/{day.on}/{amounts['ours']}/{amounts['theirs']}/{amounts['unexplained']}"
    payload = {"reconciliation_id": id, "on": day.on.isoformat()}
    payload |= {name: value for name, value in day.as_json().items() if name.endswith(("_nanousd", "_usd"))}
    return Announcement(key, Announced.SPEND_UNEXPLAINED, None, now, payload)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
