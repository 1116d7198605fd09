"""Limits and model rules of tenants and API keys: set, removed, listed.

Functions over a connection; the writing ones belong into `database.writing`. Every change counts in
the change counter, which is how running instances learn of it within half a second, and stands in the
audit log. They lock the counter before they touch a rule: who waits for both does so in one order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any

from sqlalchemy import Column, Connection, Row, Select, Table, delete, insert, select

from proxy.core.limits import LimitName, Limits, Unit
from proxy.core.models import ANY_END, ModelRule
from proxy.core.money import AMOUNT_NANOUSD_MAX, parse_usd
from proxy.store import Conflict, NotFound, StoreError
from proxy.store.audit import Act
from proxy.store.changes import bump, lock
from proxy.store.pages import EVERYTHING, Page, Within, is_within
from proxy.store.schema import api_key, limit_rule, model_rule, tenant
from proxy.store.tenants import NAME_CHARS_MAX, find_tenant

MODEL_CHARS_MAX = 256
RULES_MAX = 100  # of an owner: all of them are looked at for every model that is named
_SECONDS_MAX = Decimal(AMOUNT_NANOUSD_MAX).scaleb(-3)
_EXACT = Context(prec=40, traps=[Inexact])


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose rule it is: a tenant's, or one of its API keys'."""

    tenant_id: str
    tenant: str
    api_key_id: str | None

    @property
    def id(self) -> str:
        return self.api_key_id or self.tenant_id

    @property
    def label(self) -> str:
        """Return what a person calls it."""
        return (
            f"key {self.api_key_id} of tenant {self.tenant}" if self.api_key_id else f"tenant {self.tenant}"
        )


@dataclass(frozen=True, slots=True)
class LimitRow:
    """A limit that is set. `value` is a whole number of `unit`."""

    tenant_id: str
    tenant: str
    api_key_id: str | None
    name: LimitName
    value: int
    unit: Unit

    @property
    def figure(self) -> str:
        return self.name.figure(self.value)


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A rule about a model, or about all that begin alike (`gpt-realtime*`)."""

    tenant_id: str
    tenant: str
    api_key_id: str | None
    model: str
    allowed: bool


def find_owner(connection: Connection, tenant_name: str, key_id: str | None = None) -> Owner:
    """Return a tenant, or its key, as the owner of rules.

    Raises:
        StoreError: there is no such tenant, or it has no such key.
    """
    found = find_tenant(connection, tenant_name)
    if key_id is not None:
        mine = (api_key.c.id == key_id) & (api_key.c.tenant_id == found.id)
        if connection.execute(select(api_key.c.id).where(mine)).first() is None:
            raise NotFound(
                f"Tenant {found.name!r} has no key {key_id[:NAME_CHARS_MAX]!r}:"
                " the list of keys says which there are."
            )
    return Owner(found.id, found.name, key_id)


def owner_of_id(connection: Connection, owner_id: str, within: Within = None) -> Owner:
    """Return the tenant or the key with this id as the owner of rules.

    Raises:
        StoreError: there is neither, or it is of no tenant `within`.
    """
    keys = select(tenant.c.id, tenant.c.name, api_key.c.id.label("key_id")).join(
        api_key, api_key.c.tenant_id == tenant.c.id
    )
    of_key = connection.execute(keys.where(api_key.c.id == owner_id)).first()
    of_tenant = connection.execute(select(tenant.c.id, tenant.c.name).where(tenant.c.id == owner_id)).first()
    found = of_key or of_tenant
    if found is None or not is_within(found.id, within):
        raise NotFound(
            f"There is no such owner: no tenant and no key with the id {owner_id[:NAME_CHARS_MAX]!r}."
        )
    return Owner(found.id, found.name, owner_id if of_key else None)


# --- Limits


def parse_value(name: LimitName, text: str) -> int:
    """Return what a person wrote for a limit, in its unit: dollars, seconds or a number.

    Raises:
        StoreError: it is not such a value, or not above zero.
    """
    try:
        value = _PARSE[name.unit](text)
    except ValueError as problem:
        raise StoreError(f"{name}: {problem}.") from None
    if not 0 < value <= AMOUNT_NANOUSD_MAX:
        raise StoreError(f"{name}: give a value above 0, or remove it.")
    return value


def _milliseconds(text: str) -> int:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r} is not a number of seconds") from None
    if not value.is_finite() or value.copy_abs() > _SECONDS_MAX:
        raise ValueError(f"{text!r} is not a number of seconds that a limit can be")
    try:
        return int(_EXACT.to_integral_exact(_EXACT.multiply(value, Decimal(1_000))))
    except Inexact:
        raise ValueError(f"{text!r} is not a number of seconds with at most three decimals") from None


def _whole(text: str) -> int:
    if not (text.isascii() and text.removeprefix("-").isdigit()):
        raise ValueError(f"{text[:NAME_CHARS_MAX]!r} is not a whole number")
    return int(text)


_PARSE: dict[Unit, Callable[[str], int]] = {
    Unit.MS: _milliseconds,
    Unit.NANOUSD: parse_usd,
    Unit.COUNT: _whole,
}


def set_limit(
    connection: Connection,
    tenant_name: str,
    name: LimitName,
    value: int,
    *,
    act: Act,
    key_id: str | None = None,
) -> LimitRow:
    """Set a limit of a tenant, or of one of its keys, to `value` in its unit (`parse_value`).

    Raises:
        StoreError: there is no such tenant or key, or the value is not above zero.
    """
    lock(connection)
    owner = find_owner(connection, tenant_name, key_id)
    if not 0 < value <= AMOUNT_NANOUSD_MAX:
        raise StoreError(f"{name}: give a value above 0, or remove it.")
    old = connection.execute(select(limit_rule.c.value).where(_limit(owner, name))).scalar_one_or_none()
    if old == value:
        return _limit_row(owner, name, value)
    connection.execute(delete(limit_rule).where(_limit(owner, name)))
    row = {"owner_id": owner.id, "name": name.value, "tenant_id": owner.tenant_id, "value": value}
    connection.execute(insert(limit_rule).values(**row))
    bump(connection)
    before = None if old is None else {name.value: name.figure(old)}
    after = {name.value: name.figure(value)}
    act.note(connection, "limit.set", owner.id, tenant_id=owner.tenant_id, before=before, after=after)
    return _limit_row(owner, name, value)


def remove_limit(
    connection: Connection, tenant_name: str, name: LimitName, *, act: Act, key_id: str | None = None
) -> LimitRow:
    """Remove a limit, and return what it was.

    Raises:
        StoreError: there is no such tenant, key or limit.
    """
    lock(connection)
    owner = find_owner(connection, tenant_name, key_id)
    found = find_limit(connection, owner, name)
    connection.execute(delete(limit_rule).where(_limit(owner, name)))
    bump(connection)
    before = {name.value: found.figure}
    act.note(connection, "limit.remove", owner.id, tenant_id=owner.tenant_id, before=before)
    return found


def limit_of(connection: Connection, owner: Owner, name: LimitName) -> LimitRow | None:
    """Return a limit, None when it is not set."""
    value = connection.execute(select(limit_rule.c.value).where(_limit(owner, name))).scalar_one_or_none()
    return None if value is None else _limit_row(owner, name, value)


def find_limit(connection: Connection, owner: Owner, name: LimitName) -> LimitRow:
    """Raises StoreError: it is not set."""
    found = limit_of(connection, owner, name)
    if found is None:
        raise NotFound(f"No limit {name} is set for {owner.label}: the list of limits says which there are.")
    return found


def list_limits(
    connection: Connection,
    tenant_name: str | None = None,
    page: Page = EVERYTHING,
    owner_id: str | None = None,
) -> list[LimitRow]:
    """Return the limits of one tenant and its keys, of one owner, or of all: a tenant's own first.

    A page of them by the owner's id and the name.
    """
    rows = connection.execute(_owned(connection, limit_rule, limit_rule.c.name, tenant_name, page, owner_id))
    order = list(LimitName)
    known = [row for row in rows if row.name in order]
    found = [_limit_row(_owner(row), LimitName(row.name), row.value) for row in known]
    if not page.is_everything:
        return found
    return sorted(found, key=lambda one: (one.tenant, one.api_key_id or "", order.index(one.name)))


def load_limits(connection: Connection) -> dict[str, Limits]:
    """Return all limits by their owners' ids."""
    values: dict[str, dict[str, int]] = {}
    for row in connection.execute(select(limit_rule)):
        values.setdefault(row.owner_id, {})[row.name] = row.value
    return {owner: Limits.of(named) for owner, named in values.items()}


def _limit(owner: Owner, name: LimitName) -> Any:
    return (limit_rule.c.owner_id == owner.id) & (limit_rule.c.name == name.value)


def _limit_row(owner: Owner, name: LimitName, value: int) -> LimitRow:
    return LimitRow(owner.tenant_id, owner.tenant, owner.api_key_id, name, value, name.unit)


# --- Models


def set_model(
    connection: Connection,
    tenant_name: str,
    model: str,
    allowed: bool,
    *,
    act: Act,
    key_id: str | None = None,
) -> ModelRow:
    """Allow or deny a model, or all whose names begin with what stands before a `*` at the end.

    Raises:
        StoreError: there is no such tenant or key, it has too many rules, or no model has such a name.
    """
    lock(connection)
    owner, model = find_owner(connection, tenant_name, key_id), _checked_model(model)
    old = connection.execute(select(model_rule.c.allowed).where(_model(owner, model))).scalar_one_or_none()
    if old == allowed:
        return _model_row(owner, model, allowed)
    connection.execute(delete(model_rule).where(_model(owner, model)))
    others = select(model_rule.c.model).where(model_rule.c.owner_id == owner.id)
    if len(connection.execute(others).all()) >= RULES_MAX:
        raise Conflict(f"There are {RULES_MAX} model rules for {owner.label} already: remove some first.")
    row = {"owner_id": owner.id, "model": model, "tenant_id": owner.tenant_id, "allowed": allowed}
    connection.execute(insert(model_rule).values(**row))
    bump(connection)
    before = None if old is None else _noted(model, old)
    action, after = "model.allow" if allowed else "model.deny", _noted(model, allowed)
    act.note(connection, action, owner.id, tenant_id=owner.tenant_id, before=before, after=after)
    return _model_row(owner, model, allowed)


def remove_model(
    connection: Connection, tenant_name: str, model: str, *, act: Act, key_id: str | None = None
) -> ModelRow:
    """Remove a rule about a model, and return what it was.

    Raises:
        StoreError: there is no such tenant, key or rule.
    """
    lock(connection)
    owner = find_owner(connection, tenant_name, key_id)
    found = find_model(connection, owner, model)
    connection.execute(delete(model_rule).where(_model(owner, model)))
    bump(connection)
    before = _noted(model, found.allowed)
    act.note(connection, "model.remove", owner.id, tenant_id=owner.tenant_id, before=before)
    return found


def model_of(connection: Connection, owner: Owner, model: str) -> ModelRow | None:
    """Return the rule about this very model or pattern, None when there is none."""
    allowed = connection.execute(
        select(model_rule.c.allowed).where(_model(owner, model))
    ).scalar_one_or_none()
    return None if allowed is None else _model_row(owner, model, allowed)


def find_model(connection: Connection, owner: Owner, model: str) -> ModelRow:
    """Raises StoreError: there is no such rule."""
    found = model_of(connection, owner, model)
    if found is None:
        raise NotFound(
            f"No rule about {model[:NAME_CHARS_MAX]!r} is set for {owner.label}: a list says which are."
        )
    return found


def list_models(
    connection: Connection,
    tenant_name: str | None = None,
    page: Page = EVERYTHING,
    owner_id: str | None = None,
) -> list[ModelRow]:
    """Return the model rules of one tenant and its keys, of one owner, or of all: a tenant's own first.

    A page of them by the owner's id and the model.
    """
    rows = connection.execute(_owned(connection, model_rule, model_rule.c.model, tenant_name, page, owner_id))
    found = [_model_row(_owner(row), row.model, row.allowed) for row in rows]
    if not page.is_everything:
        return found
    return sorted(found, key=lambda one: (one.tenant, one.api_key_id or "", one.model))


def load_models(connection: Connection) -> dict[str, tuple[ModelRule, ...]]:
    """Return all model rules by their owners' ids."""
    rules: dict[str, list[ModelRule]] = {}
    for row in connection.execute(select(model_rule).order_by(model_rule.c.owner_id, model_rule.c.model)):
        rules.setdefault(row.owner_id, []).append(ModelRule(row.model, row.allowed))
    return {owner: tuple(found) for owner, found in rules.items()}


def _model(owner: Owner, model: str) -> Any:
    return (model_rule.c.owner_id == owner.id) & (model_rule.c.model == model)


def _model_row(owner: Owner, model: str, allowed: bool) -> ModelRow:
    return ModelRow(owner.tenant_id, owner.tenant, owner.api_key_id, model, allowed)


def _noted(model: str, allowed: bool) -> dict[str, object]:
    return {"model": model, "allowed": allowed}


def _checked_model(model: str) -> str:
    model = model.strip()
    if not 0 < len(model) <= MODEL_CHARS_MAX or not model.isprintable():
        raise StoreError(f"A model's name has 1 to {MODEL_CHARS_MAX} printable characters.")
    if ANY_END in model[:-1]:
        raise StoreError(f"A `{ANY_END}` stands at the end of a model's name only.")
    return model


# --- Both


def _owned(
    connection: Connection,
    table: Table,
    name: Column[str],
    tenant_name: str | None,
    page: Page,
    owner_id: str | None,
) -> Select[Any]:
    query = select(table, tenant.c.name.label("tenant")).join(tenant, tenant.c.id == table.c.tenant_id)
    if tenant_name is not None:
        query = query.where(table.c.tenant_id == find_tenant(connection, tenant_name, page.within).id)
    if owner_id is not None:
        query = query.where(table.c.owner_id == owner_of_id(connection, owner_id, page.within).id)
    return page.of(query, table.c.owner_id, name, tenant_id=table.c.tenant_id)


def _owner(row: Row[Any]) -> Owner:
    return Owner(row.tenant_id, row.tenant, None if row.owner_id == row.tenant_id else row.owner_id)
