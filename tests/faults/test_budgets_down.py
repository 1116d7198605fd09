"""PostgreSQL goes away under conversations that a budget encloses: what they may spend then, and what not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import websockets
from sqlalchemy import select

from proxy.clock import utc_now
from proxy.core.budgets import OnStoreDown, Scope
from proxy.core.windows import Window
from proxy.store.accounts import IDLE_S
from proxy.store.audit import Act
from proxy.store.budgets import Terms, set_budget
from proxy.store.database import open_database, reading, writing
from proxy.store.schema import budget_window, lease
from tests.e2e.place import Home
from tests.faults.instance import Instance, instance_of, started
from tests.faults.traffic import Seen, Witness, connected
from tests.relay.peers import until
from tests.store.forwarder import Forwarder, behind

CENT = 10_000_000
AMOUNT = 500 * CENT
TURNS_MAX = 300
ONE_TURN = 2 * CENT  # no turn costs as much; at this speed all of the last is generated before it can be cut

pytestmark = pytest.mark.slow


def set_terms(home: Home, terms: Terms) -> None:
    engine = open_database(home.database_url)
    with writing(engine) as connection:
        act = Act("test", utc_now(), "a test")
        set_budget(
            connection,
            act,
            scope=Scope.TENANT,
            window=Window.MONTH,
            tenant="acme",
            amount_nanousd=AMOUNT,
            terms=terms,
        )
    engine.dispose()


def counted(home: Home) -> tuple[int, int]:
    """Return what is spent of the budget, and what is leased of it on top."""
    engine = open_database(home.database_url)
    with reading(engine) as connection:
        spent = [row.spent_nanousd for row in connection.execute(select(budget_window))]
        leased = [row.granted_nanousd - row.taken_nanousd for row in connection.execute(select(lease))]
    engine.dispose()
    return sum(spent), sum(leased)


async def talk(client: Witness, turns: int) -> None:
    for _ in range(turns):
        await client.say("Give me 30 words")
        assert (await client.respond())["status"] == "completed"


async def talked_until_cut(client: Witness) -> str:
    """Talk until the session ends; return why it did."""
    with pytest.raises(websockets.ConnectionClosed) as end:
        await talk(client, TURNS_MAX)
    assert end.value.rcvd is not None
    assert end.value.rcvd.code == 1008
    return end.value.rcvd.reason


@asynccontextmanager
async def talking(home: Home, seen: Seen, terms: Terms) -> AsyncIterator[tuple[Instance, Forwarder, Witness]]:
    """Yield a conversation that has a lease, all of it posted, and the link to the database."""
    set_terms(home, terms)
    async with (
        home.simulating(speed=300.0) as simulator,
        behind(home.database_url) as (link, url),
        started(instance_of(home, upstream_url=simulator.url, database_url=url)) as instance,
    ):
        await asyncio.sleep(1.0)  # so that the instance has heard of the budget
        async with connected(instance.url, home.secret, seen) as client:
            await talk(client, 6)
            await until(lambda: len(home.booked()) == 6)
            yield instance, link, client


async def settled(home: Home, seen: Seen, instance: Instance, link: Forwarder) -> int:
    """Let the database come back and the instance stop; return what was spent of the budget."""
    await link.restore()
    await until(lambda: len(home.booked()) >= len(seen.billed))
    await instance.stop()
    spent, leased = counted(home)
    assert leased == 0, "no money is left in leases"
    assert spent == sum(entry.cost_nanousd or 0 for entry in home.booked())
    return spent


@pytest.mark.parametrize("pause_s", [0.0, IDLE_S + 1.5], ids=["at once", "after a pause"])
async def test_under_terminate_what_is_leased_is_spent_first(postgres_home: Home, pause_s: float) -> None:
    """However long nobody has spoken: nothing of it goes back, since nobody would know."""
    home, seen = postgres_home, Seen()
    async with talking(home, seen, Terms()) as (instance, link, client):
        before, leased = counted(home)
        await link.cut()
        await asyncio.sleep(pause_s)
        reason = await talked_until_cut(client)
        assert "does not answer" in reason
        assert counted(home) == (before, leased)
        spent = await settled(home, seen, instance, link) - before
    print(f"\nspent ${spent / 1e9:.4f} of ${leased / 1e9:.4f} that were leased")
    assert abs(spent - leased) < ONE_TURN


async def test_under_continue_so_much_more_is_spent_as_it_allows(postgres_home: Home) -> None:
    home, seen = postgres_home, Seen()
    allowed = 8 * CENT
    terms = Terms(on_store_down=OnStoreDown.CONTINUE, store_down_nanousd=allowed)
    async with talking(home, seen, terms) as (instance, link, client):
        before, leased = counted(home)
        await link.cut()
        await asyncio.sleep(IDLE_S + 1.5)
        assert "does not answer" in await talked_until_cut(client)
        spent = await settled(home, seen, instance, link) - before
    print(
        f"\nspent ${spent / 1e9:.4f} of ${leased / 1e9:.4f} that were leased and ${allowed / 1e9:.4f} on top"
    )
    assert abs(spent - leased - allowed) < ONE_TURN
