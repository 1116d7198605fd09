"""For tests: announcements in the outbox as a posting writes them, and a receiver of webhooks."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aiohttp import web
from sqlalchemy import Engine, insert

from proxy.store.database import writing
from proxy.store.schema import outbox

THRESHOLD = {
    "budget_id": "bud_1",
    "scope": "tenant",
    "window": "month",
    "zone": "UTC",
    "starts_at": "2026-11-01T00:00:00Z",
    "percent": 80,
    "amount_nanousd": 50_000_000_000,
    "spent_nanousd": 40_100_000_000,
    "amount_usd": "50.000000000",
    "spent_usd": "40.100000000",
}
CUT = {
    "session_id": "ses_1",
    "subject_id": "resp_1",
    "budget_id": "bud_1",
    "cut_at": "2026-11-26T12:00:00Z",
    "limit_nanousd": 50_000_000,
    "spent_nanousd": 49_000_000,
    "held_nanousd": 1_000_000,
    "estimate_nanousd": 1_000_000,
    "cost_nanousd": 1_200_000,
    "overshoot_nanousd": 200_000,
}
ENDED = {
    "session_id": "ses_1",
    "tenant_id": "ten_1",
    "api_key_id": "key_1",
    "tags": {"team": "a"},
    "model": "gpt-realtime",
    "close_code": 1000,
    "reason": "client_closed",
    "responses": 3,
    "cost_nanousd": 7_205_600,
}
ANOMALY = {
    "tenant_id": "ten_1",
    "tenant": "acme",
    "starts_at": "2026-11-26T11:00:00Z",
    "ends_at": "2026-11-26T12:00:00Z",
    "amounts": "billed",
    "spent_nanousd": 25_000_000_000,
    "spent_usd": "25.000000000",
    "median_nanousd": 10_000_000_000,
    "median_usd": "10.000000000",
    "limit_nanousd": 15_000_000_000,
    "limit_usd": "15.000000000",
    "weeks": 8,
}
PAYLOADS = {
    "budget.threshold": THRESHOLD,
    "budget.cut": CUT,
    "session.ended": ENDED,
    "spend.anomaly": ANOMALY,
}


def announce(
    engine: Engine,
    key: str,
    at: datetime,
    kind: str = "session.ended",
    tenant_id: str | None = None,
    payload: Mapping[str, Any] | None = None,
) -> int:
    """Put one announcement into the outbox and return its id."""
    row = {"key": key, "kind": kind, "tenant_id": tenant_id, "at": at, "payload": payload or PAYLOADS[kind]}
    with writing(engine) as connection:
        return int(connection.execute(insert(outbox).values(**row).returning(outbox.c.id)).scalar_one())


@dataclass(frozen=True)
class Got:
    """A message as a receiver got it."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def is_signed_with(self, secret: str) -> bool:
        """Verify as a receiver would that has read the scheme and not our code."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signed = f"{self.id}.{self.headers['webhook-timestamp']}.".encode() + self.body
        expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return any(
            hmac.compare_digest(expected, given) for given in self.headers["webhook-signature"].split(" ")
        )


@dataclass
class Receiver:
    """Keeps what it gets. `answers` says how it answers, the last one for ever; None: not at all."""

    url: str = ""
    answers: list[int | None] = field(default_factory=lambda: [200])
    got: list[Got] = field(default_factory=list)
    release: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.Response:
        self.got.append(Got(dict(request.headers), await request.read()))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            await self.release.wait()
            return web.Response(status=503)
        return web.Response(status=answer, headers={"Location": "/elsewhere"}, text="canary: not to be kept")

    async def has(self, count: int) -> list[Got]:
        """Return what came, once it is `count` messages."""
        await until(lambda: len(self.got) >= count)
        return self.got


async def until(condition: Callable[[], bool], patience_s: float = 30) -> None:
    async with asyncio.timeout(patience_s):
        while not condition():  # noqa: ASYNC110 (anything may change it)
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def receiver(*answers: int | None) -> AsyncIterator[Receiver]:
    """Serve a receiver on this machine."""
    it = Receiver(answers=list(answers) or [200])
    application = web.Application()
    application.router.add_post("/hook", it.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    it.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield it
    finally:
        it.release.set()
        await runner.cleanup()
