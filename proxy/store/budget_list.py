"""Reading budgets: as rules for the data plane, and as people look at them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Text, select, type_coerce

from proxy.core.budgets import (
    Budget,
    BudgetBook,
    OnExhausted,
    OnStoreDown,
    Payer,
    Pot,
    Raise,
    Scope,
    pot_of,
)
from proxy.core.forecast import WINDOWS
from proxy.core.money import usd
from proxy.core.windows import Span, Window
from proxy.store import NotFound, StoreError
from proxy.store.instants import format_instant, parse_zone
from proxy.store.pages import EVERYTHING, Page, Within, is_within
from proxy.store.schema import api_key, budget, budget_raise, end_user, project, tenant
from proxy.store.spend import held, spent_of

_ORDER = {scope: place for place, scope in enumerate(Scope)}


@dataclass(frozen=True, slots=True)
class Raised:
    """An amount on top of a budget for some time: who granted it and why."""

    id: str
    amount_nanousd: int
    starts_at: datetime
    ends_at: datetime
    reason: str
    actor: str
    created_at: datetime

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            **usd("amount", self.amount_nanousd),
            "starts_at": format_instant(self.starts_at),
            "ends_at": format_instant(self.ends_at),
            "reason": self.reason,
            "actor": self.actor,
            "created_at": format_instant(self.created_at),
        }


@dataclass(frozen=True, slots=True)
class Listed:
    """A budget, the names of those whose it is, and where it stood at one instant."""

    rule: Budget
    tenant: str | None
    project: str | None
    key: str | None
    end_user: str | None
    created_at: datetime
    deleted_at: datetime | None
    raises: tuple[Raised, ...]
    at: datetime  # that instant
    span: Span | None  # the window that it is in
    amount_nanousd: int | None  # raises included; None: unlimited
    spent_nanousd: int | None  # None: each user's or session's is counted apart
    held_nanousd: int | None  # leased by instances, which have not spent it; None as with `spent_nanousd`

    @property
    def left_nanousd(self) -> int | None:
        """Return what may still be spent, less than nothing after an overshoot; None: not known."""
        if self.amount_nanousd is None or self.spent_nanousd is None:
            return None
        return self.amount_nanousd - self.spent_nanousd

    def as_json(self) -> dict[str, Any]:
        rule = self.rule
        owner = {
            "id": rule.id,
            "scope": rule.scope.value,
            "tenant_id": rule.tenant_id,
            "tenant": self.tenant,
            "project_id": rule.project_id,
            "project": self.project,
            "api_key_id": rule.api_key_id,
            "key": self.key,
            "end_user_id": rule.end_user_id,
            "end_user": self.end_user,
        }
        stands = {
            "at": format_instant(self.at),
            "window_starts_at": format_instant(self.span.start) if self.span else None,
            "window_ends_at": format_instant(self.span.end) if self.span else None,
            **usd("amount_now", self.amount_nanousd),
            **usd("spent", self.spent_nanousd),
            **usd("held", self.held_nanousd),
            **usd("left", self.left_nanousd),
            "raises": [one.as_json() for one in self.raises],
            "created_at": format_instant(self.created_at),
            "deleted_at": format_instant(self.deleted_at) if self.deleted_at else None,
        }
        return {**owner, **terms_json(rule), **stands}


def terms_json(rule: Budget) -> dict[str, Any]:
    """Return what a budget grants, for programs and for the audit log."""
    return {
        "window": rule.window.value,
        "zone": rule.zone.key,
        **usd("amount", rule.amount_nanousd),
        "on_exhausted": rule.on_exhausted.value,
        "on_store_down": rule.on_store_down.value,
        **usd("store_down", rule.store_down_nanousd),
        "thresholds": list(rule.thresholds),
        "forecast_thresholds": list(rule.forecast_thresholds),
    }


def load_book(connection: Connection, version: int) -> BudgetBook:
    """Return all budgets that are not deleted, with their raises.

    Raises:
        StoreError: a budget says something that this version cannot read. Leaving it out would be a
            way round it.
    """
    there = budget.c.deleted_at.is_(None)
    raises = _raises(connection, there)
    rows = connection.execute(select(budget).where(there))
    return BudgetBook.of((read_rule(row, raises.get(row.id, ())) for row in rows), version)


def list_budgets(
    connection: Connection, now: datetime, *, tenant_id: str | None = None, page: Page = EVERYTHING
) -> list[Listed]:
    """Return the budgets that are not deleted as they stand at `now`, of one tenant or of all.

    In the order of the tree: the installation's first, then tenant by tenant. A page of them by id.
    """
    wanted: ColumnElement[bool] = budget.c.deleted_at.is_(None)
    if tenant_id is not None:
        wanted &= budget.c.tenant_id == tenant_id
    if page.is_everything:
        return sorted(_listed(connection, wanted, now), key=_place)
    rows = page.of(select(budget.c.id).where(wanted), budget.c.id, tenant_id=budget.c.tenant_id)
    ids = list(connection.execute(rows).scalars())
    return sorted(_listed(connection, budget.c.id.in_(ids), now), key=lambda one: ids.index(one.rule.id))


def budgets_to_forecast(
    connection: Connection, now: datetime, within: Within = None, *, announced: bool = False
) -> list[Listed]:
    """Return the budgets of tenants `within` (None: all) whose window a forecast can be made for.

    Those that count each user apart are left out. With `announced` only those with forecast thresholds.
    """
    wanted = budget.c.deleted_at.is_(None) & budget.c.window.in_([window.value for window in WINDOWS])
    wanted &= budget.c.scope != Scope.EACH_USER.value
    if within is not None:
        wanted &= budget.c.tenant_id.in_(within)
    if announced:
        wanted &= type_coerce(budget.c.forecast_thresholds, Text) != "[]"
    return sorted(_listed(connection, wanted, now), key=_place)


def find_budget(connection: Connection, budget_id: str, now: datetime, within: Within = None) -> Listed:
    """Return a budget as it stands at `now`, also a deleted one.

    Raises:
        StoreError: there is no such budget, or it is of no tenant `within`.
    """
    found = _listed(connection, budget.c.id == budget_id, now)
    if not found or not is_within(found[0].rule.tenant_id, within):
        raise NotFound(f"There is no budget {budget_id[:60]!r}: the list of budgets says which there are.")
    return found[0]


def _place(one: Listed) -> tuple[str, int, str]:
    return one.tenant or "", _ORDER[one.rule.scope], one.rule.id


def read_rule(row: Row[Any], raises: Sequence[Raised] = ()) -> Budget:
    """Return the rule that a row of `budget` holds; raises StoreError where it cannot be read."""
    try:
        return Budget(
            id=row.id,
            scope=Scope(row.scope),
            window=Window(row.window),
            amount_nanousd=row.amount_nanousd,
            tenant_id=row.tenant_id,
            project_id=row.project_id,
            api_key_id=row.api_key_id,
            end_user_id=row.end_user_id,
            zone=parse_zone(row.zone),
            on_exhausted=OnExhausted(row.on_exhausted),
            on_store_down=OnStoreDown(row.on_store_down),
            store_down_nanousd=row.store_down_nanousd,
            thresholds=tuple(row.thresholds),
            forecast_thresholds=tuple(row.forecast_thresholds),
            raises=tuple(Raise(one.amount_nanousd, one.starts_at, one.ends_at) for one in raises),
        )
    except (ValueError, StoreError) as problem:
        raise StoreError(f"Budget {row.id} cannot be read by this version: {problem}") from None


def _raises(connection: Connection, wanted: ColumnElement[bool]) -> Mapping[str, tuple[Raised, ...]]:
    """Return the raises of the wanted budgets, each budget's in the order they were granted."""
    query = select(budget_raise).join(budget, budget.c.id == budget_raise.c.budget_id).where(wanted)
    found: dict[str, tuple[Raised, ...]] = {}
    for row in connection.execute(query.order_by(budget_raise.c.id)):
        one = Raised(**{name: getattr(row, name) for name in Raised.__slots__})
        found[row.budget_id] = (*found.get(row.budget_id, ()), one)
    return found


def _listed(connection: Connection, wanted: ColumnElement[bool], now: datetime) -> list[Listed]:
    raises = _raises(connection, wanted)
    query = (
        select(
            budget,
            tenant.c.name.label("tenant"),
            project.c.name.label("project"),
            api_key.c.name.label("key"),
            end_user.c.name.label("end_user"),
        )
        .join(tenant, tenant.c.id == budget.c.tenant_id, isouter=True)
        .join(project, project.c.id == budget.c.project_id, isouter=True)
        .join(api_key, api_key.c.id == budget.c.api_key_id, isouter=True)
        .join(end_user, end_user.c.id == budget.c.end_user_id, isouter=True)
        .where(wanted)
    )
    rows = connection.execute(query).all()
    rules = {row.id: read_rule(row, raises.get(row.id, ())) for row in rows}
    # Where users or sessions are counted apart there is no one figure.
    whole = [rule for rule in rules.values() if rule.is_counted_whole]
    pots = {_pot(rule, now): rule for rule in whole}
    spent, leased = spent_of(connection, pots), held(connection, pots)
    return [
        Listed(
            rule=rules[row.id],
            tenant=row.tenant,
            project=row.project,
            key=row.key,
            end_user=row.end_user,
            created_at=row.created_at,
            deleted_at=row.deleted_at,
            raises=raises.get(row.id, ()),
            at=now,
            span=rules[row.id].span(now),
            amount_nanousd=rules[row.id].amount_at(now),
            spent_nanousd=spent.get(_pot(rules[row.id], now)),
            held_nanousd=leased.get(_pot(rules[row.id], now)),
        )
        for row in rows
    ]


def _pot(rule: Budget, now: datetime) -> Pot:
    """Return the one pot of a budget; where users or sessions have one each, one that nobody fills."""
    return pot_of(rule, Payer("", rule.tenant_id or ""), now)
