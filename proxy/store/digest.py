"""The digest: how a day, a week or a month went, against the one before. Of a tenant, in what it owes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Engine

from proxy.core.money import usd
from proxy.core.windows import Span
from proxy.store.budget_list import Listed, list_budgets
from proxy.store.database import reading
from proxy.store.filters import Filters
from proxy.store.reports import CostQuery, ReportRow, run

TOP_ROWS_MAX = 5
BUDGETS_MAX = 20
NEAR_PERCENT = 80  # of a budget's amount: from there on it is near its end


@dataclass(frozen=True, slots=True)
class Digest:
    """What a digest is about: `span`, and `before` it; of one tenant or of all."""

    span: Span
    before: Span
    zone: ZoneInfo
    tenant_id: str | None = None

    def make(self, engine: Engine, now: datetime) -> dict[str, Any]:
        """Return the figures, and the budgets that are near their end at `now`.

        Raises:
            StoreError: as `reports.run` does.
        """
        by = ("tenant", "model") if self.tenant_id is None else ("model",)
        return {
            "total": self._total(engine, self.span),
            "before": self._total(engine, self.before),
            **{f"top_{name}s": self._top(engine, name) for name in by},
            "budgets": self._budgets(engine, now),
        }

    def _total(self, engine: Engine, span: Span) -> ReportRow:
        return run(engine, self._query(span, ())).total

    def _top(self, engine: Engine, group: str) -> list[ReportRow]:
        rows = run(engine, self._query(self.span, (group,))).rows
        return sorted(rows, key=lambda row: -int(row["cost_nanousd"] or 0))[:TOP_ROWS_MAX]

    def _query(self, span: Span, groups: Sequence[str]) -> CostQuery:
        filters = Filters(start=span.start, end=span.end, tenant=self.tenant_id)
        is_whole = not groups
        return CostQuery(groups, filters, self.zone, is_whole, is_billed=self.tenant_id is not None)

    def _budgets(self, engine: Engine, now: datetime) -> list[dict[str, Any]]:
        with reading(engine) as connection:
            found = list_budgets(connection, now, tenant_id=self.tenant_id)
        near = [(percent, one) for one in found if (percent := _percent(one)) >= NEAR_PERCENT]
        near.sort(key=lambda pair: -pair[0])
        return [_budget(percent, one) for percent, one in near[:BUDGETS_MAX]]


def _percent(one: Listed) -> int:
    """Return how much of a budget is spent, in whole percents; 0 where that is nothing or not known."""
    if not one.amount_nanousd or one.spent_nanousd is None:
        return 0
    return 100 * one.spent_nanousd // one.amount_nanousd


def _budget(percent: int, one: Listed) -> dict[str, Any]:
    """Return a budget; an end user by the id, since what is sent cannot be erased."""
    rule = one.rule
    return {
        "budget_id": rule.id,
        "scope": rule.scope.value,
        "tenant": one.tenant,
        "of": one.project or rule.end_user_id or rule.api_key_id,
        "window": rule.window.value,
        "percent": percent,
        **usd("amount", one.amount_nanousd),
        **usd("spent", one.spent_nanousd),
    }
