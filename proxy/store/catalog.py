"""The data plane's view of who may connect, what things cost and what may be spent, kept in memory.

A thread of its own polls the change counter twice a second and reads everything again when it has
moved, so that the event loop never waits for the database and known keys go on working without it.
A secret that is not known may have been made a moment ago: it asks for one look at the counter now,
which all who ask at the same time share and which happens at most ten times a second, whatever
arrives.

Secrets are found by their HMAC in a dict. How long that takes tells an attacker nothing that helps:
to steer a comparison of hashes one would have to choose hashes, and those depend on the pepper.
"""

import asyncio
import concurrent.futures
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Row, select
from sqlalchemy.exc import SQLAlchemyError

from proxy.clock import utc_now
from proxy.core.budgets import BudgetBook
from proxy.core.identity import Principal
from proxy.core.limits import NO_LIMITS, Limits, narrowest
from proxy.core.models import ALL_MODELS, ModelRule, ModelRules
from proxy.core.rating import CardBook
from proxy.core.refusal import DATABASE_DOWN, KEY_EXPIRED, KEY_REVOKED, UNKNOWN_KEY, Refusal
from proxy.store import StoreError, changes
from proxy.store.budget_list import load_book
from proxy.store.database import reading
from proxy.store.keys import hash_secret, looks_like_secret
from proxy.store.limits import load_limits, load_models
from proxy.store.markups import load_markups
from proxy.store.prices import load_cards
from proxy.store.schema import api_key, project, tenant

POLL_S = 0.5
ASKED_GAP_S = 0.1  # between two looks that were asked for
ASKED_WAIT_S_MAX = 2.0
STALE_S = 5.0  # a database that has not answered for this long is down, though it has not said so

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Known:
    """A key, whether or not it still opens anything."""

    principal: Principal
    expires_at: datetime | None
    revoked: bool  # itself, or its tenant or project is archived

    def refusal(self, now: datetime) -> Refusal | None:
        if self.revoked:
            return KEY_REVOKED
        return KEY_EXPIRED if self.expires_at is not None and self.expires_at <= now else None


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """The catalogue as it was when the change counter stood at `counter`."""

    counter: int = -1
    by_hash: Mapping[str, _Known] = field(default_factory=dict)
    by_id: Mapping[str, _Known] = field(default_factory=dict)
    budgets: BudgetBook = field(default_factory=BudgetBook)
    limits: Mapping[str, Limits] = field(default_factory=dict)  # by owner: a tenant's or a key's id
    models: Mapping[str, tuple[ModelRule, ...]] = field(default_factory=dict)

    @property
    def counts_sessions(self) -> bool:
        return any(one.sessions is not None for one in self.limits.values())


class Catalog:
    """Keys, limits, budgets and rate cards in memory. `start` it before use and `stop` it in the end."""

    def __init__(
        self,
        engine: Engine,
        pepper: bytes,
        *,
        aliases: Mapping[str, str] | None = None,
        poll_s: float = POLL_S,
    ) -> None:
        """`aliases` maps a deployment's name to the model whose cards it uses."""
        self._engine = engine
        self._pepper = pepper
        self._aliases = dict(aliases or {})
        self.cards = CardBook(aliases=aliases)  # always the current ones, also for those who keep it
        self._poll_s = poll_s
        self.on_change: Callable[[], None] = lambda: None  # called in the thread
        self._snapshot = _Snapshot()
        self._answered_at: float | None = None  # monotonic; None after a failure
        self._lock = threading.Lock()  # around `_asked`
        self._asked: concurrent.futures.Future[bool] | None = None
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="catalog", daemon=True)

    def start(self) -> None:
        """Read the catalogue and keep it fresh. A database that is down is tried again, not fatal."""
        self._refresh()
        self._thread.start()

    def stop(self) -> None:
        """End the thread; whoever still waits for a look is told that there was none."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        self._answer(self._take_asked(), False)

    @property
    def healthy(self) -> bool:
        """Whether the database answered lately."""
        return self._answered_at is not None and time.monotonic() - self._answered_at < STALE_S

    @property
    def budgets(self) -> BudgetBook:
        """The budgets as they are now: who keeps the book keeps an old one. Its version is -1 before any."""
        return self._snapshot.budgets

    def key_ok(self, api_key_id: str, now: datetime | None = None) -> Refusal | None:
        """Return why a key that has opened a session may not keep it, or None while it may."""
        known = self._snapshot.by_id.get(api_key_id)
        return known.refusal(now or utc_now()) if known else KEY_REVOKED

    @property
    def version(self) -> int:
        """Return where the change counter stood when all of this was read."""
        return self._snapshot.counter

    @property
    def counts_sessions(self) -> bool:
        """Say whether any limit asks how many sessions run at the same time."""
        return self._snapshot.counts_sessions

    def limits_of(self, owner_id: str) -> Limits:
        """Return the limits of a tenant, or of a key."""
        return self._snapshot.limits.get(owner_id, NO_LIMITS)

    def limits_for(self, principal: Principal) -> Limits:
        """Return the limits that enclose a session: of its tenant and of its key, the smaller of each."""
        return narrowest(self.limits_of(principal.tenant_id), self.limits_of(principal.api_key_id))

    def models_for(self, principal: Principal) -> ModelRules:
        """Return which models a session may use: both its tenant's rules and its key's have to agree."""
        rules = (self._snapshot.models.get(one) for one in (principal.tenant_id, principal.api_key_id))
        owners = tuple(found for found in rules if found)
        return ModelRules(owners, self._aliases) if owners else ALL_MODELS

    async def authenticate(self, secret: str, now: datetime) -> Principal | Refusal:
        """Return whose key `secret` is, or why it opens nothing."""
        if not looks_like_secret(secret):
            return UNKNOWN_KEY
        hashed = hash_secret(secret, self._pepper)
        known = self._snapshot.by_hash.get(hashed)
        if known is None:
            if not await self._looked():
                return DATABASE_DOWN
            known = self._snapshot.by_hash.get(hashed)
        if known is None:
            return UNKNOWN_KEY
        return known.refusal(now) or known.principal

    async def _looked(self) -> bool:
        """Wait for a look at the database that starts after this call; tell whether it came off."""
        with self._lock:
            if self._asked is None:
                self._asked = concurrent.futures.Future()
                self._asked.set_running_or_notify_cancel()  # one who gives up must not cancel it for all
            asked = self._asked
        self._wake.set()
        try:
            return await asyncio.wait_for(asyncio.wrap_future(asked), ASKED_WAIT_S_MAX)
        except TimeoutError:
            return False

    # --- The thread

    def _run(self) -> None:
        looked_at = time.monotonic()
        while not self._stopping:
            if self._wake.wait(self._poll_s):
                self._wake.clear()
                time.sleep(max(0.0, min(ASKED_GAP_S, looked_at + ASKED_GAP_S - time.monotonic())))
            asked = self._take_asked()
            looked_at = time.monotonic()
            self._answer(asked, self._refresh())

    def _take_asked(self) -> concurrent.futures.Future[bool] | None:
        with self._lock:
            asked, self._asked = self._asked, None
        return asked

    @staticmethod
    def _answer(asked: concurrent.futures.Future[bool] | None, looked: bool) -> None:
        if asked is not None:
            asked.set_result(looked)

    def _refresh(self) -> bool:
        """Take over what has changed; tell whether the database answered."""
        try:
            with reading(self._engine) as connection:
                counter = changes.current(connection)
                if counter != self._snapshot.counter:
                    cards, markups = load_cards(connection), load_markups(connection)
                    self._snapshot = _load(connection, counter)
                    self.cards.replace(cards, markups)
                    self.on_change()
        except (SQLAlchemyError, msgspec.MsgspecError, StoreError) as error:
            if self._answered_at is not None or self._snapshot.counter < 0:
                logger.warning(
                    "the catalogue cannot be read; known keys go on working: %s", _first_line(error)
                )
            self._answered_at = None
            return False
        self._answered_at = time.monotonic()
        return True


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _load(connection: Connection, counter: int) -> _Snapshot:
    by_hash = {}
    by_id = {}
    for row in connection.execute(_KEYS):
        known = _known(row)
        by_hash[row.secret_hmac] = by_id[row.id] = known
    book = load_book(connection, counter)
    return _Snapshot(counter, by_hash, by_id, book, load_limits(connection), load_models(connection))


_KEYS = (
    select(
        api_key,
        tenant.c.name.label("tenant"),
        tenant.c.archived_at.label("tenant_archived_at"),
        project.c.name.label("project"),
        project.c.archived_at.label("project_archived_at"),
    )
    .join(tenant, tenant.c.id == api_key.c.tenant_id)
    .join(project, project.c.id == api_key.c.project_id, isouter=True)
)


def _known(row: Row[Any]) -> _Known:
    principal = Principal(row.id, row.tenant_id, row.tenant, row.project_id, row.project, row.tags)
    ends = (row.revoked_at, row.tenant_archived_at, row.project_archived_at)
    return _Known(principal, row.expires_at, any(at is not None for at in ends))
