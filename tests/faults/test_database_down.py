"""PostgreSQL goes away under a running `talkmeter serve`, and comes back."""

import json
import random
from collections.abc import Callable

import aiohttp
import pytest
from websockets.exceptions import InvalidStatus

from proxy.store.keys import new_secret
from tests.e2e.place import Home, add_key
from tests.faults.checks import left_in, wrong
from tests.faults.instance import Instance, instance_of, refused, started
from tests.faults.traffic import Seen, Witness, connected, crowd
from tests.relay.peers import until
from tests.store.forwarder import behind

TURNS = 30


async def talk(client: Witness, turns: int) -> None:
    for _ in range(turns):
        await client.say("Give me 3 words")
        assert (await client.respond())["status"] == "completed"


async def metric(instance: Instance, name: str) -> float:
    """Return a value from /metrics."""
    url = f"http://{instance.settings.admin_listen}/metrics"
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        (line,) = [line for line in (await answer.text()).splitlines() if line.startswith(f"{name} ")]
        return float(line.split()[1])


async def turned_away(instance: Instance, secret: str) -> tuple[int, str]:
    """Connect with a key that opens nothing now; return the HTTP status and the error's code."""
    with pytest.raises(InvalidStatus) as refusal:
        async with connected(instance.url, secret, Seen()):
            pass
    body = json.loads(refusal.value.response.body or b"{}")
    return refusal.value.response.status_code, body["error"]["code"]


def all_booked(home: Home, seen: Seen) -> Callable[[], bool]:
    """Return a condition: everything that the clients saw billed is in the ledger."""
    return lambda: {(entry.session, entry.subject) for entry in home.booked()} >= seen.billed


async def test_sessions_go_on_and_the_journal_holds(postgres_home: Home) -> None:
    home, seen = postgres_home, Seen()
    async with (
        home.simulating() as simulator,
        behind(home.database_url) as (link, url),
        started(instance_of(home, upstream_url=simulator.url, database_url=url)) as instance,
    ):
        async with connected(instance.url, home.secret, seen) as before:
            await talk(before, 3)
            await until(all_booked(home, seen))
            await link.cut()
            made_meanwhile = add_key(home.database_url, "late")
            await talk(before, TURNS)
            async with connected(instance.url, home.secret, seen) as during:
                await talk(during, TURNS)
            assert await turned_away(instance, new_secret()) == (503, "database_unavailable")
            assert await turned_away(instance, made_meanwhile) == (503, "database_unavailable")
            await until(lambda: bool(instance.logged("database lost")))
            assert len(home.booked()) == 3
            assert await metric(instance, "talkmeter_journal_depth_records") >= 2 * TURNS
            await link.restore()
            await until(all_booked(home, seen))
            await until(lambda: bool(instance.logged("database is back")))
            async with connected(instance.url, made_meanwhile, seen) as after:
                await talk(after, 3)
            assert await turned_away(instance, new_secret()) == (401, "invalid_api_key")
            await talk(before, 3)
        await instance.stop()
    assert wrong(home.database_url, home.truths(), seen) == []
    assert left_in(instance.settings.journal) == []
    assert len(home.booked()) == 2 * TURNS + 9


async def test_killed_while_it_is_away(postgres_home: Home) -> None:
    """What the journal holds survives; a start without the database is refused and loses nothing either."""
    home, seen, dice = postgres_home, Seen(), random.Random(2)
    async with home.simulating(speed=300.0) as simulator, behind(home.database_url) as (link, url):
        instance = instance_of(home, upstream_url=simulator.url, database_url=url)
        async with started(instance), crowd(instance.url, home.secret, seen, dice, 6):
            await until(lambda: len(seen.billed) > 10)
            await link.cut()
            reached = len(seen.billed)
            await until(lambda: len(seen.billed) > reached + 50)
            await instance.kill()
        assert "cannot be used" in await refused(instance.settings, home.folder)
        await link.restore()
        try:
            await instance.start()
            await instance.ready()
            await until(all_booked(home, seen))
            await instance.stop()
        finally:
            await instance.put_down()
    assert wrong(home.database_url, home.truths(), seen) == []
    assert left_in(instance.settings.journal) == []
