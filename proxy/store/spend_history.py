"""What an amount would have meant: the windows and sessions of the last days, and which spent more than it.

Windows are whole ones. Those of all tenants, a tenant, a project or a key come from the rollups; those of end
users, and sessions, from the newest entries, of which there is a most. Usage without a price counts as
budgets charge it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, func, select, type_coerce

from proxy.core.budgets import Budget, Scope
from proxy.core.windows import Span, Window, midnight, span_at
from proxy.store.calendar import DAY, HOUR
from proxy.store.columns import EPOCH, from_micros
from proxy.store.end_users import end_user_id
from proxy.store.pages import Within
from proxy.store.rollup_sums import Cells
from proxy.store.rollups import QUARTER, Part
from proxy.store.schema import end_user, ledger_entry, rollup_group
from proxy.store.spend import METERED, charged, in_scope
from proxy.store.sums import exact, parts
from proxy.store.tenants import Tenant, find_key, find_project

DAYS = 30
ENTRIES_MAX = 50_000  # that are looked at: the newest
LARGEST_MAX = 10
_NOBODY = ""

_entry = ledger_entry.c
_BY_CELLS = {  # scopes that the rollups know, by the column that tells whose a cell is
    Scope.ORGANISATION: None,
    Scope.TENANT: (rollup_group.c.tenant_id, "tenant_id"),
    Scope.PROJECT: (rollup_group.c.project_id, "project_id"),
    Scope.KEY: (rollup_group.c.api_key_id, "api_key_id"),
}

Spent = dict[tuple[str, datetime], int]  # nano-dollars by the subject and the start of the window


@dataclass(frozen=True, slots=True)
class Largest:
    """A window or, in windows of sessions, a session. `end_user` is whose it is, where each has their own."""

    starts_at: datetime | None
    ends_at: datetime | None
    end_user: str | None
    session_id: str | None
    spent_nanousd: int


@dataclass(frozen=True, slots=True)
class SpendHistory:
    """What was spent window by window and session by session.

    `windows` are those of the calendar, or, of users or sessions that have one each, those in which something
    was spent. What is over is None without an amount. `entries_from` is None where all were looked at.
    """

    start: datetime
    windows: int
    windows_over: int | None
    sessions: int
    sessions_over: int | None
    largest_session: tuple[str, int] | None  # its id, and what it spent
    entries_from: datetime | None
    largest: Sequence[Largest]


def spend_history(
    connection: Connection, budget: Budget, now: datetime, within: Within = None
) -> SpendHistory:
    """Return what a budget like this one would have met with. Its id is not looked at; None has no amount.

    All tenants together are those `within`.
    """
    return _History(connection, budget, now, within).read()


def owner_ids(
    connection: Connection, scope: Scope, tenant: Tenant | None, name: str | None
) -> dict[str, Any]:
    """Return the ids besides its tenant's that a budget of `scope` has, where `name` is its owner's.

    An end user who was never there has an id that is nobody's.

    Raises:
        StoreError: the tenant has no such project or key.
    """
    if tenant is None or name is None:
        return {}
    if scope is Scope.PROJECT:
        return {"project_id": find_project(connection, tenant, name).id}
    if scope is Scope.KEY:
        return {"api_key_id": find_key(connection, name, frozenset({tenant.id})).id}
    return {"end_user_id": end_user_id(connection, tenant.id, name) or _NOBODY}


class _History:
    def __init__(self, connection: Connection, budget: Budget, now: datetime, within: Within) -> None:
        self._connection = connection
        self._budget = budget
        self._now = now
        self._within = within if budget.scope is Scope.ORGANISATION else None
        today = now.astimezone(budget.zone).date()
        self._since = midnight(budget.zone, today - timedelta(days=DAYS - 1))
        self._start = self._first_window()
        self._edge = self._newest(min(self._start, self._since))

    def read(self) -> SpendHistory:
        budget, amount = self._budget, self._budget.amount_nanousd
        sessions = self._sessions()
        windows = self._windows(sessions)
        over = None if amount is None else sum(one > amount for one in windows.values())
        largest = max(sessions.items(), key=lambda one: (one[1], one[0]), default=None)
        is_apart = budget.scope is Scope.EACH_USER or budget.window is Window.SESSION
        return SpendHistory(
            start=self._start,
            windows=len(windows) if is_apart else self._windows_in_calendar(),
            windows_over=over,
            sessions=len(sessions),
            sessions_over=None if amount is None else sum(one > amount for one in sessions.values()),
            largest_session=largest,
            entries_from=self._edge and self._edge + timedelta(microseconds=1),
            largest=self._largest(windows),
        )

    # --- From when

    def _first_window(self) -> datetime:
        if self._budget.window is Window.LIFETIME:
            return EPOCH
        span = self._budget.span(self._since)
        return span.start if span else self._since

    def _newest(self, start: datetime) -> datetime | None:
        """Return the instant up to which entries are left out, None where all are looked at."""
        wanted = [_entry.occurred_at >= start, *self._of_tenants(_entry.tenant_id)]
        newest = select(_entry.occurred_at).where(*wanted).order_by(_entry.occurred_at.desc())
        return self._connection.execute(newest.offset(ENTRIES_MAX).limit(1)).scalar()

    def _of_tenants(self, column: ColumnElement[Any]) -> list[ColumnElement[bool]]:
        if self._budget.tenant_id is not None:
            return [column == self._budget.tenant_id]
        return [] if self._within is None else [column.in_(self._within)]

    def _windows_in_calendar(self) -> int:
        at, found = self._start, 0
        while at <= self._now:
            found += 1
            span = self._budget.span(at)
            if span is None:
                break
            at = span.end
        return found

    # --- What was spent

    def _windows(self, sessions: Mapping[str, int]) -> Spent:
        if self._budget.window is Window.SESSION:
            return {(session_id, EPOCH): spent for session_id, spent in sessions.items()}
        return self._by_cells() if self._budget.scope in _BY_CELLS else self._by_entries()

    def _by_cells(self) -> Spent:
        budget = self._budget
        by = _BY_CELLS[budget.scope]
        whose = self._of_tenants(rollup_group.c.tenant_id)
        if by is not None:
            whose.append(by[0] == getattr(budget, by[1]))
        names = {Window.HOUR: ["hour"], Window.LIFETIME: []}.get(budget.window, ["day"])
        start = None if budget.window is Window.LIFETIME else self._start
        wanted = [rollup_group.c.kind.in_(METERED), *whose]
        cells = Cells(
            wanted, start, None, Part.ENTRY, bare=False, names=names, zone=budget.zone, with_quantities=False
        )
        found: Spent = {}
        unrated = 0
        for key, totals in cells.sums(self._connection).items():
            cost = totals.cost_nanousd if budget.scope is Scope.ORGANISATION else totals.billed_nanousd
            self._add(found, "", self._instant(key), cost)
            unrated += abs(totals.unrated)
        if unrated:
            for at, charge in self._unrated():
                self._add(found, "", at, charge)
        return found

    def _instant(self, key: Sequence[Any]) -> datetime:
        """Return an instant in the hour or day that a report's group has."""
        match [int(part) for part in key]:
            case [hour, offset]:
                return from_micros(hour * HOUR - offset)
            case [day]:
                return midnight(self._budget.zone, from_micros(day * DAY).date())
        return EPOCH

    def _unrated(self) -> Iterator[tuple[datetime, int]]:
        """Yield what budgets are charged for what has no price, by quarter hours."""
        quarter = _quarter()
        query = select(quarter, *parts(func.coalesce(_entry.charge_nanousd, 0), "spent")).where(
            _entry.cost_nanousd.is_(None),
            _entry.occurred_at >= self._start,
            _entry.kind.in_(METERED),
            *in_scope(self._budget),
            *self._of_tenants(_entry.tenant_id),
        )
        for row in self._connection.execute(query.group_by(quarter)):
            yield from_micros(row.quarter * QUARTER), exact(row, "spent")

    def _by_entries(self) -> Spent:
        quarter = _quarter()
        query = select(_entry.end_user_id, quarter, *parts(charged(self._budget.scope), "spent"))
        query = query.where(*self._looked_at(self._start))
        is_each = self._budget.scope is Scope.EACH_USER
        found: Spent = {}
        for row in self._connection.execute(query.group_by(_entry.end_user_id, quarter)):
            subject = row.end_user_id if is_each else ""
            self._add(found, subject, from_micros(row.quarter * QUARTER), exact(row, "spent"))
        return found

    def _sessions(self) -> dict[str, int]:
        query = select(_entry.session_id, *parts(charged(self._budget.scope), "spent"))
        query = query.where(*self._looked_at(self._since), _entry.session_id.is_not(None))
        rows = self._connection.execute(query.group_by(_entry.session_id))
        return {row.session_id: exact(row, "spent") for row in rows}

    def _looked_at(self, start: datetime) -> list[ColumnElement[bool]]:
        of_tenants = self._of_tenants(_entry.tenant_id)
        wanted = [_entry.kind.in_(METERED), *in_scope(self._budget), *of_tenants, _entry.occurred_at >= start]
        return wanted if self._edge is None else [*wanted, _entry.occurred_at > self._edge]

    def _add(self, found: Spent, subject: str, at: datetime, amount: int) -> None:
        span = self._budget.span(at)
        key = (subject, span.start if span else EPOCH)
        found[key] = found.get(key, 0) + amount

    # --- The largest

    def _largest(self, windows: Spent) -> list[Largest]:
        by_amount = sorted(windows.items(), key=lambda one: (one[1], one[0][1], one[0][0]), reverse=True)
        some = [one for one in by_amount[:LARGEST_MAX] if one[1]]
        is_session = self._budget.window is Window.SESSION
        users = {} if is_session else self._user_names({subject for (subject, _), _ in some if subject})
        found = []
        for (subject, starts_at), spent in some:
            span: Span | None = span_at(self._budget.window, self._budget.zone, starts_at)
            found.append(
                Largest(
                    starts_at=span.start if span else None,
                    ends_at=span.end if span else None,
                    end_user=users.get(subject, subject or None) if not is_session else None,
                    session_id=subject if is_session else None,
                    spent_nanousd=spent,
                )
            )
        return found

    def _user_names(self, ids: set[str]) -> Mapping[str, str]:
        query = select(end_user.c.id, end_user.c.name).where(end_user.c.id.in_(ids))
        return {row.id: row.name for row in self._connection.execute(query)} if ids else {}


def _quarter() -> ColumnElement[int]:
    """Return the number of an entry's quarter hour: windows of all zones are made of those."""
    return (type_coerce(_entry.occurred_at, BigInteger) // QUARTER).label("quarter")
