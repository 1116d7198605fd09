"""Changing budgets: set, raised for some time, deleted. The rows stay, so that old spending has a name.

Functions over a connection, for `database.writing`. Every change counts in the change counter and
stands in the audit log; what changes nothing does neither. `budget_list` reads them.
"""

from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from proxy.core.budgets import Budget, OnExhausted, OnStoreDown, Scope
from proxy.core.forecast import WINDOWS
from proxy.core.money import AMOUNT_NANOUSD_MAX, usd
from proxy.core.windows import Window
from proxy.ids import new_id
from proxy.store import Conflict, StoreError
from proxy.store.audit import Act
from proxy.store.budget_list import Listed, Raised, find_budget, terms_json
from proxy.store.budget_owners import Owner, find_owner
from proxy.store.changes import bump, lock
from proxy.store.instants import format_instant, parse_zone
from proxy.store.schema import budget, budget_raise

THRESHOLDS_MAX = 10
THRESHOLD_PERCENT_MAX = 1_000
RAISES_MAX = 100  # of one budget that have not ended


@dataclass(frozen=True, slots=True)
class Terms:
    """How a budget works besides its amount. None: as it is, and in a new budget the default."""

    zone: str | None = None  # an IANA name
    on_exhausted: OnExhausted | None = None
    on_store_down: OnStoreDown | None = None
    store_down_nanousd: int | None = None
    thresholds: tuple[int, ...] | None = None  # percents at which it is announced
    forecast_thresholds: tuple[int, ...] | None = None  # … and when so much is expected


UNSAID = Terms()


def set_budget(
    connection: Connection,
    act: Act,
    *,
    scope: Scope,
    window: Window,
    amount_nanousd: int | None,
    tenant: str | None = None,
    name: str | None = None,
    terms: Terms = UNSAID,
    only_new: bool = False,
) -> Listed:
    """Make a budget, or change the one that has this scope, owner and window; None is unlimited.

    For `tenant` and `name` see `find_owner`. In another time zone the windows are others: the old
    budget is deleted, and a new one takes its place and those of its raises that have not ended.

    Raises:
        StoreError: something named does not exist, a value cannot be used, or it is there already and
            `only_new` was asked for.
    """
    lock(connection)  # or two at once would both make one
    owner = find_owner(connection, scope, tenant, name)
    old = _same(connection, owner, window, act.at)
    if old and only_new:
        raise Conflict(f"There is such a budget already: change {old.rule.id}.")
    base = old.rule if old else Budget(id="", window=window, amount_nanousd=None, **asdict(owner))
    rule = _checked(_with_terms(replace(base, amount_nanousd=amount_nanousd), terms))
    _refuse_too_much(rule, act.at)
    if old and rule == old.rule:
        return old
    before = None if old is None else _noted(old.rule)
    if old and (rule.zone == old.rule.zone or old.span is None):
        connection.execute(update(budget).where(budget.c.id == rule.id).values(_terms_row(rule)))
    else:
        rule = replace(rule, id=new_id("bud"))
        connection.execute(insert(budget).values(_row(rule, owner, act.at)))
        if old:
            _mark_deleted(connection, old.rule.id, act.at)
            _move_raises(connection, old, rule.id, act.at)
    bump(connection)
    act.note(connection, "budget.set", rule.id, tenant_id=owner.tenant_id, before=before, after=_noted(rule))
    return find_budget(connection, rule.id, act.at)


def delete_budget(connection: Connection, act: Act, budget_id: str) -> Listed:
    """Delete a budget: it limits nothing any more. Doing it again changes nothing.

    Raises:
        StoreError: there is no such budget.
    """
    found = find_budget(connection, budget_id, act.at)
    if _mark_deleted(connection, budget_id, act.at):
        bump(connection)
        before = _noted(found.rule)
        act.note(connection, "budget.delete", budget_id, tenant_id=found.rule.tenant_id, before=before)
    return find_budget(connection, budget_id, act.at)


def raise_budget(
    connection: Connection,
    act: Act,
    budget_id: str,
    *,
    amount_nanousd: int,
    starts_at: datetime,
    ends_at: datetime,
) -> Listed:
    """Put an amount on top of a budget from one instant to before another; `act` has to say why.

    Raises:
        StoreError: there is no such budget, it has no amount, or a value cannot be used.
    """
    lock(connection)
    found = find_budget(connection, budget_id, act.at)
    reason = (act.reason or "").strip()
    if found.deleted_at is not None:
        raise Conflict(f"Budget {found.rule.id} is deleted: set one again instead.")
    if found.rule.amount_nanousd is None:
        raise Conflict(f"Budget {found.rule.id} is unlimited: there is nothing to raise.")
    if amount_nanousd <= 0:
        raise StoreError("A raise is more than 0: lower a budget by setting it.")
    if not reason:
        raise StoreError("A raise needs a reason: say why it is granted.")
    if ends_at <= starts_at or ends_at <= act.at:
        raise StoreError("A raise ends after it starts, and in the future.")
    if sum(one.ends_at > act.at for one in found.raises) >= RAISES_MAX:
        raise Conflict(f"Budget {found.rule.id} has {RAISES_MAX} raises already: set its amount instead.")
    made = Raised(new_id("rai"), amount_nanousd, starts_at, ends_at, reason, act.actor, act.at)
    connection.execute(insert(budget_raise).values(budget_id=found.rule.id, **asdict(made)))
    raised = find_budget(connection, found.rule.id, act.at)
    _refuse_too_much(raised.rule, act.at)
    bump(connection)
    after = {
        "raise": made.id,
        **usd("amount", amount_nanousd),
        "starts_at": format_instant(starts_at),
        "ends_at": format_instant(ends_at),
    }
    act.note(connection, "budget.raise", found.rule.id, tenant_id=found.rule.tenant_id, after=after)
    return raised


def _same(connection: Connection, owner: Owner, window: Window, now: datetime) -> Listed | None:
    query = select(budget.c.id).where(budget.c.window == window.value, budget.c.deleted_at.is_(None))
    for column, value in owner.columns.items():
        query = query.where(budget.c[column].is_(None) if value is None else budget.c[column] == value)
    found = connection.execute(query.order_by(budget.c.id)).scalars().first()
    return find_budget(connection, found, now) if found else None


# --- Values


def _with_terms(rule: Budget, terms: Terms) -> Budget:
    said = {one.name: getattr(terms, one.name) for one in fields(terms)}
    changes: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    if terms.zone is not None:
        changes["zone"] = parse_zone(terms.zone)
    for name in ("thresholds", "forecast_thresholds"):
        if name in changes:
            changes[name] = tuple(sorted(set(changes[name])))
    return replace(rule, **changes)


def _checked(rule: Budget) -> Budget:
    for amount in (rule.amount_nanousd or 0, rule.store_down_nanousd):
        if not 0 <= amount <= AMOUNT_NANOUSD_MAX:
            raise StoreError("An amount is 0 (nothing may be spent) or more, up to nine billion dollars.")
    for thresholds in (rule.thresholds, rule.forecast_thresholds):
        if len(thresholds) > THRESHOLDS_MAX:
            raise StoreError(f"A budget has at most {THRESHOLDS_MAX} thresholds of a kind.")
        if not all(1 <= percent <= THRESHOLD_PERCENT_MAX for percent in thresholds):
            raise StoreError(f"A threshold is a percentage from 1 to {THRESHOLD_PERCENT_MAX}, such as 80.")
    if rule.forecast_thresholds and (rule.window not in WINDOWS or rule.scope is Scope.EACH_USER):
        raise StoreError(
            f"Forecasts are made for windows of a {', '.join(WINDOWS)}, and not for each user apart:"
            " leave the forecast thresholds out."
        )
    if rule.on_store_down is OnStoreDown.CONTINUE and rule.store_down_nanousd == 0:
        raise StoreError("To continue without the database a budget needs an amount that may be spent so.")
    return rule


def _refuse_too_much(rule: Budget, now: datetime) -> None:
    """Refuse what could add up to more than a column of the ledger holds."""
    raises = sum(one.amount_nanousd for one in rule.raises if one.ends_at > now)
    if (rule.amount_nanousd or 0) + raises > AMOUNT_NANOUSD_MAX:
        raise StoreError("With its raises this budget would be more than nine billion dollars: lower it.")


# --- Rows


def _row(rule: Budget, owner: Owner, now: datetime) -> dict[str, Any]:
    row = {"id": rule.id, "window": rule.window.value, "created_at": now}
    return {**row, **owner.columns, **_terms_row(rule)}


def _terms_row(rule: Budget) -> dict[str, Any]:
    return {
        "zone": rule.zone.key,
        "amount_nanousd": rule.amount_nanousd,
        "on_exhausted": rule.on_exhausted.value,
        "on_store_down": rule.on_store_down.value,
        "store_down_nanousd": rule.store_down_nanousd,
        "thresholds": list(rule.thresholds),
        "forecast_thresholds": list(rule.forecast_thresholds),
    }


def _mark_deleted(connection: Connection, budget_id: str, now: datetime) -> bool:
    there = (budget.c.id == budget_id) & budget.c.deleted_at.is_(None)
    return connection.execute(update(budget).where(there).values(deleted_at=now)).rowcount > 0


def _move_raises(connection: Connection, old: Listed, budget_id: str, now: datetime) -> None:
    rows = [
        {**asdict(one), "id": new_id("rai"), "budget_id": budget_id}
        for one in old.raises
        if one.ends_at > now
    ]
    if rows:
        connection.execute(insert(budget_raise), rows)


def _noted(rule: Budget) -> dict[str, Any]:
    """Return what the audit log says of a budget; an end user by the id, since names can be erased."""
    owner = {"project_id": rule.project_id, "api_key_id": rule.api_key_id, "end_user_id": rule.end_user_id}
    named = {name: value for name, value in owner.items() if value is not None}
    return {"id": rule.id, "scope": rule.scope.value, **named, **terms_json(rule)}
