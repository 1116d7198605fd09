"""Two instances on one PostgreSQL, watched by Prometheus: one is restarted, one is killed.

People talk all the while. The first instance is told to stop and started again: who has finished within
`DRAIN_S` was not cut, who talks on is told to connect again, and nobody new is admitted meanwhile. The second
one gets `kill -9`: Prometheus has an alert, until it is started again on its journal. In the end

* the ledger is what the voice API sent, each thing once; what was open at the kill is estimated;
* globex, which talks without end, has spent its budget, and beyond it what its cuts cost beyond their holds;
* the dashboards have shown something in every panel but those about what did not happen.

`TEST_CONVERSATIONS` sets how many conversations there are, beside the endless ones.
"""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import websockets
from pydantic import SecretStr
from sqlalchemy import select

from proxy.clock import utc_now
from proxy.core.budgets import OnStoreDown, Scope
from proxy.core.windows import Window
from proxy.store.audit import Act
from proxy.store.budgets import Terms, set_budget
from proxy.store.database import open_database, reading, writing
from proxy.store.schema import budget_window, lease, ledger_entry, tenant
from tests.dashboards.files import DASHBOARDS, filled, load, names_in, queries
from tests.e2e.place import Home, add_key
from tests.faults.checks import left_in, wrong
from tests.faults.instance import Instance, instance_of
from tests.faults.traffic import LOST, RETRY_S, Seen, Witness, connected
from tests.prometheus import Prometheus, running_prometheus, wait_for

CONVERSATIONS = int(os.environ.get("TEST_CONVERSATIONS", "20"))
SEED = int(os.environ.get("TEST_SEED", str(random.SystemRandom().randrange(2**32))))
ENDLESS = 2  # beside them, at whichever instance is in for it
AT_ONCE_MAX = 40
BEGIN_S = 1.5  # within which as many begin as may talk at once
SPEED = 50.0  # times real time: an answer of twenty words takes a tenth of a second
DRAIN_S = 5.0
AMOUNT = 200_000_000  # of globex's budget: three seconds of a model that speaks without end
TOKEN = "a token that only tests have"
BY_ITSELF, RESTARTING, LOST_IT, AWAY = 1000, 1012, 1006, 503  # how a conversation ends, or does not begin
HEARING = {"input": {"transcription": {"model": "gpt-4o-transcribe"}, "turn_detection": None}}
LONG = 200  # conversations, from where on half a minute more does not matter
DEAD = 'ALERTS{alertname="TalkmeterInstanceDead",alertstate="firing"}'
ALL_DOWN = 'ALERTS{alertname="TalkmeterInstanceDown",alertstate="firing"}'
NOT_HERE = {  # what no panel needs to show here
    "ALERTS",  # none fires in the end
    "talkmeter_announcements_total",  # perhaps told by the instance that was killed a moment later
    "talkmeter_budget_used_ratio",  # nobody talks in the end
    "talkmeter_entry_flags_total",  # whether a report of usage was odd is a matter of when instances go
    "talkmeter_webhook_deliveries_total",  # there is no webhook
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300 + CONVERSATIONS),
    pytest.mark.asyncio(loop_factories=["asyncio"]),
]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a conversation ended, at which instance, and when on the monotonic clock."""

    how: int
    where: Instance
    at: float


@dataclass
class Fleet:
    """Both instances, and the Prometheus that watches them."""

    home: Home
    first: Instance
    second: Instance
    prometheus: Prometheus
    seen: Seen = field(default_factory=Seen)

    def other(self, one: Instance) -> Instance:
        return self.second if one is self.first else self.first

    async def becomes(self, expr: str, value: float | None) -> None:
        """Wait until Prometheus says so of the only series that this is; None: of no series."""
        await asyncio.to_thread(wait_for, lambda: self.prometheus.value(expr) == value)


@asynccontextmanager
async def fleet(home: Home) -> AsyncIterator[Fleet]:
    """Run both instances on the home's database; stopped in the end, they have left nothing behind."""
    async with (
        home.simulating(speed=SPEED, transcription_delay_s=0.02) as simulator,
        AsyncExitStack() as stack,
    ):
        given: dict[str, Any] = {"metrics_token": SecretStr(TOKEN), "drain_s": DRAIN_S}
        pair = [
            instance_of(
                home, name, journal_path=home.folder / f"{name}.db", upstream_url=simulator.url, **given
            )
            for name in ("first", "second")
        ]
        for one in pair:
            stack.push_async_callback(one.put_down)
            await one.start()
        for one in pair:
            await one.ready()
        watching = running_prometheus(home.folder, [shown(one) for one in pair], TOKEN, alert_after_s=1)
        prometheus = await asyncio.to_thread(stack.enter_context, watching)
        yield Fleet(home, pair[0], pair[1], prometheus)
        await asyncio.gather(*(one.stop() for one in pair))
        assert [left for one in pair for left in left_in(one.settings.journal)] == []


def shown(one: Instance) -> str:
    """Return the name that an instance has in Prometheus."""
    return str(one.settings.admin_listen)


# --- Who talks


async def some_turns(client: Witness, dice: random.Random) -> None:
    """Have a few turns, spoken and written."""
    await client.configure(audio=HEARING)
    for _ in range(dice.randrange(2, 6)):
        if dice.random() < 0.4:
            await client.speak(dice.randrange(500, 1_500))
            await client.commit()
        await client.say(f"Give me {dice.randrange(10, 40)} words")
        await client.respond()
        await asyncio.sleep(dice.uniform(0.0, 0.4))


async def no_end(client: Witness, dice: random.Random) -> None:
    """Have one turn after the other."""
    await client.configure()
    while True:
        await client.say("Give me 20 words")
        await client.respond()
        await asyncio.sleep(dice.uniform(0.1, 0.2))


async def talk(ours: Fleet, at: Instance, dice: random.Random, *, endless: bool) -> Ended:
    """Hold one conversation."""
    how = AWAY
    try:
        async with connected(at.url, ours.home.secret, ours.seen) as client:
            how = LOST_IT
            await (no_end if endless else some_turns)(client, dice)
            how = BY_ITSELF
    except websockets.ConnectionClosed as closed:
        how = closed.rcvd.code if closed.rcvd else LOST_IT
    except LOST:
        pass  # `how` says whether it had begun
    return Ended(how, at, time.monotonic())


@dataclass
class Crowd:
    """People who talk until they have had their say, at the other instance when the first is not there."""

    ours: Fleet
    dice: random.Random
    ends: list[Ended] = field(default_factory=list)

    @asynccontextmanager
    async def talking(self, at: Instance, conversations: int) -> AsyncIterator[None]:
        """Have so many conversations, and endless ones that are not taken up again, begin at one instance."""
        free = asyncio.Semaphore(AT_ONCE_MAX)
        async with asyncio.TaskGroup() as group:
            for number in range(ENDLESS + conversations):
                dice = random.Random(self.dice.randrange(2**32))
                group.create_task(self._call(at, dice, free, endless=number < ENDLESS))
            yield

    async def _call(
        self, at: Instance, dice: random.Random, free: asyncio.Semaphore, *, endless: bool
    ) -> None:
        async with free:
            if not endless:
                await asyncio.sleep(dice.uniform(0.0, BEGIN_S))
            while True:
                ended = await talk(self.ours, at, dice, endless=endless)
                self.ends.append(ended)
                if endless or ended.how == BY_ITSELF:
                    return
                at = self.ours.other(at)
                await asyncio.sleep(RETRY_S)

    def how(self, at: Instance) -> Counter[int]:
        """Return how conversations ended at an instance, and how often."""
        return Counter(one.how for one in self.ends if one.where is at)


async def overspend(ours: Fleet, secret: str, at: Instance) -> int:
    """Let globex listen until it is cut; return the close code, or the HTTP status of a refusal."""
    try:
        async with connected(at.url, secret, ours.seen, sim="words:2000") as client:
            await client.configure()
            await client.say("Tell me all")
            await client.send("response.create")
            return (await client.ended())[0]
    except websockets.InvalidStatus as refused:
        return refused.response.status_code


# --- What happens


async def restarted(ours: Fleet, dice: random.Random) -> None:
    """Stop the first instance while people talk there, and start it again."""
    crowd = Crowd(ours, dice)
    async with crowd.talking(ours.first, CONVERSATIONS // 2):
        await asyncio.sleep(BEGIN_S / 2)
        told_at = time.monotonic()
        ours.first.signal(signal.SIGTERM)
        assert await ours.first.ended() == 0, ours.first.said()
        await ours.first.start()
        await ours.first.ready()
    print(f"restarted: {dict(crowd.how(ours.first))} at it, {dict(crowd.how(ours.second))} at the other one")
    assert crowd.how(ours.first).keys() <= {BY_ITSELF, RESTARTING, AWAY}
    assert crowd.how(ours.first)[RESTARTING] >= ENDLESS
    early = [one for one in crowd.ends if one.how == RESTARTING and one.at < told_at + DRAIN_S]
    assert early == [], "cut within DRAIN_S"
    went_on = [one for one in crowd.ends if one.how == BY_ITSELF and told_at < one.at < told_at + DRAIN_S]
    assert went_on, "nobody was talking when it was told to stop"
    assert crowd.how(ours.second).keys() <= {BY_ITSELF}, "who was turned away has talked at the other one"


async def killed(ours: Fleet, dice: random.Random) -> None:
    """Kill the second instance while people talk there; there is an alert until it is started again."""
    crowd = Crowd(ours, dice)
    alert = f'ALERTS{{alertname="TalkmeterInstanceDown",alertstate="firing",instance="{shown(ours.second)}"}}'
    async with crowd.talking(ours.second, CONVERSATIONS - CONVERSATIONS // 2):
        await asyncio.sleep(BEGIN_S / 2)
        await ours.second.kill()
        await ours.becomes(alert, 1)
        if CONVERSATIONS >= LONG:
            await ours.becomes(DEAD, 1)  # half a minute later
    print(f"killed: {dict(crowd.how(ours.second))} at it, {dict(crowd.how(ours.first))} at the other one")
    assert crowd.how(ours.second)[LOST_IT] >= ENDLESS
    assert crowd.how(ours.first).keys() <= {BY_ITSELF}
    assert await asyncio.to_thread(ours.prometheus.value, f"count({ALL_DOWN})") == 1
    await ours.second.start()
    await ours.second.ready()
    await ours.becomes(alert, None)
    await ours.becomes(DEAD, None)


async def spent_up(ours: Fleet, secret: str) -> None:
    """Let globex talk at both instances until its budget is spent, and once more."""
    for _ in range(2):
        ends = await asyncio.gather(*(overspend(ours, secret, one) for one in (ours.first, ours.second)))
        assert set(ends) <= {1008, 402}


# --- What has to hold


def set_budget_of(home: Home, name: str) -> None:
    engine = open_database(home.database_url)
    try:
        with writing(engine) as connection:
            facts: dict[str, Any] = {"scope": Scope.TENANT, "window": Window.LIFETIME, "tenant": name}
            facts["terms"] = Terms(on_store_down=OnStoreDown.RETRY)  # a slow machine is no reason to refuse
            set_budget(connection, Act("test", utc_now(), "a test"), amount_nanousd=AMOUNT, **facts)
    finally:
        engine.dispose()


def held(home: Home, name: str) -> None:
    """See that a tenant's only budget was not exceeded by more than its cuts cost beyond their holds."""
    engine = open_database(home.database_url)
    try:
        with reading(engine) as connection:
            (window,) = connection.execute(select(budget_window)).all()
            whose = select(tenant.c.id).where(tenant.c.name == name).scalar_subquery()
            entries = connection.execute(select(ledger_entry).where(ledger_entry.c.tenant_id == whose)).all()
            assert connection.execute(select(lease)).all() == []
    finally:
        engine.dispose()
    assert window.spent_nanousd == sum(entry.cost_nanousd for entry in entries)
    beyond = sum(max(0, entry.cost_nanousd - entry.held_nanousd) for entry in entries)
    print(f"{name}: {window.spent_nanousd:,} of {AMOUNT:,} nano-dollars, {beyond:,} beyond holds")
    assert AMOUNT * 0.5 < window.spent_nanousd <= AMOUNT + beyond


def dark_panels(prometheus: Prometheus) -> set[str]:
    """Ask for all that the dashboards ask for; return the metrics of queries that have no answer."""
    every = {filled(expr) for path in DASHBOARDS for expr in queries(load(path))}
    return {name for expr in every if not prometheus.query(expr) for name in names_in(expr)}


@pytest.mark.parametrize("home", ["postgres"], indirect=True)
async def test_people_talk_on_while_instances_come_and_go(home: Home) -> None:
    print(f"TEST_SEED={SEED} TEST_CONVERSATIONS={CONVERSATIONS}")
    dice, wasteful = random.Random(SEED), add_key(home.database_url, "globex")
    set_budget_of(home, "globex")
    async with fleet(home) as ours:
        await ours.becomes("count(talkmeter_build_info)", 2)
        await restarted(ours, dice)
        await spent_up(ours, wasteful)
        await killed(ours, dice)
        await ours.becomes("sum(talkmeter_sessions_active)", 0)
        await ours.becomes("sum(talkmeter_journal_depth_records)", 0)
        dark = await asyncio.to_thread(dark_panels, ours.prometheus)
        assert dark <= NOT_HERE
    assert wrong(home.database_url, home.truths(), ours.seen) == []
    held(home, "globex")
