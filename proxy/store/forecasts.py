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
    return [
        *of_budgets(connection, now, budgets, with_errors=with_errors),
        *_of_tenants(connection, now, zone, others, with_errors=with_errors),
    ]


def of_budgets(
    connection: Connection, now: datetime, budgets: Sequence[Listed], *, with_errors: bool = True
) -> list[Forecasted]:
    """Return the forecasts of these budgets, whose windows have days."""
    wanted = [(one.rule.zone, one.rule.window, _whose(one)) for one in budgets]
    days = _Days(connection, now, wanted, with_errors=with_errors)
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
                forecast=forecast(spending, one.amount_nanousd, with_error=with_errors),
            )
        )
    return found


def _of_tenants(
    connection: Connection, now: datetime, zone: ZoneInfo, tenants: Sequence[Tenant], *, with_errors: bool
) -> list[Forecasted]:
    wanted = [(zone, Window.MONTH, (Scope.TENANT, one.id)) for one in tenants]
    days = _Days(connection, now, wanted, with_errors=with_errors)
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
                forecast=forecast(spending, with_error=with_errors),
            )
        )
    return found


def _whose(one: Listed) -> Whose:
    rule = one.rule
    ids = {Scope.TENANT: rule.tenant_id, Scope.PROJECT: rule.project_id, Scope.KEY: rule.api_key_id}
    return rule.scope, ids.get(rule.scope)


class _Days:
    """What each of these spends day by day: one question for each zone and scope.

    Without errors the days that only those are about are one day, the last of them.
    """

    def __init__(
        self,
        connection: Connection,
        now: datetime,
        wanted: Sequence[tuple[ZoneInfo, Window, Whose]],
        *,
        with_errors: bool,
    ) -> None:
        self._connection = connection
        self._found: dict[tuple[str, Whose], dict[date, int]] = {}
        starts: dict[tuple[str, Scope], tuple[date, date]] = {}
        ids: dict[tuple[str, Scope], set[str | None]] = {}
        zones: dict[str, ZoneInfo] = {}
        for zone, window, (scope, id) in wanted:
            if scope in _BY_DAY:
                zones[zone.key] = zone
                first = history_start(window, zone, now)
                own = (first, history_start(window, zone, now, with_error=with_errors))
                earliest = starts.get((zone.key, scope), own)
                starts[zone.key, scope] = (min(own[0], earliest[0]), min(own[1], earliest[1]))
                ids.setdefault((zone.key, scope), set()).add(id)
        for (name, scope), (first, start) in starts.items():
            zone, whose = zones[name], sorted(filter(None, ids[name, scope]))
            end = now.astimezone(zone).date() + _ONE_DAY
            self._read(zone, scope, whose, (start, end))
            if first < start:
                self._read(zone, scope, whose, (first, start), as_one_day=True)

    def of(self, zone: ZoneInfo, whose: Whose) -> Days | None:
        """Return the days of one of them; None where nobody counts them."""
        return self._found.get((zone.key, whose), {}) if whose[0] in _BY_DAY else None

    def _read(
        self,
        zone: ZoneInfo,
        scope: Scope,
        ids: list[str],
        days: tuple[date, date],
        *,
        as_one_day: bool = False,
    ) -> None:
        by = _BY_DAY[scope]
        wanted: list[ColumnElement[bool]] = [rollup_group.c.kind.in_(METERED)]
        if by is not None:
            wanted.append(by[1].in_(ids))
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
            id = key[0] if by is not None else None
            day = days[1] - _ONE_DAY if as_one_day else (EPOCH + int(key[-1]) * _ONE_DAY).date()
            own = self._found.setdefault((zone.key, (scope, id)), {})
            own[day] = cost if scope is Scope.ORGANISATION else billed
