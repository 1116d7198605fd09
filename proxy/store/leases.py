"""Leases: the parts of budget windows that instances may spend without asking.

What an instance was granted and its postings have not taken yet is reserved: nobody else gets it. So
spent + Σ reserved ≤ amount, unless the amount was lowered or a bill was higher than what was held for it.
`granted` and `taken` only mean something together: both are sums over the life of the row, less what was
given back. The order of locks is that of `spend`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from proxy.core.budgets import Budget, Pot
from proxy.store import NotFound
from proxy.store.announcements import announce_thresholds
from proxy.store.budget_list import find_budget
from proxy.store.chain import lock_chain
from proxy.store.pages import EVERYTHING, Page
from proxy.store.schema import instance, lease
from proxy.store.spend import (
    Charge,
    ensure_windows,
    lock_windows,
    missing_windows,
    pot_in,
    rows_of,
)

LIVE_FOR = timedelta(seconds=15)  # since an instance was seen
SLICES = 4  # how often a budget can be asked by each instance before nothing is left


@dataclass(frozen=True, slots=True)
class Order:
    """What an instance wants of one pot: first to give money back, then to have some."""

    pot: Pot
    budget: Budget  # with an amount
    give_nanousd: int = 0
    need_nanousd: int = 0  # less is of no use, unless `partial`
    most_nanousd: int = 0  # of a slice
    partial: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """How an instance's lease stands now, and the window it is part of."""

    granted_nanousd: int
    taken_nanousd: int
    spent_nanousd: int
    limit_nanousd: int
    left_nanousd: int  # neither spent nor reserved by any instance; below 0 in a lowered budget
    contended: bool  # there was not enough, and others hold some: they are asked to give it back
    wanted: bool  # this instance had been asked to


@dataclass(frozen=True, slots=True)
class _Lease:
    """A row of `lease`."""

    granted: int = 0
    taken: int = 0
    wanted: bool = False

    @property
    def reserved(self) -> int:
        return self.granted - self.taken


_Leases = Mapping[str, _Lease]  # of one pot, by instance


def exchange(
    connection: Connection,
    instance_id: str,
    orders: Sequence[Order],
    *,
    now: datetime,
    live_instances: int,
) -> Mapping[Pot, Answer]:
    """Give back and grant, in the caller's transaction; one order a pot.

    A slice is what is needed, or a quarter of what is left for each live instance up to `most_nanousd`.

    Raises:
        ValueError: a budget of the orders is unlimited, or two orders are for one pot.
    """
    by_pot = {order.pot: order for order in sorted(orders, key=lambda order: order.pot)}
    if len(by_pot) < len(orders):
        raise ValueError("two orders for one pot")
    spent = _lock(connection, {pot: order.budget for pot, order in by_pot.items()}, now)
    leases = _read(connection, by_pot)
    answers: dict[Pot, Answer] = {}
    rows: list[dict[str, Any]] = []
    for pot, order in by_pot.items():
        before = leases.get(pot, {})
        if _is_overdrawn(order.budget, before, spent[pot], now):
            order = replace(order, budget=_as_it_is(connection, order.budget, now))
        answers[pot], after = _serve(order, instance_id, before, spent[pot], now, max(1, live_instances))
        rows += [_row(pot, who, row) for who, row in after.items() if before.get(who, _Lease()) != row]
    _write(connection, rows)
    _announce_exhausted(connection, by_pot, answers, now)
    return answers


def _is_overdrawn(rule: Budget, leases: _Leases, spent: int, now: datetime) -> bool:
    limit = rule.amount_at(now)
    return limit is not None and spent + sum(one.reserved for one in leases.values()) > limit


def _as_it_is(connection: Connection, rule: Budget, now: datetime) -> Budget:
    """Return a budget as it is now. Others may have leased of a raise that this instance has not heard of.

    It would take that for an overdraft, and lose what it holds.
    """
    try:
        found = find_budget(connection, rule.id, now).rule
    except NotFound:
        return rule
    return rule if found.amount_at(now) is None else found


def _announce_exhausted(
    connection: Connection, orders: Mapping[Pot, Order], answers: Mapping[Pot, Answer], now: datetime
) -> None:
    """Announce what was reached where nothing is left though nothing is posted: the amount came down."""
    spent = {
        pot: Charge(0, 0, one.spent_nanousd)
        for pot, one in answers.items()
        if orders[pot].need_nanousd and one.spent_nanousd >= one.limit_nanousd
    }
    announce_thresholds(connection, {one.budget.id: one.budget for one in orders.values()}, spent, now)


def _serve(
    order: Order, instance_id: str, leases: _Leases, spent: int, now: datetime, live: int
) -> tuple[Answer, _Leases]:
    """Return the answer to one order, and the leases of its pot as they are then."""
    limit = order.budget.amount_at(now)
    if limit is None:
        raise ValueError(f"budget {order.budget.id} is unlimited: nothing of it is leased")
    own = leases.get(instance_id, _Lease())
    others = {who: one for who, one in leases.items() if who != instance_id}
    granted = own.granted - max(0, min(order.give_nanousd, own.reserved))
    free = limit - spent - sum(one.reserved for one in others.values())
    left = free - (granted - own.taken)
    if left < 0:  # it was lowered, or overshot: what is reserved here goes back as far as that helps
        granted -= max(0, min(granted - own.taken, -left))
        left = free - (granted - own.taken)
    grant = _grant(order, left, live)
    contended = grant < order.need_nanousd and any(one.reserved > 0 for one in others.values())
    if contended:
        others = {who: replace(one, wanted=one.wanted or one.reserved > 0) for who, one in others.items()}
    wanted = own.wanted and order.need_nanousd > 0 and order.give_nanousd == 0
    after = _Lease(granted + grant, own.taken, wanted)
    answer = Answer(after.granted, after.taken, spent, limit, left - grant, contended, own.wanted)
    return answer, {**others, instance_id: after}


def _grant(order: Order, left: int, live: int) -> int:
    need = order.need_nanousd
    if need <= 0 or left <= 0 or (left < need and not order.partial):
        return 0
    return min(left, max(need, min(left // SLICES // live, order.most_nanousd)))


def _lock(connection: Connection, budgets: Mapping[Pot, Budget], now: datetime) -> Mapping[Pot, int]:
    """Lock the windows, making those that are missing first; return what was spent in each."""
    if missing_windows(connection, budgets):
        made = ensure_windows(connection, budgets, upto=lock_chain(connection).entries)
        charges = {pot: Charge(0, 0, spent) for pot, spent in made.items()}
        announce_thresholds(connection, {one.id: one for one in budgets.values()}, charges, now)
    return lock_windows(connection, budgets)


def _read(connection: Connection, pots: Collection[Pot]) -> Mapping[Pot, _Leases]:
    found: dict[Pot, dict[str, _Lease]] = {}
    for row in rows_of(connection, lease, pots):
        one = _Lease(row.granted_nanousd, row.taken_nanousd, row.wanted)
        found.setdefault(pot_in(row), {})[row.instance_id] = one
    return found


def _row(pot: Pot, instance_id: str, row: _Lease) -> dict[str, Any]:
    return {
        "budget_id": pot.budget_id,
        "subject": pot.subject,
        "starts_at": pot.starts_at,
        "instance_id": instance_id,
        "granted_nanousd": row.granted,
        "taken_nanousd": row.taken,
        "wanted": row.wanted,
    }


def _write(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    new = dialect.insert(lease)
    values = {name: new.excluded[name] for name in ("granted_nanousd", "taken_nanousd", "wanted")}
    key = [column.name for column in lease.primary_key]
    connection.execute(new.on_conflict_do_update(index_elements=key, set_=values), rows)


def wanted_pots(connection: Connection, instance_id: str) -> list[Pot]:
    """Return the pots of which others need what this instance has not spent."""
    asked = select(lease).where(lease.c.instance_id == instance_id, lease.c.wanted)
    return sorted(pot_in(row) for row in connection.execute(asked))


def live_instances(connection: Connection, now: datetime) -> int:
    """Return how many instances run, as far as they were seen lately; at least one."""
    seen = select(func.count()).select_from(instance).where(instance.c.seen_at > now - LIVE_FOR)
    return max(1, int(connection.execute(seen).scalar_one()))


# --- What people see


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """What an instance still holds of one budget's window."""

    instance_id: str
    seen_at: datetime | None
    budget_id: str
    subject: str
    starts_at: datetime
    reserved_nanousd: int


def list_leases(connection: Connection, page: Page = EVERYTHING) -> list[LeaseRow]:
    """Return what is reserved, by instance and budget; leases with nothing left in them are left out."""
    reserved = (lease.c.granted_nanousd - lease.c.taken_nanousd).label("reserved_nanousd")
    key = (lease.c.instance_id, lease.c.budget_id, lease.c.subject, lease.c.starts_at)
    query = select(*key, reserved, instance.c.seen_at).join(
        instance, instance.c.id == lease.c.instance_id, isouter=True
    )
    rows = connection.execute(page.of(query.where(reserved > 0), *key, tenant_id=None))
    return [LeaseRow(**row._mapping) for row in rows]


# --- The end of leases


def empty_leases(connection: Connection, instance_id: str) -> int:
    """Let the leases of an instance reserve nothing more, and return what they had reserved.

    For the instance itself at its start (once everything in its journal is posted, and before it takes its
    first lease), and where it is forgotten. The rows stay, since postings of its journal tell what they
    have taken as a sum, and the instance may hear of one after this.
    """
    freed = _lock_leases(connection, instance_id)
    mine = update(lease).where(lease.c.instance_id == instance_id)
    connection.execute(mine.values(granted_nanousd=lease.c.taken_nanousd, wanted=False))
    return freed


def drop_leases(connection: Connection, instance_id: str) -> int:
    """Delete all leases of an instance that has stopped, and return what they had reserved."""
    freed = _lock_leases(connection, instance_id)
    connection.execute(delete(lease).where(lease.c.instance_id == instance_id))
    return freed


def _lock_leases(connection: Connection, instance_id: str) -> int:
    """Lock the windows of an instance's leases; return what these reserve."""
    held = select(lease).where(lease.c.instance_id == instance_id)
    lock_windows(connection, {pot_in(row) for row in connection.execute(held)})
    return sum(int(row.granted_nanousd - row.taken_nanousd) for row in connection.execute(held))
