"""Leases: the part of a budget's window that one instance may spend without asking.

`spent + Σ leases ≤ amount`, but for what was overshot or lowered. A lease is kept as two sums that only
grow with what happens: `granted` to the instance (less what it gave back), and `taken` of it by postings.
Whatever changes either locks the window's row first, and several in the order of their pots; a window
that has no row yet is made under the lock of the chain, which comes before all others.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, delete, func, insert, or_, select, update

from proxy.core.budgets import Budget, Pot
from proxy.store import StoreError
from proxy.store.budget_windows import WindowRow, ensure_windows, lock_windows, missing_windows, of_pots
from proxy.store.chain import lock_chain
from proxy.store.schema import instance, lease

ALIVE_S = 15  # an instance that was not seen for this long is not counted among those that share


@dataclass(frozen=True, slots=True)
class Order:
    """What an instance wants of one pot. Nano-dollars.

    `need` is what has to be granted, in all or, if `partial`, in part; `most` is how much would be good.
    """

    pot: Pot
    budget: Budget
    give_nanousd: int = 0
    need_nanousd: int = 0
    most_nanousd: int = 0
    partial: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """How a pot stands now. `granted` is the instance's sum; `left` is nobody's yet.

    `contended` says that what was needed is not there, but some of it lies unspent in others' leases.
    """

    granted_nanousd: int
    spent_nanousd: int
    limit_nanousd: int
    left_nanousd: int
    contended: bool = False


@dataclass(slots=True)
class _Lease:
    granted: int = 0
    taken: int = 0
    is_new: bool = True

    @property
    def open(self) -> int:
        return max(0, self.granted - self.taken)


def exchange(
    connection: Connection, instance_id: str, orders: Collection[Order], *, now: datetime, live_instances: int
) -> Mapping[Pot, Answer]:
    """Take back what is given, grant what is there, and tell how each pot stands; each pot once.

    Raises SQLAlchemy's errors; then nothing, or after a broken connection perhaps everything, was done.
    """
    ordered = sorted(orders, key=lambda order: order.pot)
    budgets = {order.pot: order.budget for order in ordered}
    if missing_windows(connection, budgets):
        lock_chain(connection)
        ensure_windows(connection, budgets)
    windows = lock_windows(connection, list(budgets))
    leases = _leases(connection, list(budgets))
    return {
        order.pot: _carry_out(
            connection, instance_id, order, windows[order.pot], leases[order.pot], now, live_instances
        )
        for order in ordered
    }


def _carry_out(
    connection: Connection,
    instance_id: str,
    order: Order,
    window: WindowRow,
    leases: dict[str, _Lease],
    now: datetime,
    live_instances: int,
) -> Answer:
    own = leases.setdefault(instance_id, _Lease())
    before = own.granted
    own.granted -= min(order.give_nanousd, own.open)
    limit = order.budget.amount_at(now) or 0
    left = limit - window.spent_nanousd - sum(one.open for one in leases.values())
    if left < 0:  # it was lowered, or overshot: what is at hand here is too much
        cut = min(own.open, -left)
        own.granted -= cut
        left += cut
    given = _granted(order, left, live_instances)
    own.granted += given
    others = [key for key, one in leases.items() if key != instance_id and one.open]
    contended = bool(order.need_nanousd > given and others)
    if contended:
        _want(connection, order.pot, others)
    _write(connection, instance_id, order.pot, own, before)
    return Answer(own.granted, window.spent_nanousd, limit, left - given, contended)


def _granted(order: Order, left: int, live_instances: int) -> int:
    """Return how much of what is left is granted: a fair part, but what is needed if that is there."""
    if order.need_nanousd <= 0 or left <= 0 or (left < order.need_nanousd and not order.partial):
        return 0
    fair = min(left // 4 // max(1, live_instances), order.most_nanousd)
    return min(left, max(order.need_nanousd, fair))


def _leases(connection: Connection, pots: Sequence[Pot]) -> Mapping[Pot, dict[str, _Lease]]:
    found: dict[Pot, dict[str, _Lease]] = {pot: {} for pot in pots}
    for row in connection.execute(select(lease).where(of_pots(lease, pots))):
        pot = Pot(row.budget_id, row.subject, row.starts_at)
        found[pot][row.instance_id] = _Lease(row.granted_nanousd, row.taken_nanousd, is_new=False)
    return found


def _want(connection: Connection, pot: Pot, instance_ids: Sequence[str]) -> None:
    those = and_(of_pots(lease, [pot]), lease.c.instance_id.in_(instance_ids))
    connection.execute(update(lease).where(those).values(wanted=True))


def _write(connection: Connection, instance_id: str, pot: Pot, own: _Lease, before: int) -> None:
    """Write the lease where it is another one now; who has answered is not asked any more."""
    if own.is_new and own.granted:
        row = {"budget_id": pot.budget_id, "subject": pot.subject, "starts_at": pot.starts_at}
        figures = {"granted_nanousd": own.granted, "taken_nanousd": own.taken, "wanted": False}
        connection.execute(insert(lease).values(instance_id=instance_id, **row, **figures))
    elif not own.is_new:
        mine = and_(of_pots(lease, [pot]), lease.c.instance_id == instance_id)
        is_other = or_(lease.c.granted_nanousd != own.granted, lease.c.wanted.is_(True))
        connection.execute(
            update(lease).where(mine, is_other).values(granted_nanousd=own.granted, wanted=False)
        )


def wanted_pots(connection: Connection, instance_id: str) -> list[Pot]:
    """Return the pots of which other instances need what this one does not hold."""
    rows = connection.execute(
        select(lease.c.budget_id, lease.c.subject, lease.c.starts_at).where(
            lease.c.instance_id == instance_id, lease.c.wanted.is_(True)
        )
    )
    return [Pot(row.budget_id, row.subject, row.starts_at) for row in rows]


def take_from_lease(
    connection: Connection, instance_id: str, amounts: Mapping[Pot, int]
) -> Mapping[Pot, int]:
    """Take what was posted off this instance's leases, whose windows are locked; return how much of it."""
    taken: dict[Pot, int] = {}
    for pot, leases in _leases(connection, sorted(amounts)).items():
        own = leases.get(instance_id)
        part = min(max(0, amounts[pot]), own.open) if own else 0
        if own and part:
            mine = and_(of_pots(lease, [pot]), lease.c.instance_id == instance_id)
            connection.execute(update(lease).where(mine).values(taken_nanousd=own.taken + part))
        taken[pot] = part
    return taken


def live_instances(connection: Connection, now: datetime) -> int:
    """Return how many instances share this database, the caller's at least."""
    seen = instance.c.seen_at >= now - timedelta(seconds=ALIVE_S)
    return max(1, int(connection.execute(select(func.count()).where(seen)).scalar_one()))


def drop_leases(connection: Connection, instance_id: str) -> int:
    """Give back all leases of an instance whose journal is posted; return the nano-dollars that frees."""
    pots = [Pot(*row) for row in connection.execute(_pots_of(instance_id))]
    lock_windows(connection, pots)
    leases = _leases(connection, pots)
    connection.execute(delete(lease).where(lease.c.instance_id == instance_id))
    return sum(leases[pot][instance_id].open for pot in pots if instance_id in leases[pot])


def _pots_of(instance_id: str) -> Select[Any]:
    return select(lease.c.budget_id, lease.c.subject, lease.c.starts_at).where(
        lease.c.instance_id == instance_id
    )


def write_off(connection: Connection, instance_id: str, now: datetime) -> int:
    """Free what a dead instance holds, for an operator who knows that its journal is lost for good.

    Raises:
        StoreError: it is not known, or was seen a moment ago.
    """
    seen_at = connection.execute(
        select(instance.c.seen_at).where(instance.c.id == instance_id)
    ).scalar_one_or_none()
    if seen_at is None:
        raise StoreError(f"There is no instance {instance_id[:60]!r}: see `talkmeter budget leases`.")
    if seen_at >= now - timedelta(seconds=ALIVE_S):
        raise StoreError(f"Instance {instance_id} was seen a moment ago: stop it first.")
    return drop_leases(connection, instance_id)


@dataclass(frozen=True, slots=True)
class HeldLease:
    """What an instance may still spend of a pot, for people."""

    instance_id: str
    pot: Pot
    open_nanousd: int
    seen_at: datetime | None


def list_leases(connection: Connection) -> list[HeldLease]:
    """Return the leases of which something is open."""
    query = (
        select(lease, instance.c.seen_at)
        .join(instance, instance.c.id == lease.c.instance_id, isouter=True)
        .where(lease.c.granted_nanousd > lease.c.taken_nanousd)
        .order_by(lease.c.instance_id, lease.c.budget_id, lease.c.subject, lease.c.starts_at)
    )
    return [_held(row) for row in connection.execute(query)]


def _held(row: Row[Any]) -> HeldLease:
    pot = Pot(row.budget_id, row.subject, row.starts_at)
    return HeldLease(row.instance_id, pot, row.granted_nanousd - row.taken_nanousd, row.seen_at)
