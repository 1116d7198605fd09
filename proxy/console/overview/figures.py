"""The figures of the overview: what stands against what. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

ROWS_MAX = 8  # of each breakdown; what is left is summed up in a last row
CHANGES_MAX = 6
PARTS = ("price", "volume", "mix", "new", "gone", "other")
_THEN = {"tenant": "model", "model": "tenant", "meter": "tenant,model"}  # what to ask next about a row

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Against:
    """What the running month is held against. `budget` is None where no single budget encloses it all."""

    budget: Row | None
    forecast_nanousd: int | None
    is_sum: bool  # of tenants' forecasts: what they will owe

    @property
    def is_exceeded(self) -> bool:
        amount = self.budget["amount_nanousd"] if self.budget else None
        return amount is not None and self.forecast_nanousd is not None and self.forecast_nanousd > amount


def against(forecasts: Sequence[Row]) -> Against:
    """Return what the month is held against.

    That is the organisation's budget for a month; or, of somebody with one tenant, that tenant's. Otherwise
    forecasts of all tenants are summed up, if each has one for the month.
    """
    monthly = [one for one in forecasts if one["window"] == "month"]
    organisation = [one for one in monthly if one["scope"] == "organisation"]
    tenants = {one["tenant_id"] for one in forecasts if one["scope"] == "tenant"}
    own = [one for one in monthly if one["scope"] == "tenant"]
    chosen = organisation or (own if len(tenants) == 1 else [])
    if chosen:
        one = max(chosen, key=lambda row: row["amount_nanousd"] or 0)
        has_amount = one["amount_nanousd"] is not None
        return Against(one if has_amount else None, one["forecast_nanousd"], False)
    by_tenant = {one["tenant_id"]: one["forecast_nanousd"] for one in own}
    if not tenants or by_tenant.keys() != tenants or None in by_tenant.values():
        return Against(None, None, False)
    return Against(None, sum(by_tenant.values()), True)


def breakdown(group: str, rows: Sequence[Row], span: Mapping[str, str], label: Mapping[str, str]) -> Row:
    """Return the largest rows of a report by one thing, each with where to look next, and the rest as one."""
    largest = sorted(rows, key=lambda row: (-row["cost_nanousd"], str(row[group])))
    shown, rest = largest[:ROWS_MAX], largest[ROWS_MAX:]
    return {
        "group": group,
        "rows": [_row(group, row, span, label) for row in shown],
        "rest": len(rest),
        "rest_nanousd": sum(row["cost_nanousd"] for row in rest),
        "total_nanousd": sum(row["cost_nanousd"] for row in rows),
        "href": _reports(group, span),
    }


def _row(group: str, row: Row, span: Mapping[str, str], label: Mapping[str, str]) -> Row:
    value = row[group]
    return {
        "label": label.get(value, value) if value is not None else None,
        "cost_nanousd": row["cost_nanousd"],
        "unrated": row["unrated_entries"],
        "quantity": row.get(value) if group == "meter" and value is not None else None,
        "href": _reports(_THEN[group], {**span, group: value}) if value is not None else "",
        "sessions_href": _sessions(group, value, span) if value is not None else "",
    }


def _reports(group_by: str, filters: Mapping[str, str]) -> str:
    return f"/reports?{urlencode({'group_by': group_by, **filters})}"


def _sessions(group: str, value: str, span: Mapping[str, str]) -> str:
    return "" if group == "meter" else f"/sessions?{urlencode({group: value, **span})}"


def changes(told: Row) -> Row:
    """Return a comparison's total and its largest rows."""
    total = told["total"]
    rows = [row for row in told["rows"] if row["difference_nanousd"]]
    return {
        "total": _change(total),
        "rows": [_change(row) for row in rows[:CHANGES_MAX]],
        "left_out": max(0, len(rows) - CHANGES_MAX),
        "parts": [part for part in PARTS if total[f"{part}_nanousd"] or _any(rows, part)],
    }


def _any(rows: Sequence[Row], part: str) -> bool:
    return any(row[f"{part}_nanousd"] for row in rows)


def _change(row: Row) -> Row:
    return {
        "tenant": row.get("tenant"),
        "model": row.get("model"),
        **{name: row[f"{name}_nanousd"] for name in ("before", "after", "difference", *PARTS)},
    }


def change_share(before: int, after: int) -> float | None:
    """Return by which share of itself something has changed; None where it was nothing."""
    return (after - before) / before if before > 0 else None
