"""Delivering announcements: a loop in the control plane's process that sends them to their receivers.

Twice a second one transaction writes down how attempts went, makes out the deliveries of new
announcements and takes those that are due. Each is then sent on its own, and a receiver has few
attempts under way at once, a failing one only one: a slow receiver waits by itself. All e-mail goes
through one server, which counts as one receiver here.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import aiohttp
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from proxy.admin.channels import attempt, new_http
from proxy.admin.mail import Mailer
from proxy.clock import utc_now
from proxy.core.announced import REPORT, Announced, Announcement
from proxy.observe.control_metrics import ControlMetrics
from proxy.store import StoreError, deliveries
from proxy.store.database import reachable, reading, writing
from proxy.store.deliveries import Claim, Outcome

POLL_S = 0.5
PRUNE_S = 60.0
STOP_S = 1.0  # for attempts under way when the process ends
ATTEMPTS_MAX = 64  # under way at once
OF_ONE_WEBHOOK_MAX = 8

THRESHOLD_FACTS = ("budget_id", "scope", "window", "starts_at", "percent", "amount_usd", "spent_usd")
FORECAST_FACTS = (*THRESHOLD_FACTS, "forecast_usd")
CUT_FACTS = ("budget_id", "session_id", "limit_nanousd", "cost_nanousd", "overshoot_nanousd")

ANOMALY_FACTS = ("starts_at", "spent_usd", "median_usd", "limit_usd", "weeks")
UNEXPLAINED_FACTS = ("reconciliation_id", "on", "ours_usd", "theirs_usd", "unexplained_usd", "limit_usd")
REPORT_FACTS = ("schedule", "content", "due_at", "skipped", "problem")

logger = logging.getLogger(__name__)


class Deliverer:
    """Delivers from `run` on until `stop`. What it was trying when it died is tried again."""

    def __init__(
        self,
        engine: Engine,
        metrics: ControlMetrics,
        clock: Callable[[], datetime] = utc_now,
        mailer: Mailer | None = None,
    ) -> None:
        self._engine = engine
        self._metrics = metrics
        self._clock = clock
        self._mailer = mailer
        self._under_way: Counter[str] = Counter()  # attempts, by lane
        self._failing: set[str] = set()
        self._outcomes: list[Outcome] = []  # not written down yet
        self._wake = asyncio.Event()
        self._stopping = False
        self._is_down = False
        self._pruned_at = -PRUNE_S

    def stop(self) -> None:
        """Take nothing new; `run` ends when what is under way has ended, or after a second."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Deliver until `stop`."""
        async with new_http() as http:
            try:
                async with asyncio.timeout(None) as limit, asyncio.TaskGroup() as attempts:
                    while not self._stopping:
                        for claim in await self._look():
                            self._under_way[claim.lane] += 1
                            attempts.create_task(self._attempt(http, claim))
                        await self._pause()
                    limit.reschedule(asyncio.get_running_loop().time() + STOP_S)
            except TimeoutError:
                logger.info("deliveries under way are left: they are tried again")
        if self._outcomes:
            await self._look()

    async def _pause(self) -> None:
        """Wait for the next look: an attempt that ended has made room and has to be written down."""
        try:
            async with asyncio.timeout(POLL_S):
                await self._wake.wait()
        except TimeoutError:
            pass  # nothing ended: it is time to look for what is new
        if not self._stopping:
            self._wake.clear()

    # --- The database, in a thread

    async def _look(self) -> list[Claim]:
        """Write down, fan out, claim. While the database is down outcomes are kept for the next look."""
        outcomes, self._outcomes = self._outcomes, []
        room = {lane: self._room(lane) for lane in (*self._under_way, *self._failing)}
        limit = 0 if self._stopping else ATTEMPTS_MAX - self._under_way.total()
        try:
            new, claims = await asyncio.to_thread(self._exchange, outcomes, room, limit)
        except (StoreError, SQLAlchemyError) as error:
            self._outcomes = outcomes + self._outcomes
            self._note(error)
            return []
        self._note(None)
        for one in new:
            self._announce(one)
        return claims

    def _exchange(
        self, outcomes: Sequence[Outcome], room: Mapping[str, int], limit: int
    ) -> tuple[list[Announcement], list[Claim]]:
        """In a thread: one transaction, or none when there is nothing to do."""
        now = self._clock()
        with reachable(self._engine):
            self._prune(now)
            if not outcomes and not self._is_anything_waiting(now):
                return [], []
            with writing(self._engine) as connection:
                deliveries.record(connection, outcomes, now)
                if self._stopping:
                    return [], []
                new = deliveries.fan_out(connection, now)
                return new, deliveries.claim(
                    connection, now, lambda lane: room.get(lane, OF_ONE_WEBHOOK_MAX), limit
                )

    def _is_anything_waiting(self, now: datetime) -> bool:
        """Look before locking: SQLite has one writer at a time, and that is the relay's poster."""
        with reading(self._engine) as connection:
            return deliveries.waiting(connection, now)

    def _prune(self, now: datetime) -> None:
        if self._stopping or time.monotonic() - self._pruned_at < PRUNE_S:
            return
        with writing(self._engine) as connection:
            count = deliveries.prune(connection, now)
        if count == 0:  # else there may be more
            self._pruned_at = time.monotonic()

    def _room(self, lane: str) -> int:
        most = 1 if lane in self._failing else OF_ONE_WEBHOOK_MAX
        return max(0, most - self._under_way[lane])

    def _note(self, error: Exception | None) -> None:
        """Say when the database is lost and when it is back, not twice a second in between."""
        if error is not None and not self._is_down:
            logger.warning("database lost: announcements wait in it", extra={"error": error})
        if error is None and self._is_down:
            logger.info("database is back: announcements are delivered")
        self._is_down = error is not None

    # --- One attempt

    async def _attempt(self, http: aiohttp.ClientSession, claim: Claim) -> None:
        try:
            outcome = await attempt(http, self._mailer, claim, self._clock())
        finally:
            self._under_way[claim.lane] -= 1
            if not self._under_way[claim.lane]:
                del self._under_way[claim.lane]
        self._outcomes.append(outcome)
        self._tell(outcome)
        self._wake.set()

    def _tell(self, outcome: Outcome) -> None:
        said = "delivered" if outcome.delivered else "given_up" if outcome.gives_up else "failed"
        self._metrics.deliveries.labels(said).inc()
        if outcome.delivered:
            self._failing.discard(outcome.claim.lane)
        elif not outcome.is_final:  # that is about one address, and not about the mail server
            self._failing.add(outcome.claim.lane)
        if outcome.gives_up:
            facts = {"webhook": outcome.claim.webhook_id, "delivery": outcome.claim.announcement.id}
            logger.warning("webhook delivery given up", extra=facts | {"error": outcome.error})

    def _announce(self, one: Announcement) -> None:
        self._metrics.announced(one.kind)
        if one.kind == Announced.BUDGET_THRESHOLD:
            logger.warning("budget threshold reached", extra=_facts(one, THRESHOLD_FACTS))
        elif one.kind == Announced.BUDGET_CUT:
            logger.warning("budget cut", extra=_facts(one, CUT_FACTS))
        elif one.kind == Announced.BUDGET_FORECAST:
            logger.warning("budget forecast reached", extra=_facts(one, FORECAST_FACTS))
        elif one.kind == Announced.SPEND_ANOMALY:
            logger.warning("spend anomaly", extra=_facts(one, ANOMALY_FACTS))
        elif one.kind == Announced.SPEND_UNEXPLAINED:
            logger.warning("spend unexplained", extra=_facts(one, UNEXPLAINED_FACTS))
        elif one.kind == REPORT:
            told = logger.warning if one.payload["problem"] or one.payload["skipped"] else logger.info
            told("report scheduled", extra=_facts(one, REPORT_FACTS))


def _facts(one: Announcement, names: Sequence[str]) -> dict[str, object]:
    return {"tenant": one.tenant_id} | {name: one.payload.get(name) for name in names}
