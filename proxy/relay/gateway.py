"""The sessions of this instance: who is let in, what runs, and how all of it ends.

A session's life here: `admit` reserves a place (`Admission`, a context that gives it back), `open`
turns it into a `LiveSession`, and it is forgotten once its last record is on disk. There are no
tasks: sessions live in their sockets' callbacks, and one timer looks after all of them.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self

from proxy.clock import utc_now
from proxy.core.allowance import Allowance
from proxy.core.events import Side
from proxy.core.identity import Principal
from proxy.core.limits import ModelRefusal
from proxy.core.records import Entry, Record, SessionOpened
from proxy.core.refusal import DISK_FULL, DRAINING, TOO_MANY_SESSIONS, Refusal, model_unpriced
from proxy.core.session import Session
from proxy.core.subjects import Booker, first_usage
from proxy.ids import new_id
from proxy.observe.listening import Listening
from proxy.observe.metrics import Metrics
from proxy.observe.sessions import SessionWatch
from proxy.relay.ask import Ask
from proxy.relay.dial import UpstreamConnection
from proxy.relay.handover import TakenOver
from proxy.relay.needs import Budgets, KeyCatalog, RecordKeeper
from proxy.relay.reason import Reason
from proxy.relay.tunnel import Tunnel, TunnelConfig
from proxy.relay.turnstile import Turnstile

SWEEPS = 10  # a tenth of the sessions is looked after every tenth of a second
SWEEP_S = 1.0
ENDING_S = 10.0  # for the last close frames and records, beyond lingering
SPREAD_S = 5.0  # over which a drain closes what still runs: not all clients shall connect again at once


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """What an instance allows. Times in seconds."""

    account: str | None = None  # the upstream account, as the ledger names it
    provider: str = "openai"
    sessions_max: int = 10_000
    message_bytes_max: int = 16 * 1024 * 1024
    linger_s: float = 10.0
    stall_s: float = 10.0
    idle_timeout_s: float = 600.0
    drain_s: float = 60.0

    @property
    def tunnel(self) -> TunnelConfig:
        return TunnelConfig(
            message_bytes_max=self.message_bytes_max,
            linger_s=self.linger_s,
            stall_s=self.stall_s,
            idle_timeout_s=self.idle_timeout_s,
        )


@dataclass(slots=True)
class LiveSession:
    """A session that runs: whose it is, and its tunnel."""

    principal: Principal
    tunnel: Tunnel
    version: int | None = None  # of the catalogue whose limits and rules it goes by

    @property
    def id(self) -> str:
        return self.facts.session_id

    @property
    def facts(self) -> SessionOpened:
        return self.tunnel.session.facts

    @property
    def cost_nanousd(self) -> int:
        """Return what it has cost so far, running responses left out."""
        return self.tunnel.session.till.cost_nanousd

    @property
    def billed_nanousd(self) -> int:
        """Return what its tenant owes for it so far, running responses left out."""
        return self.tunnel.session.till.billed_nanousd

    @property
    def responses(self) -> int:
        return self.tunnel.session.till.responses

    @property
    def turns(self) -> list[Entry]:
        """Return what was billed so far, oldest first."""
        return self.tunnel.turns


class Admission:
    """A place among the sessions. Leaving its context without `open` gives the place back."""

    def __init__(
        self, gateway: "Gateway", principal: Principal, facts: SessionOpened, allowance: Allowance
    ) -> None:
        self.principal = principal
        self.facts = facts
        self.allowance = allowance
        self._gateway = gateway
        self._is_open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gateway.give_back(self.principal, None if self._is_open else self.allowance)

    def open(self, client: TakenOver, upstream: UpstreamConnection) -> LiveSession:
        """Start the session on its two connections."""
        live = self._gateway.open(self, client, upstream)
        self._is_open = True
        return live


class Gateway:
    """See the module. `start` it on its loop, `drain` it before that ends."""

    def __init__(
        self,
        config: GatewayConfig,
        *,
        catalog: KeyCatalog,
        journal: RecordKeeper,
        budgets: Budgets,
        metrics: Metrics,
        watch: SessionWatch,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.config = config
        self.clock = clock
        self.catalog = catalog
        self.metrics = metrics
        self.is_draining = False
        self.turnstile = Turnstile(catalog.limits_of)
        self._journal = journal
        self._budgets = budgets
        self._watch = watch
        self._sessions: dict[str, LiveSession] = {}
        self._shares: list[dict[str, LiveSession]] = [{} for _ in range(SWEEPS)]
        self._turn = 0
        self._reserved = 0
        self._timer: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    def start(self) -> None:
        """Begin to look after the sessions."""
        self._timer = asyncio.get_running_loop().call_later(SWEEP_S / SWEEPS, self._sweep)

    # Sessions

    @property
    def sessions(self) -> Mapping[str, LiveSession]:
        """Return the live sessions by their ids."""
        return self._sessions

    async def admit(self, ask: Ask) -> Admission | Refusal:
        """Return a place for a session, or why there is none."""
        if refusal := self._closed():
            return refusal
        principal = await self.catalog.authenticate(ask.secret, self.clock())
        if isinstance(principal, Refusal):
            return principal
        if refusal := self._closed():  # while the key was checked
            return refusal
        if len(self._sessions) + self._reserved >= self.config.sessions_max:
            return TOO_MANY_SESSIONS
        if refusal := self.catalog.models_for(principal).refusal(ask.model):
            return refusal
        now = self.clock()
        if refusal := self.turnstile.refusal(principal, now):
            return refusal
        self.turnstile.enter(principal)
        self.turnstile.begin(principal, now)
        self._reserved += 1
        found: Admission | Refusal | None = None
        try:
            found = await self._afford(self._facts(ask, principal), principal)
        finally:
            if not isinstance(found, Admission):
                self.turnstile.unbegin(principal, now)
                self.give_back(principal, None)
        return found

    async def _afford(self, facts: SessionOpened, principal: Principal) -> Admission | Refusal:
        """Return a place for which there is money."""
        booker, now = Booker(facts, self.catalog.cards), facts.opened_at
        terms = booker.terms(facts.model, now)
        need = booker.charge(first_usage({}, terms.card), terms, now)
        allowance = await self._budgets.admit(facts, need)
        if isinstance(allowance, Refusal):
            return allowance
        if refusal := self._unpriced(facts.model, allowance):
            self._budgets.leave(allowance)
            return refusal
        return Admission(self, principal, facts, allowance)

    def give_back(self, principal: Principal, allowance: Allowance | None) -> None:
        """Free the place of an admission, and its allowance where no session has taken it over."""
        self._reserved -= 1
        self.turnstile.leave(principal)
        if allowance is not None:
            self._budgets.leave(allowance)

    def open(self, admission: Admission, client: TakenOver, upstream: UpstreamConnection) -> LiveSession:
        """Start a session; from now on its sockets are its own."""
        session = Session(admission.facts, self.catalog.cards, admission.allowance)
        tunnel = Tunnel(
            session,
            client.transport,
            upstream.transport,
            config=self.config.tunnel,
            record=self._record,
            ask=self._budgets.ask,
            clock=self.clock,
            watch=Listening(self.metrics, admission.principal.tenant, admission.facts.session_id),
            on_over=self._forget,
        )
        live = LiveSession(admission.principal, tunnel)
        self._rule(live)
        self._let_begin(live)
        self.turnstile.enter(live.principal)
        share = min(self._shares, key=len)
        self._sessions[live.id] = share[live.id] = live
        self._empty.clear()
        tunnel.start(client.early, bytes(upstream.early))
        upstream.tell_end(tunnel.upstream)
        return live

    def stop(self, session_id: str, refusal: Refusal) -> bool:
        """End a session for an administrator; return whether it runs here."""
        live = self._sessions.get(session_id)
        if live is not None:
            live.tunnel.stop(refusal, Reason.STOPPED)
        return live is not None

    def _closed(self) -> Refusal | None:
        """Return why nobody is let in now."""
        if self.is_draining:
            return DRAINING
        return None if self._journal.accepting else DISK_FULL

    def _facts(self, ask: Ask, principal: Principal) -> SessionOpened:
        return SessionOpened(
            session_id=new_id("ses"),
            tenant_id=principal.tenant_id,
            project_id=principal.project_id,
            api_key_id=principal.api_key_id,
            end_user=ask.end_user,
            tags={**principal.tags, **ask.tags},
            provider=self.config.provider,
            account=self.config.account,
            model=ask.model,
            opened_at=self.clock(),
        )

    def _record(self, record: Record, durable: Callable[[], None] | None) -> None:
        self._watch.see(record)
        self._journal.append(record, durable)

    def _forget(self, tunnel: Tunnel) -> None:
        session_id = tunnel.session.facts.session_id
        live = self._sessions.pop(session_id)
        for share in self._shares:
            share.pop(session_id, None)
        self.turnstile.leave(live.principal)
        self._count([live])
        self._budgets.leave(tunnel.session.allowance)
        if not self._sessions:
            self._empty.set()

    # Looking after them

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(SWEEP_S / SWEEPS, self._sweep)
        self._turn = (self._turn + 1) % SWEEPS
        share = list(self._shares[self._turn].values())
        self._count(share)
        for live in share:
            _alone(live, self._look_after, live, loop.time())

    def _look_after(self, live: LiveSession, now_s: float) -> None:
        if self._budgets.refresh(live.tunnel.session.allowance, self.clock()):
            live.version = None  # a model without a price may have to go
            live.tunnel.budgets_changed()
        if refusal := self.catalog.key_ok(live.facts.api_key_id) or self._rule(live):
            live.tunnel.stop(refusal, Reason.REFUSED)
        self._let_begin(live)
        live.tunnel.sweep(now_s)

    def _let_begin(self, live: LiveSession) -> None:
        """Let responses begin, or none while what is left of the disk is for those that run."""
        live.tunnel.session.standstill = DISK_FULL if self._journal.is_full else None

    def _rule(self, live: LiveSession) -> Refusal | None:
        """Let a session go by the limits and rules as they are now; return why it has to end by them."""
        version, session = self.catalog.version, live.tunnel.session
        if live.version == version:
            return None
        live.version = version
        watch, models = session.limits, self._model_refusal(live.principal, session.allowance)
        watch.limits, watch.model_refusal = self.catalog.limits_for(live.principal), models
        return models(session.settings.model) or models(session.settings.transcription_model)

    def _model_refusal(self, principal: Principal, allowance: Allowance) -> ModelRefusal:
        """Return what tells why a model may not be used, as the rules are now."""
        rules = self.catalog.models_for(principal)

        def refusal(model: str | None) -> Refusal | None:
            return rules.refusal(model) or self._unpriced(model, allowance)

        return refusal

    def _unpriced(self, model: str | None, allowance: Allowance) -> Refusal | None:
        """Return why a model without a price is not let in: a budget with an amount could not count it."""
        if model is None or not allowance.is_priced_only:
            return None
        card = self.catalog.cards.cost_card(self.config.provider, model, self.clock())
        return model_unpriced(model) if card is None else None

    def _count(self, sessions: Sequence[LiveSession]) -> None:
        """Move what was relayed since last time into the metrics; all at once, since metrics are slow."""
        for side in Side:
            messages = byte_count = 0
            for live in sessions:
                more, size = live.tunnel.lane(side).untold()
                messages += more
                byte_count += size
            if byte_count:
                self.metrics.relayed(side, messages, byte_count)

    # The end

    async def drain(self) -> None:
        """Let nobody in, give sessions `drain_s` to end, then end them; return when all are over.

        They end one after the other, over `SPREAD_S`. A running response is finished first, for at most
        `linger_s`; what then still runs is dropped.
        """
        self.is_draining = True
        config = self.config
        if not await self._emptied(config.drain_s):
            await self._send_away(list(self._sessions.values()))
        if not await self._emptied(2 * config.linger_s + ENDING_S):
            self.abort()
            await self._emptied(ENDING_S)
        if self._timer is not None:
            self._timer.cancel()

    async def _send_away(self, sessions: Sequence[LiveSession]) -> None:
        """Ask session k of n to leave after k/n of `SPREAD_S`; return when all are asked, or over."""
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        for k, live in enumerate(sessions):
            wait_s = began_at + SPREAD_S * k / len(sessions) - loop.time()
            if wait_s > 0 and await self._emptied(wait_s):
                return
            _alone(live, live.tunnel.leave, self.config.linger_s)

    def abort(self) -> None:
        """Drop all connections at once: the journal has failed, or time is up."""
        self.is_draining = True
        for live in list(self._sessions.values()):
            live.tunnel.abort()

    async def _emptied(self, timeout_s: float) -> bool:
        try:
            await asyncio.wait_for(self._empty.wait(), timeout_s)
        except TimeoutError:
            return False
        return True


def _alone(live: LiveSession, call: Callable[..., None], *arguments: object) -> None:
    """Call that for a session; a bug ends this session, and keeps no other from its turn."""
    try:
        call(*arguments)
    except Exception:  # noqa: BLE001  it is logged, and that session is dropped
        live.tunnel.fail()
