"""Rules that say which model and meter the lines of the provider's bill are. Some come with the tables."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from proxy.core.line_items import LineItems, Rule, rule_problem
from proxy.core.usage import Meter
from proxy.store import Conflict, NotFound, StoreError
from proxy.store.audit import Act
from proxy.store.changes import lock
from proxy.store.pages import EVERYTHING, Page
from proxy.store.schema import line_item

RULES_MAX = 1_000
_METERS = frozenset(meter.value for meter in Meter)


@dataclass(frozen=True, slots=True)
class StoredRule:
    """A rule, and since when it is this one."""

    rule: Rule
    set_at: datetime

    def as_json(self) -> dict[str, Any]:
        return {**_noted(self.rule), "set_at": self.set_at}


def list_rules(connection: Connection, page: Page = EVERYTHING) -> list[StoredRule]:
    """Return the rules, by their names."""
    rows = connection.execute(page.of(select(line_item), line_item.c.name, tenant_id=None))
    return [StoredRule(_rule(row), row.set_at) for row in rows]


def load_line_items(connection: Connection) -> LineItems:
    """Return what the lines of a bill mean."""
    return LineItems(one.rule for one in list_rules(connection))


def find_rule(connection: Connection, name: str) -> StoredRule:
    """Raises StoreError: there is no such rule."""
    row = connection.execute(select(line_item).where(line_item.c.name == name)).first()
    if row is None:
        raise NotFound(f"There is no rule {name[:100]!r}: the list of rules says which there are.")
    return StoredRule(_rule(row), row.set_at)


def set_rule(connection: Connection, rule: Rule, act: Act) -> StoredRule:
    """Make a rule, or say anew what lines of its name are.

    Raises:
        StoreError: the rule cannot be used, or there are too many.
    """
    problem = rule_problem(rule)
    if problem is not None:
        raise StoreError(problem)
    lock(connection)
    row = connection.execute(select(line_item).where(line_item.c.name == rule.name)).first()
    values = {"model": rule.model, "meter": rule.meter, "set_at": act.at}
    if row is not None:
        connection.execute(update(line_item).where(line_item.c.name == rule.name).values(values))
    elif connection.execute(select(func.count()).select_from(line_item)).scalar_one() >= RULES_MAX:
        raise Conflict(f"There are at most {RULES_MAX} rules: remove one first.")
    else:
        connection.execute(insert(line_item).values(name=rule.name, **values))
    before = _noted(_rule(row)) if row is not None else None
    act.note(connection, "line_item.set", rule.name, before=before, after=_noted(rule))
    return find_rule(connection, rule.name)


def remove_rule(connection: Connection, name: str, act: Act) -> StoredRule:
    """Remove a rule. Raises StoreError: there is no such rule."""
    lock(connection)
    old = find_rule(connection, name)
    connection.execute(delete(line_item).where(line_item.c.name == name))
    act.note(connection, "line_item.remove", name, before=_noted(old.rule))
    return old


def _rule(row: Any) -> Rule:
    """A newer version may know meters that this one cannot count: their lines are not compared."""
    return Rule(row.name, Meter(row.meter) if row.meter in _METERS else None, row.model)


def _noted(rule: Rule) -> dict[str, Any]:
    return {"name": rule.name, "model": rule.model, "meter": rule.meter.value if rule.meter else None}
