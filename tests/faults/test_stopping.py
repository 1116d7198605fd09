"""SIGTERM with a response running: it is finished and billed; a second SIGTERM does not wait for that."""

import asyncio
import signal

import aiohttp
import pytest
import websockets
from sqlalchemy import select, text

from proxy.store import schema
from proxy.store.database import open_database, writing
from tests.e2e.place import Home
from tests.faults.checks import left_in, wrong
from tests.faults.instance import Instance, instance_of, started
from tests.faults.traffic import Seen, Witness, connected
from tests.relay.peers import until

SLOW = 20.0  # a word takes some 17 ms


async def asked(client: Witness, words: int) -> None:
    """Ask for an answer of so many words and hear it begin."""
    await client.say(f"Give me {words} words")
    await client.send("response.create")
    await client.until("response.output_audio.delta")


async def settled(home: Home, instance: Instance, seen: Seen) -> list[tuple[str, bool]]:
    """Wait for the end, check the books; return the status of each entry and whether it is an estimate."""
    assert await instance.ended() == 0, instance.said()
    assert wrong(home.database_url, home.truths(), seen) == []
    assert left_in(instance.settings.journal) == []
    return [(entry.status, entry.estimated) for entry in home.booked()]


async def test_sigterm_lets_a_running_response_finish(home: Home) -> None:
    seen = Seen()
    async with (
        home.simulating(speed=SLOW) as simulator,
        started(instance_of(home, upstream_url=simulator.url, drain_s=0, linger_s=60)) as instance,
        connected(instance.url, home.secret, seen) as client,
    ):
        await asked(client, 100)
        instance.signal(signal.SIGTERM)
        await until(lambda: bool(instance.logged("draining")))
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"http://{instance.settings.listen}/readyz") as answer,
        ):
            assert (answer.status, (await answer.json())["reasons"]) == (503, ["draining"])
        done = await client.until("response.done")
        assert done["response"]["status"] == "completed"
        assert await client.ended() == (1012, "restarting, connect again")
        assert await settled(home, instance, seen) == [("completed", False)]


async def test_a_second_sigterm_drops_it_and_books_what_was_heard(home: Home) -> None:
    seen = Seen()
    async with (
        home.simulating(speed=SLOW) as simulator,
        started(instance_of(home, upstream_url=simulator.url, drain_s=600, linger_s=600)) as instance,
    ):
        with pytest.raises(websockets.ConnectionClosedError):
            async with connected(instance.url, home.secret, seen) as client:
                await asked(client, 3_000)
                instance.signal(signal.SIGTERM)
                await until(lambda: bool(instance.logged("draining")))
                await client.until("response.output_audio.delta")
                instance.signal(signal.SIGTERM)
                await client.until("response.done")
        assert await settled(home, instance, seen) == [("lost", True)]
        (entry,) = home.booked()
        assert entry.cost_nanousd
        assert instance.logged("second signal")


async def test_a_second_sigterm_does_not_wait_for_a_lock_that_somebody_holds(postgres_home: Home) -> None:
    """In the database: nobody knows for how long. The journal has everything."""
    hasty = "from proxy.processes import stopping as s; s.GIVE_UP_S = 1.0; from proxy.cli import main; main()"
    instance = instance_of(postgres_home)
    instance.arguments = ("-c", hasty, "serve")
    engine = open_database(postgres_home.database_url)
    async with started(instance):
        with writing(engine) as connection:
            connection.execute(select(schema.instance).with_for_update())
            ours = "pg_backend_pid() = ANY (pg_blocking_pids(pid))"
            waits = text(f"SELECT count(*) FROM pg_locks WHERE NOT granted AND {ours}")
            while not connection.execute(waits).scalar_one():  # noqa: ASYNC110  nobody tells
                await asyncio.sleep(0.1)
            instance.signal(signal.SIGTERM)
            await until(lambda: bool(instance.logged("draining")))
            instance.signal(signal.SIGTERM)
            assert await instance.ended() == 1
        assert instance.logged("this does not end")
    engine.dispose()
