"""A tenant with money left is never refused: what is held elsewhere, or for the worst case, comes back."""

import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import websockets

from proxy.app import running
from proxy.core.budgets import OnStoreDown
from proxy.core.money import format_usd
from proxy.store.budgets import Terms
from proxy.store.schema import budget_cut, ledger_entry
from tests.e2e.place import Home, Place
from tests.e2e.test_budgets import heard, rows, set_amount
from tests.relay.peers import until

DOLLAR = 1_000_000_000
TURN = "Please answer in 40 words"
PATIENT = Terms(on_store_down=OnStoreDown.RETRY)  # a slow machine is no reason to refuse either
ROUNDS = 5  # of turns in all conversations
LATEST = 8  # turns, of which one tells what an ordinary turn costs by now

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])


@asynccontextmanager
async def instances(home: Home, count: int) -> AsyncIterator[list[Place]]:
    """Run so many instances on the home's database."""
    async with home.simulating(speed=200.0) as simulator, AsyncExitStack() as stack:
        places = []
        for number in range(count):
            changes = {"upstream_url": simulator.url, "journal_path": home.folder / f"journal{number}.db"}
            app = await stack.enter_async_context(running(home.settings(**changes)))
            places.append(Place(home, app, simulator))
        for place in places:
            await heard(place)
        yield places


async def turn(client: Any) -> bool:
    """Have one turn; tell whether it was let finish."""
    await client.say(TURN)
    try:
        await client.send("response.create")
        done = await client.until("response.done")
    except websockets.ConnectionClosed:
        return False
    return bool(done["response"]["status"] == "completed")


@pytest.mark.parametrize(("home", "count"), [("plain", 1), ("postgres", 4)], indirect=["home"])
async def test_ordinary_turns_run_until_less_than_one_is_left(home: Home, count: int) -> None:
    """Each instance has a conversation. In the end only one goes on, and the others have money at hand."""
    set_amount(home, 2 * DOLLAR, terms=PATIENT)
    async with instances(home, count) as places:
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(place.connected()) for place in places]
            for client in clients:
                await client.configure()
            for client in itertools.chain(clients * ROUNDS, itertools.repeat(clients[0])):
                if not await turn(client):
                    break
        for place in places:
            await until(lambda place=place: not place.app.gateway.sessions)  # type: ignore[misc]
            await place.app.poster.posted_up_to_now()
    home.check()
    entries = sorted(rows(home, ledger_entry), key=lambda entry: entry["id"])
    cut = {row["subject_id"] for row in rows(home, budget_cut)}  # the end may have come before the cancel
    done = [one for one in entries if one["status"] == "completed" and one["subject_id"] not in cut]
    left = 2 * DOLLAR - sum(entry["cost_nanousd"] for entry in done)
    # What it costs is known when it is over; until then there is the estimate.
    ordinary = max(max(one["cost_nanousd"], one["estimate_nanousd"]) for one in done[-LATEST:])
    print(f"\n{len(done)} turns: ${format_usd(left)} left, a turn costs up to ${format_usd(ordinary)}")
    assert len(done) > 40
    assert left < ordinary
