"""Rotating an API key: another one takes its place, and both work for a while.

The new key has what the old one has: tenant, project, name, tags, limits, rules about models and budgets. A
budget counts the new key's spending from nothing, since it is another key's: in the window of a rotation
both together may spend its amount twice. Raises stay with the old one. Budgets around the key, its project's
and its tenant's, go on as they are.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, select, update

from proxy.core.budgets import Scope
from proxy.store import Conflict, StoreError
from proxy.store.audit import Act
from proxy.store.budget_list import read_rule
from proxy.store.budgets import Terms, set_budget
from proxy.store.changes import bump, lock
from proxy.store.instants import format_instant
from proxy.store.limits import list_limits, list_models, set_limit, set_model
from proxy.store.schema import api_key, budget, key_rotation
from proxy.store.tenants import Key, create_key, find_key

OVERLAP = timedelta(days=1)
OVERLAP_MAX = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation has made: `old` is as it is now, and the rest is the new key's."""

    old: Key
    new: Key
    limits: tuple[str, ...]  # names
    models: tuple[str, ...]  # those that there are rules about
    budgets: tuple[str, ...]  # ids


def rotate_key(
    connection: Connection,
    pepper: bytes,
    key_id: str,
    *,
    until: datetime,
    act: Act,
    expires_at: datetime | None = None,
) -> tuple[Rotation, str]:
    """Return a new key in a key's place, and its secret. The old one works until `until`, not longer.

    Without `expires_at` the new key lives as long as the old one was made to: for ever, or so many days.

    Raises:
        StoreError: there is no such key, it opens nothing any more, it was replaced already, or an instant
            cannot be used.
    """
    lock(connection)  # before the row: of two rotations at once one finds that there was another
    old = find_key(connection, key_id)
    _refuse(old, until, act.at)
    if expires_at is None and old.expires_at is not None:
        expires_at = act.at + (old.expires_at - old.created_at)
    made, secret = create_key(
        connection,
        pepper,
        tenant_name=old.tenant_id,
        project_name=old.project_id,
        name=old.name,
        expires_at=expires_at,
        tags=old.tags,
        act=act,
    )
    ends_at = until if old.expires_at is None else min(until, old.expires_at)
    connection.execute(update(api_key).where(api_key.c.id == old.id).values(expires_at=ends_at))
    link = {"old_key_id": old.id, "new_key_id": made.id, "rotated_at": act.at}
    connection.execute(insert(key_rotation).values(link))
    limits, models = _copy_limits(connection, old, made, act), _copy_models(connection, old, made, act)
    budgets = _copy_budgets(connection, old, made, act)
    bump(connection)
    before = {"expires_at": format_instant(old.expires_at) if old.expires_at else None}
    after = {"expires_at": format_instant(ends_at), "replaced_by": made.id}
    act.note(connection, "key.rotate", old.id, tenant_id=old.tenant_id, before=before, after=after)
    new = find_key(connection, made.id)
    return Rotation(find_key(connection, old.id), new, limits, models, budgets), secret


def _refuse(old: Key, until: datetime, now: datetime) -> None:
    if old.replaced_by is not None:
        raise Conflict(f"Key {old.id} was replaced by {old.replaced_by} already: rotate that one.")
    if old.revoked_at is not None:
        raise Conflict(f"Key {old.id} is revoked: create another key instead.")
    if old.expires_at is not None and old.expires_at <= now:
        raise Conflict(f"Key {old.id} has expired: create another key instead.")
    if not now <= until <= now + OVERLAP_MAX:
        raise StoreError(
            f"The old key works for 0 s to {OVERLAP_MAX.days} days more: give an end in between."
        )


def _copy_limits(connection: Connection, old: Key, new: Key, act: Act) -> tuple[str, ...]:
    own = [one for one in list_limits(connection, old.tenant_id) if one.api_key_id == old.id]
    for one in own:
        set_limit(connection, old.tenant_id, one.name, one.value, act=act, key_id=new.id)
    return tuple(one.name.value for one in own)


def _copy_models(connection: Connection, old: Key, new: Key, act: Act) -> tuple[str, ...]:
    own = [one for one in list_models(connection, old.tenant_id) if one.api_key_id == old.id]
    for one in own:
        set_model(connection, old.tenant_id, one.model, one.allowed, act=act, key_id=new.id)
    return tuple(one.model for one in own)


def _copy_budgets(connection: Connection, old: Key, new: Key, act: Act) -> tuple[str, ...]:
    own = (budget.c.api_key_id == old.id) & budget.c.deleted_at.is_(None)
    rules = [read_rule(row) for row in connection.execute(select(budget).where(own).order_by(budget.c.id))]
    made = []
    for rule in rules:
        terms = Terms(
            zone=rule.zone.key,
            on_exhausted=rule.on_exhausted,
            on_store_down=rule.on_store_down,
            store_down_nanousd=rule.store_down_nanousd,
            thresholds=rule.thresholds,
            forecast_thresholds=rule.forecast_thresholds,
        )
        listed = set_budget(
            connection,
            act,
            scope=Scope.KEY,
            window=rule.window,
            amount_nanousd=rule.amount_nanousd,
            name=new.id,
            terms=terms,
        )
        made.append(listed.rule.id)
    return tuple(made)
