"""Closing months in tests."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, select

from proxy.store.audit import Act
from proxy.store.close import Closed, close
from proxy.store.database import reading, writing
from proxy.store.schema import ledger_entry, ledger_period, statement, statement_line

LATER = datetime(2027, 3, 1, tzinfo=UTC)  # every month that tests book in is over
CLOSING = Act("cli:finance@desk", LATER)
ZONE = ZoneInfo("UTC")


def close_month(
    engine: Engine,
    period: str,
    overrides: Mapping[str, str] | None = None,
    *,
    zone: ZoneInfo = ZONE,
    act: Act = CLOSING,
    issuer: str | None = None,
) -> Closed:
    with writing(engine) as connection:
        return close(connection, period, act, zone=zone, overrides=overrides or {}, issuer=issuer)


def stated(engine: Engine, through: str = "9999") -> list[Any]:
    """Return everything that was ever stated about months up to `through`, and their entries."""
    with reading(engine) as connection:
        heads = connection.execute(select(statement).where(statement.c.period <= through)).all()
        wanted = [one.number for one in heads]
        lines = connection.execute(select(statement_line).where(statement_line.c.statement.in_(wanted))).all()
        closes = connection.execute(select(ledger_period).where(ledger_period.c.period <= through)).all()
        entries = connection.execute(select(ledger_entry).where(ledger_entry.c.period <= through)).all()
    return [sorted(map(repr, rows)) for rows in (heads, lines, closes, entries)]
