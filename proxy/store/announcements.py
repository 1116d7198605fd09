"""What a posting announces: thresholds crossed, bills of responses that were cut, ended sessions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, bindparam, func, select, update

from proxy.core.budgets import Budget, Pot, Scope
from proxy.core.money import format_usd
from proxy.core.records import BudgetCut, Role, SessionClosed
from proxy.core.windows import Window
from proxy.store.columns import storable, to_micros
from proxy.store.instants import format_instant
from proxy.store.outbox import Announcement, announce
from proxy.store.schema import budget, budget_cut, ledger_entry, session, webhook
from proxy.store.spend import METERED, Charge, charged_nanousd
from proxy.store.sums import RESPONSES, UNRATED, exact, parts

THRESHOLD = "budget.threshold"
CUT = "budget.cut"
SESSION_ENDED = "session.ended"


# --- Thresholds


@dataclass(frozen=True, slots=True)
class Crossed:
    """A budget reached a part of its amount in one window."""

    budget: Budget
    pot: Pot
    percent: int
    amount_nanousd: int
    spent_nanousd: int


def announce_thresholds(
    connection: Connection, budgets: Mapping[str, Budget], charges: Mapping[Pot, Charge], now: datetime
) -> tuple[Crossed, ...]:
    """Announce what `charges` have reached, once a window; return what was not announced before."""
    crossed = {
        _threshold_key(one): one
        for pot, charge in charges.items()
        for one in _crossed(budgets[pot.budget_id], pot, charge, now)
    }
    new = announce(connection, [_threshold(key, one, now) for key, one in crossed.items()])
    return tuple(crossed[row.key] for row in new)


def _crossed(budget: Budget, pot: Pot, charge: Charge, now: datetime) -> list[Crossed]:
    """Return what `charge` has reached: in a window that has ended only what it crossed just now.

    In one that lasts it may have been the amount that came down: lowered, or a raise is over.
    """
    amount = budget.amount_at(now)
    if not amount:
        return []
    before = -1 if _lasts(budget, pot, now) else 100 * charge.before_nanousd
    after = 100 * charge.spent_nanousd
    return [
        Crossed(budget, pot, percent, amount, charge.spent_nanousd)
        for percent in sorted(set(budget.thresholds))
        if before < percent * amount <= after
    ]


def _lasts(budget: Budget, pot: Pot, now: datetime) -> bool:
    """Say whether `pot` is of a window that `now` lies in; of a session's own that is not known here."""
    span = budget.span(now)
    return budget.window is Window.LIFETIME if span is None else span.start == pot.starts_at


def _threshold_key(one: Crossed) -> str:
    pot = one.pot
    return f"threshold/{pot.budget_id}/{pot.subject}/{to_micros(pot.starts_at)}/{one.percent}"


def _threshold(key: str, one: Crossed, now: datetime) -> Announcement:
    payload = {
        "budget_id": one.budget.id,
        "scope": one.budget.scope,
        "window": one.budget.window,
        "zone": one.budget.zone.key,
        **({"subject": one.pot.subject} if one.pot.subject else {}),
        "starts_at": format_instant(one.pot.starts_at),
        "percent": one.percent,
        "amount_nanousd": one.amount_nanousd,
        "spent_nanousd": one.spent_nanousd,
        "amount_usd": format_usd(one.amount_nanousd),
        "spent_usd": format_usd(one.spent_nanousd),
    }
    return Announcement(key, THRESHOLD, one.budget.tenant_id, now, payload)


# --- Cuts


@dataclass(frozen=True, slots=True)
class Completed:
    """A cut response's bill, and by how much that went over what was held for it."""

    session_id: str
    subject_id: str
    budget_id: str
    cost_nanousd: int
    held_nanousd: int
    overshoot_nanousd: int


def cut_row(cut: BudgetCut) -> dict[str, Any]:
    """Return the row of a cut whose bill is not posted yet."""
    return {name: getattr(cut, name) for name in cut.__struct_fields__}


def complete_cuts(
    connection: Connection, rows: Sequence[Mapping[str, Any]], now: datetime
) -> tuple[Completed, ...]:
    """Fill in what the cut responses among the new ledger rows `rows` cost, and announce it."""
    bills = {
        (row["session_id"], storable(row["subject_id"])): row for row in rows if row["role"] == Role.ORIGINAL
    }
    if not bills:
        return ()
    cuts = connection.execute(_OPEN_CUTS, {"sessions": list({session_id for session_id, _ in bills})})
    billed = [(cut, bills[key]) for cut in cuts.mappings() if (key := _key(cut)) in bills]
    done = [(cut, bill, _completed(cut, bill)) for cut, bill in billed]
    _fill(connection, [one for *_, one in done])
    announce(connection, [_cut(cut, bill, one, now) for cut, bill, one in done])
    return tuple(one for *_, one in done)


def _key(cut: RowMapping) -> tuple[str, str]:
    return cut["session_id"], cut["subject_id"]


def _completed(cut: RowMapping, bill: Mapping[str, Any]) -> Completed:
    cost = charged_nanousd(bill, Scope(cut["scope"]) if cut["scope"] else None)
    held = cut["held_nanousd"]
    return Completed(*_key(cut), cut["budget_id"], cost, held, max(0, cost - held))


def _fill(connection: Connection, done: Sequence[Completed]) -> None:
    values = [
        {
            "of_session": one.session_id,
            "of_subject": one.subject_id,
            "cost": one.cost_nanousd,
            "overshoot": one.overshoot_nanousd,
        }
        for one in done
    ]
    if values:
        connection.execute(_FILL, values)


# Made once: the poster shares its interpreter with the relay.
_OPEN_CUTS = (
    select(budget_cut, budget.c.scope, budget.c.tenant_id)
    .join(budget, budget.c.id == budget_cut.c.budget_id, isouter=True)
    .where(
        budget_cut.c.session_id.in_(bindparam("sessions", expanding=True)),
        budget_cut.c.cost_nanousd.is_(None),
    )
    .order_by(budget_cut.c.session_id, budget_cut.c.subject_id)
)
_FILL = (
    update(budget_cut)
    .where(
        budget_cut.c.session_id == bindparam("of_session"),
        budget_cut.c.subject_id == bindparam("of_subject"),
    )
    .values(cost_nanousd=bindparam("cost"), overshoot_nanousd=bindparam("overshoot"))
)


def _cut(cut: RowMapping, bill: Mapping[str, Any], one: Completed, now: datetime) -> Announcement:
    payload = {
        "budget_id": cut["budget_id"],
        "scope": cut["scope"],
        "session_id": cut["session_id"],
        "tenant_id": bill["tenant_id"],
        "subject_id": cut["subject_id"],
        "cut_at": format_instant(cut["cut_at"]),
        "limit_nanousd": cut["limit_nanousd"],
        "spent_nanousd": cut["spent_nanousd"],
        "held_nanousd": cut["held_nanousd"],
        "estimate_nanousd": cut["estimate_nanousd"],
        "cost_nanousd": one.cost_nanousd,
        "overshoot_nanousd": one.overshoot_nanousd,
        "cost_usd": format_usd(one.cost_nanousd),
        "overshoot_usd": format_usd(one.overshoot_nanousd),
    }
    return Announcement(f"cut/{one.session_id}/{one.subject_id}", CUT, cut["tenant_id"], now, payload)


# --- Ended sessions


def sessions_to_announce(connection: Connection, closed: Sequence[SessionClosed]) -> list[str]:
    """Return which of these sessions end now, and have a webhook that wants to know.

    Called before they are closed: an end that is posted again is none.
    """
    if not closed:
        return []
    hooks = connection.execute(
        select(webhook.c.tenant_id, webhook.c.kinds).where(webhook.c.deleted_at.is_(None))
    )
    wanting = {hook.tenant_id for hook in hooks if SESSION_ENDED in hook.kinds}
    if not wanting:
        return []
    ids = {one.session_id for one in closed}
    ending = select(session.c.id).where(session.c.id.in_(ids), session.c.closed_at.is_(None))
    if None not in wanting:
        ending = ending.where(session.c.tenant_id.in_(wanting))
    return list(connection.scalars(ending.order_by(session.c.id)))


def announce_ends(connection: Connection, session_ids: Sequence[str], now: datetime) -> int:
    """Announce that these sessions are over, with what the ledger says they cost; return how many."""
    if not session_ids:
        return 0
    entry = ledger_entry.c
    metered = and_(entry.session_id == session.c.id, entry.kind.in_(METERED))
    money = (*parts(entry.cost_nanousd, "cost"), *parts(entry.billed_nanousd, "billed"))
    sums = (
        select(session.c.id, RESPONSES, UNRATED, func.count(entry.id).label("entries"), *money)
        .join(ledger_entry, metered, isouter=True)
        .where(session.c.id.in_(session_ids))
        .group_by(session.c.id)
    )
    booked = {row.id: row for row in connection.execute(sums)}
    ended = select(session).where(session.c.id.in_(session_ids)).order_by(session.c.id)
    rows = [_ended(row, booked[row["id"]], now) for row in connection.execute(ended).mappings()]
    return len(announce(connection, rows))


def _ended(row: RowMapping, booked: Any, now: datetime) -> Announcement:
    cost = exact(booked, "cost")
    payload = {
        "session_id": row["id"],
        "tenant_id": row["tenant_id"],
        "project_id": row["project_id"],
        "api_key_id": row["api_key_id"],
        "tags": row["tags"],
        "model": row["model"],
        "opened_at": format_instant(row["opened_at"]),
        "closed_at": format_instant(row["closed_at"]),
        "close_code": row["close_code"],
        "reason": row["reason"],
        "responses": int(booked.responses),
        "cost_nanousd": cost,
        "billed_nanousd": exact(booked, "billed"),
        "unrated": int(booked.unrated) if booked.entries else 0,
        "cost_usd": format_usd(cost),
    }
    return Announcement(f"session.ended/{row['id']}", SESSION_ENDED, row["tenant_id"], now, payload)
