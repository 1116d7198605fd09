"""What the journal's records say about running sessions: their metrics and their two log lines."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from proxy.core.money import format_usd
from proxy.core.records import Entry, Kind, Record, SessionClosed, SessionOpened
from proxy.observe.metrics import Metrics

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Live:
    """One session's figures so far."""

    tenant: str
    opened_at: datetime
    responses: int = 0
    cost_nanousd: int = 0
    unrated: int = 0


class SessionWatch:
    """Sees every record on its way to the journal. Holds one small object a live session."""

    def __init__(self, metrics: Metrics, tenant_name: Callable[[SessionOpened], str]) -> None:
        """`tenant_name` tells the name, which people know, of a new session's tenant."""
        self._metrics = metrics
        self._tenant_name = tenant_name
        self._live: dict[str, _Live] = {}

    def see(self, record: Record) -> None:
        """Count `record`; write a line when a session starts or ends."""
        match record:
            case SessionOpened():
                self._opened(record)
            case Entry() if record.counts:
                self._metrics.underway.read(record.entry_key)
                self._booked(record)
            case SessionClosed():
                self._closed(record)

    def _opened(self, record: SessionOpened) -> None:
        live = _Live(self._tenant_name(record), record.opened_at)
        self._live[record.session_id] = live
        self._metrics.sessions_active.set(len(self._live))
        who = {"session": record.session_id, "tenant": live.tenant, "api_key": record.api_key_id}
        logger.info("session started", extra=who | {"project": record.project_id, "model": record.model})

    def _booked(self, record: Entry) -> None:
        live = self._live.get(record.session_id)
        self._metrics.booked(record, live.tenant if live else "_unknown")
        if live:
            live.responses += record.kind is Kind.RESPONSE
            live.cost_nanousd += record.cost_nanousd or 0
            live.unrated += record.cost_nanousd is None
        if record.cost_nanousd is None:
            facts = {"session": record.session_id, "tenant": live.tenant if live else None}
            logger.warning("unrated", extra=facts | {"model": record.model, "subject": record.subject_id})

    def _closed(self, record: SessionClosed) -> None:
        live = self._live.pop(record.session_id, None)
        if live is None:
            return
        seconds = (record.closed_at - live.opened_at).total_seconds()
        self._metrics.sessions_active.set(len(self._live))
        self._metrics.session_ended(record.close_code, record.reason, seconds)
        facts = {"session": record.session_id, "tenant": live.tenant, "seconds": round(seconds, 3)}
        figures = {"responses": live.responses, "cost_usd": format_usd(live.cost_nanousd)}
        figures |= {"unrated": live.unrated} if live.unrated else {}
        logger.info(
            "session ended", extra=facts | figures | {"code": record.close_code, "reason": record.reason}
        )
