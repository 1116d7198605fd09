"""Forecasts of budgets and tenants: what is spent, and what will be at the end of the window.

What budgets have spent is what postings count; the days before come from the rollups. Those are of the
ledger's zone: of a budget in another zone quarter hours make up the days. Nobody sums up end users by day:
their budgets have a run rate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Connection

from proxy.core.budgets import Scope
from proxy.core.forecast import Days, Forecast, Spending, forecast, history_start
from proxy.core.money import usd
from proxy.core.windows import Span, Window, midnight
from proxy.store import StoreError
from proxy.store.budget_list import Listed, budgets_to_forecast
from proxy.store.columns import EPOCH
from proxy.store.instants import format_instant
from proxy.store.pages import Page, Within
from proxy.store.rollup_sums import Cells
from proxy.store.rollups import Part
from proxy.store.schema import rollup_group
from proxy.store.spend import METERED
from proxy.store.tenants import Tenant, list_tenants

FORECASTS_MAX = 1_000
_ONE_DAY = timedelta(days=1)
_BY_DAY = {  # how the days of a scope are grouped: by a report's group, over a column of the rollups
    Scope.ORGANISATION: None,
    Scope.TENANT: ("tenant", rollup_group.c.tenant_id),
    Scope.PROJECT: ("project", rollup_group.c.project_id),
    Scope.KEY: ("key", rollup_group.c.api_key_id),
}

Whose = tuple[Scope, str | None]  # a scope, and the id of who is meant


@dataclass(frozen=True, slots=True)
class Forecasted:
    """A budget or, where `budget` is None, a tenant without one, with its forecast."""

    budget: Listed | None
    tenant: str | None
    tenant_id: str | None
    window: Window
    zone: ZoneInfo
    at: datetime
    span: Span
    spent_nanousd: int
    amount_nanousd: int | None
    forecast: Forecast

    def as_json(self) -> dict[str, Any]:
        told, budget = self.forecast, self.budget
        left = None if self.amount_nanousd is None else self.amount_nanousd - self.spent_nanousd
        return {
            "budget_id": budget and budget.rule.id,
            "scope": budget.rule.scope.value if budget else Scope.TENANT.value,
            "tenant_id": self.tenant_id,
            "tenant": self.tenant,
            "project": budget and budget.project,
            "api_key_id": budget and budget.rule.api_key_id,
            "end_user": budget and budget.end_user,
            "window": self.window.value,
            "zone": self.zone.key,
            "at": format_instant(self.at),
            "window_starts_at": format_instant(self.span.start),
            "window_ends_at": format_instant(self.span.end),
            **usd("spent", self.spent_nanousd),
            **usd("forecast", told.nanousd),
            "method": told.method and told.method.value,
            "error_percent": told.error and f"{told.error.permille // 10}.{told.error.permille % 10}",
            "error_points": told.error.points if told.error else 0,
            **usd("amount", self.amount_nanousd),
            **usd("left", left),
            "exhausted_on": told.exhausted_on and told.exhausted_on.isoformat(),
        }


def forecasts(
    connection: Connection, now: datetime, zone: ZoneInfo, within: Within = None, *, with_errors: bool = True
) -> list[Forecasted]:
    """Return the forecasts of all budgets of a week, month or quarter, then of tenants without such a budget.

    Those are forecast for the month in `zone`. Only of tenants `within`, None for all and the installation.
    To say how far off they were before, days of half a year and more are read.

    Raises:
        StoreError: there are too many.
    """
    budgets = budgets_to_forecast(connection, now, within)
    have = {one.rule.tenant_id for one in budgets if one.rule.scope is Scope.TENANT}
    others = [
        one
        for one in list_tenants(connection, Page(within=within))
        if one.archived_at is None and one.id not in have
    ]
    if len(budgets) + len(others) > FORECASTS_MAX:
        raise StoreError(f"These would be more than {FORECASTS_MAX:,} forecasts: say of which tenants.")
    wanted = [*map(_of_budget, budgets), *((zone, Window.MONTH, (Scope.TENANT, one.id)) for one in others)]
    days = _Days(connection, now, wanted, with_errors=with_errors)
    return [*_of_budgets(now, budgets, days), *_of_tenants(now, zone, others, days)]


def of_budgets(connection: Connection, now: datetime, budgets: Sequence[Listed]) -> list[Forecasted]:
    """Return the forecasts of these budgets, whose windows have days."""
    return _of_budgets(now, budgets, _Days(connection, now, [*map(_of_budget, budgets)], with_errors=True))


def _of_budgets(now: datetime, budgets: Sequence[Listed], days: "_Days") -> list[Forecasted]:
    found = []
    for one in budgets:
        rule, spent = one.rule, one.spent_nanousd or 0
        own = days.of(rule.zone, _whose(one))
        spending = Spending(rule.window, rule.zone, now, spent, own)
        found.append(
            Forecasted(
                budget=one,
                tenant=one.tenant,
                tenant_id=rule.tenant_id,
                window=rule.window,
                zone=rule.zone,
                at=now,
                span=spending.span,
                spent_nanousd=spent,
                amount_nanousd=one.amount_nanousd,
                forecast=forecast(spending, one.amount_nanousd, with_error=days.with_errors),
            )
        )
    return found


def _of_tenants(now: datetime, zone: ZoneInfo, tenants: Sequence[Tenant], days: "_Days") -> list[Forecasted]:
    found = []
    for one in tenants:
        own = days.of(zone, (Scope.TENANT, one.id)) or {}
        spending = Spending(Window.MONTH, zone, now, 0, own)
        first = spending.span.start.astimezone(zone).date()
        spent = sum(amount for day, amount in own.items() if day >= first)
        spending = Spending(Window.MONTH, zone, now, spent, own)
        found.append(
            Forecasted(
                budget=None,
                tenant=one.name,
                tenant_id=one.id,
                window=Window.MONTH,
                zone=zone,
                at=now,
                span=spending.span,
                spent_nanousd=spent,
                amount_nanousd=None,
                forecast=forecast(spending, with_error=days.with_errors),
            )
        )
    return found


def _of_budget(one: Listed) -> "Wanted":
    return one.rule.zone, one.rule.window, _whose(one)


def _whose(one: Listed) -> Whose:
    rule = one.rule
    ids = {Scope.TENANT: rule.tenant_id, Scope.PROJECT: rule.project_id, Scope.KEY: rule.api_key_id}
    return rule.scope, ids.get(rule.scope)


Wanted = tuple[ZoneInfo, Window, Whose]


class _Days:
    """What each of these spends day by day: one question for each zone and scope.

    What all spend together is summed up from tenants, where these are asked for too. Without errors the days
    that only those are about are one day, the last of them.
    """

    def __init__(
        self, connection: Connection, now: datetime, wanted: Sequence[Wanted], *, with_errors: bool
    ) -> None:
        self.with_errors = with_errors
        self._connection = connection
        self._found: dict[tuple[str, Whose], dict[date, int]] = {}
        by_zone: dict[ZoneInfo, list[Wanted]] = {}
        for one in wanted:
            if one[2][0] in _BY_DAY:
                by_zone.setdefault(one[0], []).append(one)
        for zone, own in by_zone.items():
            scopes = {scope for _, _, (scope, _) in own}
            is_summed_up = scopes >= {Scope.ORGANISATION, Scope.TENANT}
            for scope in sorted(scopes - ({Scope.ORGANISATION} if is_summed_up else set())):
                with_all = is_summed_up and scope is Scope.TENANT
                of_scope = [one for one in own if one[2][0] is scope or with_all]
                ids = None if with_all else {id for _, _, (_, id) in of_scope if id is not None}
                self._read_history(zone, now, scope, ids, {window for _, window, _ in of_scope})

    def of(self, zone: ZoneInfo, whose: Whose) -> Days | None:
        """Return the days of one of them; None where nobody counts them."""
        return self._found.get((zone.key, whose), {}) if whose[0] in _BY_DAY else None

    def _read_history(
        self, zone: ZoneInfo, now: datetime, scope: Scope, ids: set[str] | None, windows: set[Window]
    ) -> None:
        first = min(history_start(window, zone, now) for window in windows)
        start = min(history_start(window, zone, now, with_error=self.with_errors) for window in windows)
        self._read(zone, scope, ids, (start, now.astimezone(zone).date() + _ONE_DAY))
        if first < start:
            self._read(zone, scope, ids, (first, start), as_one_day=True)

    def _read(
        self,
        zone: ZoneInfo,
        scope: Scope,
        ids: set[str] | None,
        days: tuple[date, date],
        *,
        as_one_day: bool = False,
    ) -> None:
        by = _BY_DAY[scope]
        wanted: list[ColumnElement[bool]] = [rollup_group.c.kind.in_(METERED)]
        if by is not None and ids is not None:
            wanted.append(by[1].in_(sorted(ids)))
        cells = Cells(
            wanted=wanted,
            start=midnight(zone, days[0]),
            end=midnight(zone, days[1]),
            part=Part.ENTRY,
            bare=False,
            names=[*([by[0]] if by is not None else []), *([] if as_one_day else ["day"])],
            zone=zone,
        )
        for key, (cost, billed) in cells.spent(self._connection).items():
            day = days[1] - _ONE_DAY if as_one_day else (EPOCH + int(key[-1]) * _ONE_DAY).date()
            if by is not None:
                self._add(zone, (scope, key[0]), day, billed)
            if by is None or ids is None:
                self._add(zone, (Scope.ORGANISATION, None), day, cost)

    def _add(self, zone: ZoneInfo, whose: Whose, day: date, amount: int) -> None:
        own = self._found.setdefault((zone.key, whose), {})
        own[day] = own.get(day, 0) + amount
