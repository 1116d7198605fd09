"""What panels are tried on: a Talkmeter under a Prometheus, while people talk, interrupt and overspend."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import websockets
from pydantic import SecretStr

from proxy.clock import utc_now
from proxy.core.budgets import OnExhausted, OnStoreDown, Scope
from proxy.core.windows import Window
from proxy.store.audit import Act
from proxy.store.budgets import Terms, set_budget
from proxy.store.database import open_database, writing
from proxy.store.webhooks import create_webhook
from tests.e2e.place import Home, Place, add_key
from tests.prometheus import Prometheus, running_prometheus, wait_for
from tests.provider import ADMIN_KEY, Provider
from tests.relay.peers import until

TOKEN = "a token that only tests have"
CENT = 10_000_000
NOBODY = "http://127.0.0.1:9/"  # takes no webhook
SPEED = 100.0  # of ten minutes of speech six seconds are left: time enough to interrupt
COMPARED = "talkmeter_reconciliation_variance_ratio >= 0"  # the control plane looks every few seconds
# Of each side a message is timed every few seconds; a rate wants two such, some time apart.
SAMPLED = "sum by (sender) (rate(talkmeter_relay_seconds_count[1m])) > 0"
SAMPLED_S = 60
HEARING = {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}
VAD = {"input": {"turn_detection": {"type": "server_vad"}}}


@dataclass(frozen=True, slots=True)
class Story:
    """A story that was told: the Prometheus that watched it, and when."""

    home: Home
    prometheus: Prometheus
    exposition: str  # what /metrics said in the end
    began_at: float
    at: float  # all was told, and somebody was still talking


@asynccontextmanager
async def told(home: Home, folder: Path) -> AsyncIterator[Story]:
    """Tell it; Prometheus stays after it."""
    began_at = time.time()
    wasteful = add_key(home.database_url, "globex")
    _set_up(home)
    provider = Provider()

    def clock() -> float:  # a session copies its options, and with a method the provider itself
        return provider.clock()

    options: dict[str, Any] = {
        "metrics_token": SecretStr(TOKEN),
        "admin_token": SecretStr(TOKEN),
        "upstream_admin_key": SecretStr(ADMIN_KEY),
        "clock": clock,
        "speed": SPEED,
    }
    async with AsyncExitStack() as stack:
        async with home.open(**options) as place:
            await until(lambda: bool(place.app.catalog.budgets.budgets))
            address = place.app.admin_url.partition("://")[2]
            watching = running_prometheus(folder, [address], TOKEN)
            prometheus = await asyncio.to_thread(stack.enter_context, watching)
            provider.simulator = place.simulator
            await asyncio.to_thread(prometheus.caught_up)
            async with place.connected(check=False) as client:
                await client.configure()
                for _ in range(2):  # a counter that has just come into being has no rate
                    await client.say("Are you there?")
                    await client.respond()
                    await _others(place, wasteful)
                    await _compare(place, provider)
                    await asyncio.to_thread(prometheus.caught_up)
                await asyncio.to_thread(wait_for, lambda: prometheus.query(COMPARED) != [])
                async with asyncio.timeout(SAMPLED_S):
                    while len(await asyncio.to_thread(prometheus.query, SAMPLED)) < 2:
                        await client.say("Are you there?")
                        await client.respond()
                        await asyncio.to_thread(prometheus.caught_up)
                exposition = await _metrics(place)
                at = await asyncio.to_thread(prometheus.caught_up)
        yield Story(home, prometheus, exposition, began_at, at)


def _set_up(home: Home) -> None:
    """Give globex too little money, acme enough, and both a webhook that nobody takes."""
    act = Act("test", utc_now(), "a test")
    engine = open_database(home.database_url)
    try:
        with writing(engine) as connection:
            for tenant, amount in (("globex", 5 * CENT), ("acme", 5_000 * CENT)):
                facts: dict[str, Any] = {"scope": Scope.TENANT, "window": Window.MONTH, "tenant": tenant}
                facts["terms"] = Terms(on_exhausted=OnExhausted.CUT, on_store_down=OnStoreDown.RETRY)
                set_budget(connection, act, amount_nanousd=amount, **facts)
            create_webhook(connection, url=NOBODY, act=act)
    finally:
        engine.dispose()


async def _others(place: Place, wasteful: str) -> None:
    await _speak(place)
    await _interrupt(place)
    for sim in ("abort_before_done", "omit_transcription_usage"):  # an estimate; something unrated
        with suppress(websockets.ConnectionClosed):
            await _speak(place, sim)
    for secret in (wasteful, "tm_nobody"):
        with suppress(websockets.InvalidStatus):
            headers = {"Authorization": f"Bearer {secret}"}
            async with place.connected(sim="words:2000", headers=headers, check=False) as client:
                await client.configure()
                await client.send("response.create")
                assert (await client.ended())[0] == 1008


async def _speak(place: Place, sim: str = "") -> None:
    """Two turns, the second of which finds the first in the cache."""
    async with place.connected(sim=sim, check=False) as client:
        await client.configure(audio=HEARING, instructions="Be brief and kind, and remember it. " * 50)
        for _ in range(2):
            await client.speak(1_000)
            await client.send("input_audio_buffer.commit")
            await client.respond()


async def _interrupt(place: Place) -> None:
    """Speak over an answer, and say how little of it was heard."""
    async with place.connected(sim="words:2000", check=False) as client:
        await client.configure(audio=VAD)
        await client.speak(600, silent_ms=600)
        item = (await client.until("response.output_item.added"))["item"]["id"]
        await client.until("response.output_audio.delta")
        await client.speak(600)
        await client.until("response.done")
        await client.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=100)
        await client.until("conversation.item.truncated")


async def _compare(place: Place, provider: Provider) -> None:
    """Compare with a bill of yesterday, when nobody talked here."""
    provider.bill(utc_now() - timedelta(days=1), audio=1_000)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    url = f"{place.app.admin_url}/api/v1/reconciliations"
    async with aiohttp.ClientSession() as http, http.post(url, json={}, headers=headers) as answer:
        assert answer.status == 201, await answer.text()


async def _metrics(place: Place) -> str:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    url = f"{place.app.admin_url}/metrics"
    async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as answer:
        assert answer.status == 200
        return await answer.text()
