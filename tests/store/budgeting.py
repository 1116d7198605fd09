"""Budgets, postings and counters for the tests of spending."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, Table, insert, select, update

from proxy.core.budgets import Budget, Scope
from proxy.core.rating import Line
from proxy.core.records import Entry, Record
from proxy.core.usage import Meter
from proxy.core.windows import Window
from proxy.store.budget_list import load_book
from proxy.store.changes import bump, current
from proxy.store.database import reading, writing
from proxy.store.posting import Posting, post
from proxy.store.schema import budget, budget_raise, budget_window, webhook
from tests.store import made

NOW = datetime(2026, 12, 1, 0, 0, 1, tzinfo=UTC)
DOLLAR = 1_000_000_000


def add_budget(
    database: Engine,
    budget_id: str = "b_1",
    scope: Scope = Scope.TENANT,
    window: Window = Window.DAY,
    amount_nanousd: int | None = DOLLAR,
    **facts: Any,
) -> Budget:
    """Store a budget and return it as it is loaded again."""
    given: dict[str, Any] = {
        "tenant_id": None if scope is Scope.ORGANISATION else "t_1",
        "zone": "UTC",
        "on_exhausted": "cut",
        "on_store_down": "terminate",
        "store_down_nanousd": 0,
        "thresholds": [50, 80, 100],
        "created_at": NOW,
    }
    rule = {"id": budget_id, "scope": scope, "window": window, "amount_nanousd": amount_nanousd}
    with writing(database) as connection:
        connection.execute(insert(budget).values(given | rule | facts))
        bump(connection)
    return load(database)[budget_id]


def change_amount(database: Engine, budget_id: str, amount_nanousd: int | None) -> Budget:
    with writing(database) as connection:
        connection.execute(
            update(budget).where(budget.c.id == budget_id).values(amount_nanousd=amount_nanousd)
        )
        bump(connection)
    return load(database)[budget_id]


def add_raise(database: Engine, budget_id: str, amount_nanousd: int, start: datetime, end: datetime) -> None:
    row = {"id": f"r_{budget_id}", "budget_id": budget_id, "amount_nanousd": amount_nanousd}
    span = {"starts_at": start, "ends_at": end, "reason": "", "actor": "cli", "created_at": NOW}
    with writing(database) as connection:
        connection.execute(insert(budget_raise).values(row | span))
        bump(connection)


def add_webhook(database: Engine, tenant_id: str | None, *kinds: str, **facts: Any) -> None:
    row = {"id": f"w_{tenant_id}", "tenant_id": tenant_id, "url": "https://example.com", "secret": "x"}
    with writing(database) as connection:
        connection.execute(insert(webhook).values(row | {"kinds": list(kinds), "created_at": NOW} | facts))


def load(database: Engine) -> Mapping[str, Budget]:
    with reading(database) as connection:
        return load_book(connection, current(connection)).budgets


def book(database: Engine, *records: Record, instance_id: str = "i_1", **more: Any) -> Posting:
    with writing(database) as connection:
        return post(connection, records, instance_id=instance_id, upto=1, zone=UTC, now=NOW, **more)


def priced(subject_id: str, nanousd: int, session_id: str = "s_1", **facts: Any) -> Entry:
    """An entry of exactly this cost."""
    amounts: dict[str, Any] = {"list_nanousd": nanousd, "cost_nanousd": nanousd, "billed_nanousd": nanousd}
    line = Line(meter=Meter.AUDIO_IN, quantity=1, price_nanousd=nanousd, price_per=1, **amounts)
    given: dict[str, Any] = {"lines": (line,), "cost_nanousd": nanousd}
    return made.entry(subject_id, session_id=session_id, **given | facts)


def rows(database: Engine, table: Table) -> Sequence[Any]:
    with reading(database) as connection:
        return connection.execute(select(table).order_by(*table.primary_key.columns)).all()


def spent(database: Engine) -> dict[tuple[str, str, str], int]:
    """What each window has spent, by budget, subject and start."""
    return {
        (row.budget_id, row.subject, f"{row.starts_at:%Y-%m-%dT%H:%M}"): row.spent_nanousd
        for row in rows(database, budget_window)
    }
