"""The console over what really runs: it ticks on a page, is stopped there, and follows a budget set there."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from proxy.clock import utc_now
from proxy.store import sign_ins
from proxy.store.database import open_database, writing
from proxy.store.sign_ins import Person, Way
from proxy.store.tokens import TokenRole
from tests.console.visiting import Visitor
from tests.e2e.place import PEPPER, Home, Place
from tests.e2e.test_budgets import ENDLESS, Told, ask, heard
from tests.relay.peers import until

WITHIN_S = 2.0

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_factories=["uvloop"])]
both = pytest.mark.parametrize("home", ["plain", "postgres"], indirect=True)


@asynccontextmanager
async def signed_in(place: Place) -> AsyncIterator[Visitor]:
    """Yield an administrator at the console of a Talkmeter that runs."""
    engine = open_database(place.home.database_url)
    try:
        with writing(engine) as connection:
            ann = Person(Way.OIDC, "ann", "ann@example.com", TokenRole.ADMIN)
            _, secret = sign_ins.begin(connection, PEPPER.encode(), ann, utc_now())
    finally:
        engine.dispose()
    async with aiohttp.ClientSession() as http:
        yield Visitor(place.app.admin_url, http, secret)


async def live_id(place: Place) -> str:
    """Return the id of the one session that runs, once pages can know of it."""
    (session_id,) = place.app.gateway.sessions
    await until(lambda: any(one.live for one in place.home.sessions()))
    return session_id


@both
async def test_a_conversation_ticks_and_is_stopped(home: Home) -> None:
    async with home.open(speed=5.0) as place, signed_in(place) as ann:
        async with place.connected(sim=ENDLESS) as client:
            await client.configure()
            await ask(client)
            await client.until("response.output_audio.delta")
            session_id = await live_id(place)
            cookie = {"Cookie": f"talkmeter={ann.secret}", "Accept": "text/event-stream"}
            async with ann.http.get(f"{ann.url}/live/events", headers=cookie) as events:
                told: set[str] = set()
                async for line in events.content:
                    if b'class="money"' in line and b"<b>" in line:
                        told.add(line.decode())
                    if len(told) > 3:
                        break
            page = await ann.get("/live")
            assert "Running now 1" in page.text and "acme" in page.text
            await ann.submit(page.form(f"/live/{session_id}/stop"), reason="talks to itself")
            began = time.monotonic()
            code, reason = await client.ended()
            took_s = time.monotonic() - began
        assert code == 1008 and "talks to itself" in reason, reason
        assert took_s < WITHIN_S
        await place.over()
        await until(lambda: not any(one.live for one in place.home.sessions()))
        assert "Nobody is talking now" in (await ann.get("/live")).text


async def test_a_budget_that_is_lowered_on_its_page_cuts_what_runs(home: Home, record_property: Told) -> None:
    async with home.open(speed=1.0) as place, signed_in(place) as ann:
        form = (await ann.get("/budgets/new?tenant=acme")).form("/budgets")
        budget = (await ann.submit(form, amount="5")).place
        await heard(place)
        async with place.connected(sim=ENDLESS) as client:
            await client.configure()
            await ask(client)
            for _ in range(10):
                await client.until("response.output_audio.delta")
            form = (await ann.get(f"{budget}/edit")).form(budget)
            await ann.submit(form, amount="0.000000001", reason="too dear")
            began = time.monotonic()
            code, _ = await client.ended()
            took_s = time.monotonic() - began
        assert code == 1008
        record_property("figure", f"a budget lowered on its page cut a conversation after {took_s:.2f} s")
        assert took_s < WITHIN_S
        await place.over()
