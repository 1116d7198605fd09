"""Delivering announcements: a loop in the control plane's process that posts them to webhooks.

Twice a second one transaction writes down how attempts went, makes out the deliveries of new
announcements and takes those that are due. Each is then posted on its own, and a webhook has few
attempts under way at once, a failing one only one: a slow receiver waits by itself.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import aiohttp
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from proxy import __version__
from proxy.core.announced import Announced, Announcement
from proxy.core.signing import signed_headers
from proxy.observe.metrics import ControlMetrics
from proxy.store import StoreError, deliveries
from proxy.store.database import reachable, reading, writing
from proxy.store.deliveries import Claim, Outcome

POLL_S = 0.5
PRUNE_S = 60.0
ATTEMPT_S = 10.0
STOP_S = 1.0  # for attempts under way when the process ends
ATTEMPTS_MAX = 64  # under way at once
OF_ONE_WEBHOOK_MAX = 8
ANSWER_BYTES_MAX = 65_536  # read and thrown away, as far as it comes in ANSWER_S
ANSWER_S = 1.0

THRESHOLD_FACTS = ("budget_id", "scope", "window", "starts_at", "percent", "amount_usd", "spent_usd")
CUT_FACTS = ("budget_id", "session_id", "limit_nanousd", "cost_nanousd", "overshoot_nanousd")

logger = logging.getLogger(__name__)


def utc_now() -> datetime:
    """Return this instant."""
    return datetime.now(UTC)


class Deliverer:
    """Delivers from `run` on until `stop`. What it was trying when it died is tried again."""

    def __init__(
        self, engine: Engine, metrics: ControlMetrics, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._engine = engine
        self._metrics = metrics
        self._clock = clock
        self._under_way: Counter[str] = Counter()  # attempts, by webhook
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
        async with _http() as http:
            try:
                async with asyncio.timeout(None) as limit, asyncio.TaskGroup() as attempts:
                    while not self._stopping:
                        for claim in await self._look():
                            self._under_way[claim.webhook_id] += 1
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
        room = {hook: self._room(hook) for hook in (*self._under_way, *self._failing)}
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
                    connection, now, lambda hook: room.get(hook, OF_ONE_WEBHOOK_MAX), limit
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

    def _room(self, webhook_id: str) -> int:
        most = 1 if webhook_id in self._failing else OF_ONE_WEBHOOK_MAX
        return max(0, most - self._under_way[webhook_id])

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
            outcome = await _post(http, claim, self._clock())
        finally:
            self._under_way[claim.webhook_id] -= 1
            if not self._under_way[claim.webhook_id]:
                del self._under_way[claim.webhook_id]
        self._outcomes.append(outcome)
        self._tell(outcome)
        self._wake.set()

    def _tell(self, outcome: Outcome) -> None:
        said = "delivered" if outcome.delivered else "given_up" if outcome.gives_up else "failed"
        self._metrics.deliveries.labels(said).inc()
        if outcome.delivered:
            self._failing.discard(outcome.claim.webhook_id)
        else:
            self._failing.add(outcome.claim.webhook_id)
        if outcome.gives_up:
            facts = {"webhook": outcome.claim.webhook_id, "delivery": outcome.claim.announcement.id}
            logger.warning("webhook delivery given up", extra=facts | {"error": outcome.error})

    def _announce(self, one: Announcement) -> None:
        self._metrics.announced(one.kind)
        if one.kind == Announced.BUDGET_THRESHOLD:
            logger.warning("budget threshold reached", extra=_facts(one, THRESHOLD_FACTS))
        elif one.kind == Announced.BUDGET_CUT:
            logger.warning("budget cut", extra=_facts(one, CUT_FACTS))


def _facts(one: Announcement, names: Sequence[str]) -> dict[str, object]:
    return {"tenant": one.tenant_id} | {name: one.payload.get(name) for name in names}


def _http() -> aiohttp.ClientSession:
    """Return a client that keeps no cookies, takes no proxy from the environment and says who it is."""
    return aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Content-Type": "application/json", "User-Agent": f"talkmeter/{__version__}"},
        timeout=aiohttp.ClientTimeout(total=ATTEMPT_S),
        auto_decompress=False,
        trust_env=False,
    )


async def _post(http: aiohttp.ClientSession, claim: Claim, now: datetime) -> Outcome:
    """Make one attempt. What the receiver writes back is not kept."""
    body = claim.announcement.body()
    try:
        headers = signed_headers(claim.secrets, claim.announcement.message_id, now, body)
    except ValueError:
        return Outcome(claim, None, "its secret cannot be used: give it a new one")
    try:
        async with http.post(claim.url, data=body, headers=headers, allow_redirects=False) as answer:
            if not 200 <= answer.status < 300:
                return Outcome(claim, answer.status, _refused(answer.status))
            await _read_away(answer)
            return Outcome(claim, answer.status, None)
    except TimeoutError:
        return Outcome(claim, None, f"it did not answer within {ATTEMPT_S:g} s")
    except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: a host that is no name
        return Outcome(claim, None, f"it cannot be reached: {type(error).__name__}")


async def _read_away(answer: aiohttp.ClientResponse) -> None:
    """Read a short body, so that the connection can serve again. The status alone says how it went."""
    left = ANSWER_BYTES_MAX
    try:
        async with asyncio.timeout(ANSWER_S):
            while left > 0 and (chunk := await answer.content.read(left)):
                left -= len(chunk)
    except (TimeoutError, aiohttp.ClientError):
        left = 0
    if left <= 0:
        answer.close()


def _refused(status: int) -> str:
    return f"it answered {status}" + (": redirects are not followed" if 300 <= status < 400 else "")
