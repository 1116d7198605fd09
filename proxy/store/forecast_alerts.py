"""What forecasts announce: that a part of a budget's amount is expected to be spent, once a window."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Connection, select

from proxy.core.announced import Announced
from proxy.core.budgets import Budget
from proxy.core.money import usd
from proxy.store.budget_list import budgets_to_forecast
from proxy.store.columns import to_micros
from proxy.store.forecasts import Forecasted, of_budgets
from proxy.store.instants import format_instant
from proxy.store.outbox import Announcement
from proxy.store.schema import outbox


def find_forecasts(connection: Connection, now: datetime) -> list[Announcement]:
    """Return what is to be announced now, and was not announced in its window before."""
    budgets = budgets_to_forecast(connection, now, announced=True)
    found = {
        one.key: one
        for forecasted in of_budgets(connection, now, budgets)
        if forecasted.budget is not None
        for one in _reached(forecasted, forecasted.budget.rule)
    }
    known = set(connection.scalars(select(outbox.c.key).where(outbox.c.key.in_(found)))) if found else set()
    return [one for key, one in found.items() if key not in known]


def _reached(one: Forecasted, rule: Budget) -> Iterator[Announcement]:
    amount, expected = one.amount_nanousd, one.forecast.nanousd
    if not amount or expected is None:
        return
    told = one.as_json()
    for percent in rule.forecast_thresholds:
        if 100 * expected < percent * amount:
            continue
        payload = {
            "budget_id": rule.id,
            "scope": rule.scope.value,
            "window": rule.window.value,
            "zone": rule.zone.key,
            "starts_at": format_instant(one.span.start),
            "ends_at": format_instant(one.span.end),
            "percent": percent,
            **usd("amount", amount),
            **usd("spent", one.spent_nanousd),
            **usd("forecast", expected),
            **{name: told[name] for name in ("method", "error_percent", "error_points", "exhausted_on")},
        }
        key = f"forecast/{rule.id}/{to_micros(one.span.start)}/{percent}"
        yield Announcement(key, Announced.BUDGET_FORECAST, rule.tenant_id, one.at, payload)
