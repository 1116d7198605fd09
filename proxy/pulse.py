"""What an instance does once a second: shows its live sessions, hears stop orders, takes its own pulse.

The database is asked in a thread. When it is down that is said once, and nothing else happens: the
relay needs neither.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from proxy.core.allowance import Allowance
from proxy.core.budget_use import BudgetUse
from proxy.core.budgets import Pot
from proxy.core.money import NANOUSD_PER_USD
from proxy.core.refusal import stopped
from proxy.observe.metrics import Metrics
from proxy.relay.gateway import Gateway, LiveSession
from proxy.store import StoreError, instances, live
from proxy.store.database import reachable, reading
from proxy.store.journal import Journal
from proxy.store.poster import Poster
from proxy.store.spend import counted

BEAT_S = 1.0
SEEN_S = 5.0
LAG_PROBE_S = 0.1
MINUTE_S = 60.0
SAMPLE_S = 5.0
POTS_MAX = 1_000  # whose spending is asked for in one beat: stop orders wait for no more of them

T = TypeVar("T")

logger = logging.getLogger(__name__)


async def _to_its_end(call: Callable[..., T], *arguments: Any) -> T:
    """Make a call in a thread; who is cancelled still waits for its end, since the database closes next."""
    running = asyncio.get_running_loop().run_in_executor(None, call, *arguments)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


class Burn:
    """How much each session has spent in about the last minute: a few samples of what it has cost."""

    def __init__(self) -> None:
        self._samples: dict[str, deque[tuple[float, int]]] = {}

    def rate(self, session_id: str, total_nanousd: int, now_s: float) -> int:
        """Return what was spent in the last minute, or since the session began."""
        samples = self._samples.setdefault(session_id, deque([(now_s, 0)]))
        if now_s - samples[-1][0] >= SAMPLE_S:
            samples.append((now_s, total_nanousd))
        while len(samples) > 1 and now_s - samples[1][0] >= MINUTE_S:
            samples.popleft()
        return max(0, total_nanousd - samples[0][1])

    def forget(self, alive: Container[str]) -> None:
        """Drop what is known of the sessions that are over."""
        self._samples = {key: kept for key, kept in self._samples.items() if key in alive}


class Pulse:
    """One instance's beat. `run` it for as long as the instance lives."""

    def __init__(
        self,
        engine: Engine,
        gateway: Gateway,
        journal: Journal,
        poster: Poster,
        *,
        metrics: Metrics,
        clock: Callable[[], datetime],
    ) -> None:
        self._engine = engine
        self._gateway = gateway
        self._journal = journal
        self._instance_id = journal.instance_id
        self._poster = poster
        self._metrics = metrics
        self._clock = clock
        self._shown = True  # there may be sessions in the database from before a crash
        self._seen_at = 0.0
        self._is_down = False
        self._retries = 0
        self._burn = Burn()
        self._spent: Mapping[Pot, int] = {}  # by all instances, of what encloses the live sessions

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            await self.beat()
            await asyncio.sleep(BEAT_S)

    async def beat(self) -> None:
        """Show, hear, obey; once."""
        self._count_retries()
        self._count_holds()
        use = BudgetUse(self._clock())
        sessions = [self._show(one, use) for one in self._gateway.sessions.values()]
        self._burn.forget(self._gateway.sessions)
        try:
            orders = await _to_its_end(self._exchange, sessions, self._allowances())
        except (StoreError, SQLAlchemyError) as error:
            self._note(error)
            return
        self._note(None)
        for session_id, reason in orders.items():
            if self._gateway.stop(session_id, stopped(reason)):
                logger.info("session stopped by an administrator", extra={"session": session_id})

    def _show(self, one: LiveSession, use: BudgetUse) -> live.Live:
        session = one.tunnel.session
        cost, running = session.till.cost_nanousd, session.running_nanousd
        return live.Live(
            one.id,
            cost,
            session.till.responses,
            running_nanousd=running,
            burn_nanousd=self._burn.rate(one.id, cost + running, time.monotonic()),
            model=session.settings.model,
            left_nanousd=use.left(session.allowance, self._spent),
        )

    async def probe_loop(self) -> None:
        """Measure until cancelled how late the event loop wakes up."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_PROBE_S
            await asyncio.sleep(LAG_PROBE_S)
            self._metrics.loop_lag.observe(max(0.0, loop.time() - due))

    def _allowances(self) -> Sequence[tuple[str, Allowance]]:
        """Return the allowances of the live sessions, and whose sessions they are."""
        return [
            (one.principal.tenant, one.tunnel.session.allowance) for one in self._gateway.sessions.values()
        ]

    def _exchange(
        self, sessions: Sequence[live.Live], allowances: Sequence[tuple[str, Allowance]]
    ) -> dict[str, str]:
        """In a thread: publish, and return the stop orders. An idle instance writes every 5 s only."""
        with reachable(self._engine):
            now = self._clock()
            if time.monotonic() - self._seen_at > SEEN_S:
                instances.seen(self._engine, self._instance_id, self._journal.unposted, now)
                self._seen_at = time.monotonic()
            if sessions or self._shown:
                live.publish(self._engine, self._instance_id, sessions, now)
            self._shown = bool(sessions)
            self._look_at_budgets(allowances, now)
            if self._gateway.catalog.counts_sessions:  # a whole dict at a time: the loop reads it
                self._gateway.turnstile.elsewhere = live.elsewhere(self._engine, self._instance_id, now)
            return live.stop_orders(self._engine, self._instance_id) if sessions else {}

    def _look_at_budgets(self, allowances: Sequence[tuple[str, Allowance]], now: datetime) -> None:
        """In a thread: hear what all instances have spent of what encloses the live sessions."""
        use = BudgetUse(now)
        for tenant, allowance in allowances:
            use.add(tenant, allowance)
        pots = use.shared
        due = self._due(pots)
        heard: Mapping[Pot, int] = {}
        if due:
            with reading(self._engine) as connection:
                heard = counted(connection, due)
        asked = {pot: heard.get(pot, 0) for pot in due}
        kept = {pot: spent for pot, spent in self._spent.items() if pot in pots and pot not in asked}
        self._spent = kept | asked
        self._metrics.budgets_used(use.ratios(self._spent))

    def _due(self, pots: Collection[Pot]) -> Sequence[Pot]:
        """Return what to ask about now: what nobody has asked about, then what was longest ago."""
        new = [pot for pot in pots if pot not in self._spent]
        return [*new, *(pot for pot in self._spent if pot in pots)][:POTS_MAX]

    def _count_holds(self) -> None:
        """Sum up what is held; here on the loop, since that is where holds change."""
        allowances = (one.tunnel.session.allowance for one in self._gateway.sessions.values())
        held = sum(hold.amounts.billed_nanousd for each in allowances for hold in each.holds.values())
        self._metrics.holds.set(held / NANOUSD_PER_USD)

    def _note(self, error: Exception | None) -> None:
        """Say when the database is lost and when it is back, not every second in between."""
        if error is not None and not self._is_down:
            logger.warning(
                "database lost: what runs goes on, the journal keeps its usage", extra={"error": error}
            )
        if error is None and self._is_down:
            logger.info("database is back")
        self._is_down = error is not None

    def _count_retries(self) -> None:
        retries = self._poster.posted["retries"]
        self._metrics.poster_failures.inc(retries - self._retries)
        self._retries = retries
