"""Ledgers for tests, written the way the data plane writes them: records through a posting."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from typing import Any

from sqlalchemy import Engine

from proxy.core.rating import rate
from proxy.core.records import Entry, Kind, Record, SessionBound, SessionClosed, SessionOpened
from proxy.core.usage import Flag, Meter, Usage
from proxy.store import tenants
from proxy.store.audit import Act
from proxy.store.database import reading, writing
from proxy.store.posting import post
from proxy.store.prices import load_prices

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ACT = Act("test", NOW)
PEPPER = b"a pepper for tests only"
MODEL = "gpt-realtime-2.1"


class Books:
    """A database that tenants' sessions and entries can be added to."""

    def __init__(self, engine: Engine, zone: tzinfo = UTC) -> None:
        self.engine = engine
        self._zone = zone
        self._seq = 0
        self._gathered: list[Record] | None = None
        self._upstream: dict[str, str] = {}
        self._payers: dict[str, str] = {}
        self._keys: dict[tuple[str, str | None], tenants.Key] = {}
        with reading(engine) as connection:
            self.prices = load_prices(connection)

    def key(self, tenant: str, project: str | None = None) -> tenants.Key:
        """Return a key of that tenant and project, all made when missing."""
        if (tenant, project) not in self._keys:
            with writing(self.engine) as connection:
                if tenant not in {one.name for one in tenants.list_tenants(connection)}:
                    tenants.create_tenant(connection, tenant, ACT)
                self._keys[tenant, project], _ = tenants.create_key(
                    connection,
                    PEPPER,
                    tenant_name=tenant,
                    act=ACT,
                    project_name=project,
                    name=f"{tenant}'s key",
                )
        return self._keys[tenant, project]

    def open(
        self,
        session_id: str,
        tenant: str = "acme",
        project: str | None = None,
        *,
        end_user: str | None = None,
        tags: Mapping[str, str] | None = None,
        at: datetime = NOW,
    ) -> None:
        self.post(*self.opening(session_id, tenant, project, end_user=end_user, tags=tags, at=at))

    def opening(
        self,
        session_id: str,
        tenant: str = "acme",
        project: str | None = None,
        *,
        end_user: str | None = None,
        tags: Mapping[str, str] | None = None,
        at: datetime = NOW,
    ) -> tuple[Record, Record]:
        """Return what `open` posts."""
        key = self.key(tenant, project)
        self._upstream[session_id] = f"sess_{session_id}"
        self._payers[session_id] = key.tenant_id
        return (
            SessionOpened(
                session_id=session_id,
                tenant_id=key.tenant_id,
                project_id=key.project_id,
                api_key_id=key.id,
                end_user=end_user,
                tags=dict(tags or {}),
                provider="openai",
                account=None,
                model=MODEL,
                opened_at=at,
            ),
            SessionBound(session_id=session_id, upstream_session_id=f"sess_{session_id}", model=MODEL, at=at),
        )

    def take_over(self, session_id: str, tenant_id: str) -> None:
        """Bill a session that was opened by other books than these."""
        self._upstream[session_id] = f"sess_{session_id}"
        self._payers[session_id] = tenant_id

    def bill(
        self,
        session_id: str,
        subject_id: str,
        counts: Mapping[Meter, int] | None = None,
        *,
        at: datetime = NOW,
        model: str = MODEL,
        **more: Any,
    ) -> Entry:
        """Book what `counts` cost by `prices`; without counts the usage is missing."""
        entry = self.entry(session_id, subject_id, counts, at=at, model=model, **more)
        self.post(entry)
        return entry

    def entry(
        self,
        session_id: str,
        subject_id: str,
        counts: Mapping[Meter, int] | None = None,
        *,
        at: datetime = NOW,
        model: str = MODEL,
        **more: Any,
    ) -> Entry:
        """Return what `bill` books."""
        flags = frozenset({Flag.USAGE_MISSING}) if counts is None else frozenset[Flag]()
        terms = self.prices.terms("openai", model, at, self._payers[session_id])
        rated = rate(Usage(counts or {}, flags), terms)
        values: dict[str, Any] = {"kind": Kind.RESPONSE, "status": "completed", "flags": tuple(flags)} | more
        return Entry(
            session_id=session_id,
            upstream_session_id=self._upstream[session_id],
            provider="openai",
            subject_id=subject_id,
            model=model,
            occurred_at=at,
            lines=rated.lines,
            cost_nanousd=rated.cost_nanousd,
            billing=terms.billing,
            **values,
        )

    def close(self, session_id: str, at: datetime = NOW) -> None:
        self.post(SessionClosed(session_id=session_id, closed_at=at, close_code=1000, reason="client_closed"))

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Post what the block opens, bills and closes in one transaction, at its end."""
        self._gathered = gathered = list[Record]()
        yield
        self._gathered = None
        self.post(*gathered)

    def post(self, *records: Record) -> None:
        if self._gathered is not None:
            self._gathered += records
            return
        self._seq += len(records)
        with writing(self.engine) as connection:
            post(connection, records, instance_id="i1", upto=self._seq, zone=self._zone, now=NOW)
