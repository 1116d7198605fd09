"""What is announced of a session that is over: what it has cost, for those who want to hear of it."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, RowMapping, or_, select

from proxy.core.announced import Announced
from proxy.core.money import format_usd
from proxy.core.records import SessionClosed
from proxy.store.instants import format_instant
from proxy.store.outbox import News, announce
from proxy.store.schema import ledger_entry, session, webhook
from proxy.store.sums import RESPONSES, UNRATED, exact, parts


def announce_ended(connection: Connection, closed: Sequence[SessionClosed], now: datetime) -> None:
    """Announce the sessions that are over, where a webhook of their tenant or of all wants to know."""
    if not closed:
        return
    columns = session.c
    rows = connection.execute(select(session).where(columns.id.in_({one.session_id for one in closed})))
    sessions = rows.mappings().all()
    listeners = _listeners(connection, {row["tenant_id"] for row in sessions})
    wanted = [row for row in sessions if None in listeners or row["tenant_id"] in listeners]
    if wanted:
        sums = _sums(connection, [row["id"] for row in wanted])
        announce(connection, [_ended(row, sums.get(row["id"], {}), now) for row in wanted])


def _listeners(connection: Connection, tenant_ids: set[str]) -> set[str | None]:
    """Return the tenants, None for all, that have a webhook for this."""
    columns = webhook.c
    query = select(columns.tenant_id, columns.kinds).where(
        columns.deleted_at.is_(None), or_(columns.tenant_id.is_(None), columns.tenant_id.in_(tenant_ids))
    )
    return {row.tenant_id for row in connection.execute(query) if Announced.SESSION_ENDED in row.kinds}


def _sums(connection: Connection, session_ids: Sequence[str]) -> Mapping[str, dict[str, int]]:
    entry = ledger_entry.c
    cost, billed = parts(entry.cost_nanousd, "cost"), parts(entry.billed_nanousd, "billed")
    query = select(entry.session_id, RESPONSES, UNRATED, *cost, *billed)
    found = connection.execute(query.where(entry.session_id.in_(session_ids)).group_by(entry.session_id))
    return {
        row.session_id: {
            "responses": int(row.responses),
            "unrated_entries": int(row.unrated),
            "cost_nanousd": exact(row, "cost"),
            "billed_nanousd": exact(row, "billed"),
        }
        for row in found
    }


_NOTHING = {"responses": 0, "unrated_entries": 0, "cost_nanousd": 0, "billed_nanousd": 0}
_FACTS = ("tenant_id", "project_id", "api_key_id", "tags", "model", "close_code", "reason")


def _ended(row: RowMapping, sums: dict[str, int], now: datetime) -> News:
    figures = _NOTHING | sums
    return News(
        key=f"session.ended/{row['id']}",
        kind=Announced.SESSION_ENDED,
        tenant_id=row["tenant_id"],
        at=now,
        payload={
            "session_id": row["id"],
            **{name: row[name] for name in _FACTS},
            "opened_at": format_instant(row["opened_at"]),
            "closed_at": format_instant(row["closed_at"]),
            **figures,
            "cost_usd": format_usd(figures["cost_nanousd"]),
        },
    )
