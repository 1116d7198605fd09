"""Four eyes: what one person asks for and another one approves, where the settings say so.

Approving does the thing itself, in the same transaction, by the rules as they are then: what can no longer be
done, or has become something else meanwhile, stays undecided. The command line, TALKMETER_ADMIN_TOKEN and the
local administrator name nobody, so they may ask and not decide.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Connection

from proxy.core.records import Kind
from proxy.store import Conflict, Forbidden, StoreError
from proxy.store.adjustments import Adjustment, Booking, book, prepare
from proxy.store.approvals import APPROVED, REJECTED, Approval, Wanted, ask, decide, lock_pending
from proxy.store.audit import Act
from proxy.store.chain import lock_chain
from proxy.store.close import Closed, close, examine
from proxy.store.obstacles import Obstacle
from proxy.store.pages import Within

CLOSE = "period.close"
BOOKINGS = (f"ledger.{Kind.ADJUSTMENT}", f"ledger.{Kind.CREDIT}")


@dataclass(frozen=True, slots=True)
class FourEyes:
    """Whether a second person is asked for, and above which amount of an adjustment or a credit."""

    on: bool = False
    above_nanousd: int = 0

    def concern(self, wanted: Adjustment) -> bool:
        """Tell whether this is large enough."""
        return self.on and max(abs(wanted.cost_nanousd), abs(wanted.billed_nanousd)) > self.above_nanousd


def close_or_ask(
    connection: Connection,
    period: str,
    act: Act,
    *,
    rule: FourEyes,
    zone: ZoneInfo,
    overrides: Mapping[str, str],
    issuer: str | None = None,
) -> Closed | Approval:
    """Close a period, or ask for that; raises what `close` does, and what `ask` does."""
    if not rule.on:
        return close(connection, period, act, zone=zone, overrides=overrides, issuer=issuer)
    closing, found = examine(connection, period, zone, overrides, lock_chain(connection), act.at)
    what = {
        "zone": str(closing.periods.zone),
        "overrides": dict(overrides),
        "in_the_way": [_counted(one) for one in found],
    }
    return ask(connection, Wanted(CLOSE, period, None, what), act)


def _counted(one: Obstacle) -> dict[str, Any]:
    return {"what": one.name, "count": one.count, "examples": list(one.examples)}


def book_or_ask(
    connection: Connection, wanted: Adjustment, act: Act, zone: tzinfo, rule: FourEyes
) -> Booking | Approval:
    """Book an adjustment or a credit, or ask for that; raises what `book` does, and what `ask` does."""
    if not rule.concern(wanted):
        return book(connection, wanted, act, zone)
    ready = prepare(connection, wanted, act, zone)
    if ready.booked is not None:
        return ready.booked
    row = ready.row
    named = replace(wanted, tenant=row.tenant_id, project=row.project_id)
    what = {**msgspec.to_builtins(named), "period": row.period}
    return ask(connection, Wanted(f"ledger.{wanted.kind}", wanted.key, row.tenant_id, what), act)


@dataclass(frozen=True, slots=True)
class Approver:
    """Who decides: since when there is one person behind their name, None where that may be anybody.

    And which tenants they may see. `names` is what they were called, in all that time that a request waits.
    """

    named_since: datetime | None
    within: Within = None
    names: frozenset[str] = frozenset()

    def check(self, request: Approval, act: Act) -> None:
        """Raises StoreError: somebody else has to decide about this."""
        own = {_name_of(act.actor), *(name.casefold() for name in self.names)}
        if _name_of(request.asked_by) in own:
            raise Forbidden("You have asked for this yourself: somebody else approves it.")
        if self.named_since is None or self.named_since >= request.asked_at:
            raise Conflict(
                "The token that approves has to be older than the request, so that nobody makes one to"
                " approve their own: somebody who had theirs before approves it, or ask again."
            )


def _name_of(actor: str) -> str:
    """Return the name of who acts: on the command line (cli:NAME@HOST), through the API, in the console."""
    way, _, name = actor.partition(":")
    return (name.rpartition("@")[0] if way == "cli" else name).casefold()


def approve(
    connection: Connection, id: str, approver: Approver, act: Act, *, zone: ZoneInfo, issuer: str | None
) -> Approval:
    """Do what was asked for, once, by the rules of now.

    Raises:
        StoreError: there is no such request, it waits no more, who approves may not, or it cannot be now.
    """
    _check_named(approver)
    request = lock_pending(connection, id, act.at, approver.within)
    approver.check(request, act)
    both = Act(f"{request.asked_by}, approved by {act.actor}", act.at, request.reason)
    done = _DONE_BY[request.action](connection, request, both, zone, issuer)
    return decide(connection, request, APPROVED, act, done)


def reject(connection: Connection, id: str, approver: Approver, act: Act) -> Approval:
    """Decide that what was asked for is not done; who has asked may take it back so.

    Raises:
        StoreError: there is no such request, it waits no more, or no reason is given.
    """
    _check_named(approver)
    request = lock_pending(connection, id, act.at, approver.within)
    if not (act.reason or "").strip():
        raise StoreError("Say why this is rejected.")
    return decide(connection, request, REJECTED, act)


def _check_named(approver: Approver) -> None:
    if approver.named_since is None:
        raise Forbidden(
            "This takes a name of your own: sign in as yourself, or have an administrator make you a token."
        )


def _close(
    connection: Connection, request: Approval, act: Act, zone: ZoneInfo, issuer: str | None
) -> dict[str, Any]:
    overrides = request.wanted["overrides"]
    closed = close(connection, request.object, act, zone=zone, overrides=overrides, issuer=issuer)
    if closed.close.zone != (asked := request.wanted["zone"]):
        raise Conflict(
            f"This was asked for in {asked}, and would be done in {closed.close.zone}: set"
            " TALKMETER_PERIOD_TIMEZONE to the same everywhere, or reject this and ask again."
        )
    known = {one["what"]: one["count"] for one in request.wanted["in_the_way"]}
    for one in closed.close.overridden:
        if one["count"] > known.get(one["what"], 0):
            raise Conflict(
                f"More stands in the way than when this was asked for: {one['what']} was"
                f" {known.get(one['what'], 0):,} and is {one['count']:,}."
                " Clear it, or reject this and ask again."
            )
    return {"period": closed.close.period, "statements": closed.statements, "seal": closed.close.seal}


def _book(
    connection: Connection, request: Approval, act: Act, zone: ZoneInfo, issuer: str | None
) -> dict[str, Any]:
    asked = msgspec.convert(request.wanted, Adjustment)
    wanted = replace(asked, occurred_at=asked.occurred_at or request.asked_at)
    ready = prepare(connection, wanted, act, zone)
    if ready.booked is not None:
        raise Conflict(f"This was booked meanwhile, as entry {ready.booked.entry_id}: reject the request.")
    if (period := ready.row.period) != request.wanted["period"]:
        raise Conflict(
            f"{request.wanted['period']} was closed meanwhile, and this would be booked to {period}:"
            " reject the request, and ask again."
        )
    return {"entry_id": book(connection, wanted, act, zone).entry_id, "period": period}


_Done = Callable[[Connection, Approval, Act, ZoneInfo, str | None], dict[str, Any]]
_DONE_BY: Mapping[str, _Done] = {CLOSE: _close} | dict.fromkeys(BOOKINGS, _book)
