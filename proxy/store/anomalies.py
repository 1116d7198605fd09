"""Unusual hours: what an hour came to, tenant by tenant and in all, against the same hours of earlier weeks.

Read from the rollups. A tenant's spending is what it owes, that of all together what we are charged, as with
budgets; adjustments and credits are nobody's spending.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, func, select

from proxy.core.announced import Announced
from proxy.core.anomaly import Anomaly, Sensitivity, find_anomaly, same_hours
from proxy.core.money import usd
from proxy.core.windows import Span
from proxy.store.columns import to_micros
from proxy.store.instants import format_instant
from proxy.store.outbox import Announcement
from proxy.store.rollups import Part
from proxy.store.schema import outbox, rollup_day, rollup_group, rollup_month, rollup_quarter, tenant
from proxy.store.spend import METERED
from proxy.store.sums import exact

LISTED_MAX = 200
_QUARTER = timedelta(minutes=15)
_OVER_A_MONTH = timedelta(days=31, hours=12)

Spent = Mapping[str | None, int]  # by tenant; None: all together


def find_anomalies(
    connection: Connection, hour: Span, zone: tzinfo, sensitivity: Sensitivity, now: datetime
) -> list[Announcement]:
    """Return what was unusual about an hour, to be announced."""
    spent = _spent(connection, [hour])[0]
    dear = {who: amount for who, amount in spent.items() if amount > sensitivity.floor_nanousd}
    if not dear:
        return []
    weeks = same_hours(hour, zone)
    earlier = _spent(connection, weeks)
    first = _first_spent_at(connection, dear)
    found = {}
    for who, amount in dear.items():
        known = [
            week.get(who, 0) for week, span in zip(earlier, weeks, strict=True) if first[who] <= span.start
        ]
        anomaly = find_anomaly(amount, known, sensitivity)
        if anomaly is not None:
            found[who] = anomaly
    names = _names(connection, [who for who in found if who is not None])
    return [_announcement(who, names.get(who or ""), hour, one, now) for who, one in found.items()]


def listed(connection: Connection, span: Span, tenant_id: str | None) -> list[Mapping[str, Any]]:
    """Return the unusual hours that began in `span`: of one tenant, or all of them."""
    query = select(outbox.c.payload).where(
        outbox.c.kind == Announced.SPEND_ANOMALY, outbox.c.at >= span.start
    )
    if tenant_id is not None:
        query = query.where(outbox.c.tenant_id == tenant_id)
    start, end = format_instant(span.start), format_instant(span.end)
    payloads = connection.execute(query.order_by(outbox.c.id)).scalars()
    return [one for one in payloads if start <= one["starts_at"] < end][:LISTED_MAX]


def _spent(connection: Connection, hours: Sequence[Span]) -> list[Spent]:
    """Return what each of these hours came to."""
    hour_of = {at: number for number, hour in enumerate(hours) for at in _quarters(hour)}
    cell, group = rollup_quarter.c, rollup_group.c
    query = (
        select(
            cell.starts_at,
            group.tenant_id,
            *(
                func.sum(cell[f"{name}_{half}"]).label(f"{name}_{half}")
                for name in ("cost", "billed")
                for half in ("high", "low")
            ),
        )
        .join(rollup_group, group.id == cell.group_id)
        .where(cell.starts_at.in_(hour_of), group.part == Part.ENTRY, group.kind.in_(METERED))
        .group_by(cell.starts_at, group.tenant_id)
    )
    found: list[dict[str | None, int]] = [{} for _ in hours]
    for row in connection.execute(query):
        spent = found[hour_of[row.starts_at]]
        for who, name in ((row.tenant_id, "billed"), (None, "cost")):
            spent[who] = spent.get(who, 0) + exact(row, name)
    return list(found)


def _quarters(hour: Span) -> list[datetime]:
    count = -((hour.start - hour.end) // _QUARTER)
    return [hour.start + n * _QUARTER for n in range(count)]


def _first_spent_at(connection: Connection, spent: Spent) -> dict[str | None, datetime]:
    """Return the day from which on each of these has spent anything: before, an hour without is no zero.

    Looked for in the first month of each: all days of a large ledger would take a while.
    """
    tenants = [who for who in spent if who is not None]
    months: dict[datetime, list[str]] = {}
    for who, month in _first_cells(connection, rollup_month, tenants):
        months.setdefault(month, []).append(who)
    first: dict[str | None, datetime] = {}
    for month, own in months.items():
        at = rollup_day.c.starts_at
        first |= dict(_first_cells(connection, rollup_day, own, at >= month, at < month + _OVER_A_MONTH))
    return first | {None: connection.execute(select(func.min(rollup_day.c.starts_at))).scalar_one()}


def _first_cells(
    connection: Connection, table: Table, tenants: Sequence[str], *within: ColumnElement[bool]
) -> list[tuple[str, datetime]]:
    group = rollup_group.c
    query = (
        select(group.tenant_id, func.min(table.c.starts_at).label("first_at"))
        .join(table, table.c.group_id == group.id)
        .where(group.tenant_id.in_(tenants), group.part == Part.ENTRY, group.kind.in_(METERED), *within)
        .group_by(group.tenant_id)
    )
    return [(row.tenant_id, row.first_at) for row in connection.execute(query)]


def _names(connection: Connection, ids: Sequence[str]) -> dict[str, str]:
    rows = connection.execute(select(tenant.c.id, tenant.c.name).where(tenant.c.id.in_(ids)))
    return {row.id: row.name for row in rows}


def _announcement(
    tenant_id: str | None, name: str | None, hour: Span, one: Anomaly, now: datetime
) -> Announcement:
    payload = {
        "tenant_id": tenant_id,
        "tenant": name,
        "starts_at": format_instant(hour.start),
        "ends_at": format_instant(hour.end),
        "amounts": "cost" if tenant_id is None else "billed",
        **usd("spent", one.spent_nanousd),
        **usd("median", one.median_nanousd),
        **usd("limit", one.limit_nanousd),
        "weeks": one.weeks,
    }
    key = f"anomaly/{tenant_id or ''}/{to_micros(hour.start)}"
    return Announcement(key, Announced.SPEND_ANOMALY, tenant_id, now, payload)
