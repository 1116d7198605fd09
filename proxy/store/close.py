"""Closing a period: in one transaction, under the lock that every posting takes, and for good.

While it lasts, instances keep what they meter in their journals.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, insert, select, update

from proxy.core.money import AMOUNT_NANOUSD_MAX
from proxy.core.periods import Periods, month_after, span_of
from proxy.store import Conflict, NotFound, StoreError
from proxy.store.audit import REASON_CHARS_MAX, Act
from proxy.store.chain import Head, lock_chain
from proxy.store.instants import format_instant
from proxy.store.obstacles import NAMES, Closing, Obstacle, obstacles
from proxy.store.periods import Close, load_closes
from proxy.store.schema import (
    chain_head,
    ledger_entry,
    ledger_period,
    project,
    statement,
    statement_line,
    tenant,
)
from proxy.store.statements import rounding_of
from proxy.store.stating import Stated, columns_of, state


@dataclass(frozen=True, slots=True)
class Closed:
    """What a close has done: the close itself, and how many statements it made."""

    close: Close
    statements: int


def standing(connection: Connection, period: str, zone: ZoneInfo, head: Head, now: datetime) -> Closing:
    """Return what is known of a period that may be closed next.

    Raises:
        StoreError: it is closed already, is not over, has nothing in it, or another one comes first.
    """
    periods = head.periods(zone)
    closes = load_closes(connection)
    _check_order(connection, periods, period, now)
    return Closing(connection, period, periods, closes, now)


def _check_order(connection: Connection, periods: Periods, period: str, now: datetime) -> None:
    if periods.closed_through is not None and periods.is_closed(period):
        following = month_after(periods.closed_through)
        raise Conflict(f"{period} is closed: what concerns it later is booked to {following} or after.")
    end = span_of(period, periods.zone).end
    if end > now:
        raise Conflict(
            f"{period} is not over before {format_instant(end)}, when the month ends in {periods.zone}."
        )
    of = ledger_entry.c.period
    oldest = connection.execute(select(func.min(of)).where(of > (periods.closed_through or ""))).scalar()
    if oldest is not None and oldest < period:
        raise Conflict(f"{oldest} has entries and is open: close it first.")
    if oldest != period and periods.closed_through is None:
        raise NotFound(
            f"The ledger has nothing in or before {period}: the list of periods says which there are."
        )


def close(
    connection: Connection,
    period: str,
    act: Act,
    *,
    zone: ZoneInfo,
    overrides: Mapping[str, str],
    issuer: str | None = None,
) -> Closed:
    """Close a period and state what each of its tenants owes, in the caller's transaction.

    `zone` becomes the ledger's with the first close. `overrides` has a reason for each obstacle that is to be
    overridden, by its name. Months without entries before this one are closed with it.

    Raises:
        StoreError: it cannot be closed now; the text says what comes first, or what stands in the way.
    """
    head = lock_chain(connection)
    closing, found = examine(connection, period, zone, overrides, head, act.at)
    made = Close(
        period=period,
        zone=str(closing.periods.zone),
        closed_at=act.at,
        closed_by=act.actor,
        entries=head.entries,
        digest=head.digest,
        overridden=[_overridden(one, overrides[one.name]) for one in found],
    )
    connection.execute(insert(ledger_period).values({name: getattr(made, name) for name in Close.__slots__}))
    statements = _state(connection, closing, issuer)
    moved = {"closed_through": period, "period_zone": made.zone}
    connection.execute(update(chain_head).values(moved))
    _note(connection, act, made, statements)
    return Closed(made, statements)


def examine(
    connection: Connection,
    period: str,
    zone: ZoneInfo,
    overrides: Mapping[str, str],
    head: Head,
    now: datetime,
) -> tuple[Closing, list[Obstacle]]:
    """Return what is known of a period that can be closed, and what is overridden; raises as `close` does."""
    _check_overrides(overrides)
    closing = standing(connection, period, zone, head, now)
    found = obstacles(closing)
    if left := [one for one in found if one.name not in overrides]:
        raise Conflict(refusal(period, left))
    return closing, found


def _check_overrides(overrides: Mapping[str, str]) -> None:
    for name, reason in overrides.items():
        if name not in NAMES:
            raise StoreError(f"Nothing called {name[:40]!r} can be overridden: it is {', '.join(NAMES)}.")
        if not reason.strip() or len(reason) > REASON_CHARS_MAX or not reason.isprintable():
            raise StoreError(
                f"Say why {name} is overridden, in 1 to {REASON_CHARS_MAX} printable characters."
            )


def refusal(period: str, found: Sequence[Obstacle]) -> str:
    """Return what stands in the way, a line each, and what to do."""
    lines = [f"{period} cannot be closed yet:"]
    for one in found:
        more = ", …" if one.count > len(one.examples) else ""
        lines.append(f"{one.name}: {one.count:,} {one.problem} ({'; '.join(one.examples)}{more})")
        lines.append(f"    {one.remedy}; or override {one.name}, with a reason")
    return "\n".join(lines)


def _overridden(one: Obstacle, reason: str) -> dict[str, Any]:
    return {"what": one.name, "count": one.count, "examples": list(one.examples), "reason": reason}


def _state(connection: Connection, closing: Closing, issuer: str | None) -> int:
    """Write the statements of all tenants that have entries in the period; return how many."""
    tenants = _names(connection, tenant)
    stated = state(connection, closing.closes, closing.periods, closing.period, _names(connection, project))
    order = sorted(stated, key=lambda tenant_id: (tenants.get(tenant_id, tenant_id), tenant_id))
    for number, tenant_id in enumerate(order, 1):
        name = tenants.get(tenant_id, tenant_id)
        of = f"{closing.period}-{number:04}"
        whose = {"tenant_id": tenant_id, "tenant": name, "issuer": issuer}
        sums = _sums(name, stated[tenant_id])
        connection.execute(insert(statement).values(number=of, period=closing.period, **whose, **sums))
        if lines := list(columns_of(stated[tenant_id].lines, of)):
            connection.execute(insert(statement_line), lines)
    return len(order)


def _sums(name: str, stated: Stated) -> dict[str, int]:
    billed = stated.billed_nanousd
    if billed != sum(line.billed_nanousd or 0 for line in stated.lines):
        raise StoreError(
            f"The entries of {name} do not add up to their lines: verifying the ledger says more."
        )
    if abs(billed) > AMOUNT_NANOUSD_MAX:
        raise StoreError(f"What {name} owes is more than a statement can hold: book a credit against it.")
    return {
        "entries": stated.entries,
        "unrated_entries": stated.unrated_entries,
        "billed_nanousd": billed,
        "rounding_nanousd": rounding_of(billed),
    }


def _names(connection: Connection, table: Any) -> dict[str, str]:
    return {row.id: row.name for row in connection.execute(select(table.c.id, table.c.name))}


def _note(connection: Connection, act: Act, made: Close, statements: int) -> None:
    after = {"zone": made.zone, "seal": made.seal, "statements": statements, "overridden": made.overridden}
    act.note(connection, "period.close", made.period, after=after)
