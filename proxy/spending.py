"""What an app is shown of its own spending: its tenant's month, and what is left of each budget."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, tzinfo
from typing import Any

from aiohttp import web
from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from proxy.core.budgets import Budget, BudgetBook, Payer, Pot, Scope, pot_of
from proxy.core.identity import Principal
from proxy.core.money import usd
from proxy.core.refusal import DATABASE_DOWN
from proxy.core.windows import Window, span_at
from proxy.relay.handler import refuse
from proxy.store.columns import storable
from proxy.store.database import reading
from proxy.store.schema import end_user, ledger_entry
from proxy.store.spend import spent_of
from proxy.store.sums import UNRATED, exact, parts


class Spending:
    """Looks an app's spending up, in a thread."""

    def __init__(
        self, engine: Engine, book: Callable[[], BudgetBook], clock: Callable[[], datetime], zone: tzinfo
    ) -> None:
        self._engine = engine
        self._book = book
        self._clock = clock
        self._zone = zone

    async def __call__(self, principal: Principal, user: str | None) -> Mapping[str, Any]:
        """Return what this key's tenant has spent, and what encloses its sessions; of `user` if named.

        The organisation's budgets are not an app's to see.

        Raises:
            HTTPServiceUnavailable: the database is down; the body is OpenAI's error JSON.
        """
        try:
            return await asyncio.to_thread(self._find, principal, user)
        except SQLAlchemyError:
            raise web.HTTPServiceUnavailable(
                text=refuse(DATABASE_DOWN).text, content_type="application/json"
            ) from None

    def _find(self, principal: Principal, user: str | None) -> Mapping[str, Any]:
        now = self._clock()
        with reading(self._engine) as connection:
            user_id = _user_id(connection, principal.tenant_id, user)
            payer = Payer("", principal.tenant_id, principal.project_id, principal.api_key_id, user_id)
            enclosing = [one for one in self._book().enclosing(payer) if one.scope is not Scope.ORGANISATION]
            pots = {pot_of(one, payer, now): one for one in enclosing if one.window is not Window.SESSION}
            spent = spent_of(connection, pots)
            return {
                "tenant": principal.tenant,
                "project": principal.project,
                "api_key_id": principal.api_key_id,
                "month": self._month(connection, principal, now),
                "budgets": [_show(one, payer, spent, now) for one in enclosing],
            }

    def _month(self, connection: Connection, principal: Principal, now: datetime) -> Mapping[str, Any]:
        """Return what the tenant was billed in this calendar month."""
        span = span_at(Window.MONTH, self._zone, now)
        assert span is not None
        entry = ledger_entry.c
        query = select(func.count().label("entries"), UNRATED, *parts(entry.billed_nanousd, "billed")).where(
            entry.tenant_id == principal.tenant_id,
            entry.occurred_at >= span.start,
            entry.occurred_at < span.end,
        )
        row = connection.execute(query).one()
        return {
            "starts_at": span.start,
            "ends_at": span.end,
            "entries": row.entries,
            "unrated_entries": int(row.unrated or 0),
            **usd("spent", exact(row, "billed")),
        }


def _user_id(connection: Connection, tenant_id: str, user: str | None) -> str | None:
    if user is None:
        return None
    columns = end_user.c
    query = select(columns.id).where(columns.tenant_id == tenant_id, columns.name == storable(user))
    # A user that never spoke has a budget as well, of which nothing is spent.
    return connection.execute(query).scalar_one_or_none() or "unknown"


def _show(budget: Budget, payer: Payer, spent: Mapping[Pot, int], now: datetime) -> Mapping[str, Any]:
    span, amount = budget.span(now), budget.amount_at(now)
    is_own = budget.window is Window.SESSION  # of each session anew: nothing can be said of all of them
    used = None if is_own else spent.get(pot_of(budget, payer, now), 0)
    return {
        "scope": budget.scope,
        "window": budget.window,
        "zone": budget.zone.key,
        "starts_at": span and span.start,
        "ends_at": span and span.end,
        "on_exhausted": budget.on_exhausted,
        **usd("amount", amount),
        **usd("spent", used),
        **usd("left", None if amount is None or used is None else amount - used),
    }
