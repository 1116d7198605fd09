"""What an app is shown of a session of its tenant that is over: the shape of one that runs, and its end.

To an app a session's cost is what its tenant owes for it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from aiohttp import web
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from proxy.core.money import format_usd
from proxy.core.refusal import DATABASE_DOWN
from proxy.relay.handler import refuse
from proxy.store.journal import JournalFailed
from proxy.store.ledger import Booked, session_turns
from proxy.store.sessions import SessionRow, find_session

POSTED_S = 2.0  # for what has just ended here to reach the ledger


class PastSessions:
    """Looks ended sessions up in the ledger, in a thread."""

    def __init__(
        self, engine: Engine, clock: Callable[[], datetime], posted: Callable[[], Awaitable[None]]
    ) -> None:
        """`posted` returns when the ledger has all that has happened here."""
        self._engine = engine
        self._clock = clock
        self._posted = posted

    async def __call__(self, session_id: str, tenant_id: str) -> Mapping[str, Any] | None:
        """Return a session of this tenant, or None: another tenant's is as unknown as one that never was.

        One that ended here a moment ago may stand in the ledger in part, or not yet. An app that has seen its
        figures must not see them go back, so what seems to have no end is looked up again once all is posted.

        Raises:
            HTTPServiceUnavailable: the database is down; the body is OpenAI's error JSON.
        """
        try:
            found = await asyncio.to_thread(self._find, session_id, tenant_id)
            if (found is None or found["closed_at"] is None) and await self._catches_up():
                found = await asyncio.to_thread(self._find, session_id, tenant_id)
            return found
        except SQLAlchemyError:
            raise web.HTTPServiceUnavailable(
                text=refuse(DATABASE_DOWN).text, content_type="application/json"
            ) from None

    async def _catches_up(self) -> bool:
        try:
            async with asyncio.timeout(POSTED_S):
                await self._posted()
        except (TimeoutError, JournalFailed, RuntimeError):  # it is far behind, or this instance is ending
            return False
        return True

    def _find(self, session_id: str, tenant_id: str) -> Mapping[str, Any] | None:
        found = find_session(self._engine, session_id, self._clock())
        if found is None or found.tenant_id != tenant_id:
            return None
        return _show(found, session_turns(self._engine, session_id))


def _show(found: SessionRow, turns: list[Booked]) -> dict[str, Any]:
    billed = sum(turn.billed_nanousd or 0 for turn in turns)
    return {
        "id": found.id,
        "live": found.live,
        "opened_at": found.opened_at,
        "closed_at": found.closed_at,
        "close_code": found.close_code,
        "reason": found.reason,
        "model": found.model,
        "upstream_session_id": found.upstream_session_id,
        "tags": found.tags,
        "responses": found.responses,
        "cost_nanousd": billed,
        "cost_usd": format_usd(billed),
        "turns": [_show_turn(turn) for turn in turns],
    }


def _show_turn(turn: Booked) -> dict[str, Any]:
    return {
        "subject_id": turn.subject_id,
        "kind": turn.kind,
        "model": turn.model,
        "status": turn.status,
        "estimated": turn.estimated,
        "occurred_at": turn.occurred_at,
        "cost_nanousd": turn.billed_nanousd,
        "cost_usd": None if turn.billed_nanousd is None else format_usd(turn.billed_nanousd),
        # None where its lines are in an archive: that is not nothing
        "meters": {line.meter: line.quantity for line in turn.lines} if turn.archive is None else None,
    }
