"""Eight data planes share one budget on one PostgreSQL, are killed and cut off, and it holds.

In a run, conversations and models that never stop talking spend the last of a budget at all eight instances,
while some of these get `kill -9` and are started again on their journals, and others lose the database and
get it back. Afterwards must hold, all instances up and everything posted:

* the ledger is what the upstream sent and the clients saw (`tests/faults/checks.py`);
* `budget_window` says what the ledger sums up to;
* spent ≤ amount + Σ max(0, cost − hold), the sum over what was booked in this run, each hold as its entry
  has it. What was open at a kill is booked as estimated at the next start, and its hold has died with the
  process: it was at least that, since a response is cut once its running estimate reaches its hold;
* no money has got lost in leases: after a small raise each instance admits a session, and one of them spends
  all that is left but for two seconds of audio (or up to three, each with money left by the last);
* once all were stopped, no lease is left.

`TEST_SHARING_RUNS` sets how many runs there are; `TEST_SEED` repeats what happens in the first.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest
import websockets
from sqlalchemy import Engine, select

from proxy.clock import utc_now
from proxy.core.budgets import Scope
from proxy.core.money import format_usd
from proxy.core.windows import Window
from proxy.store.audit import Act
from proxy.store.budgets import set_budget
from proxy.store.database import open_database, reading, writing
from proxy.store.schema import (
    budget,
    budget_cut,
    budget_window,
    instance,
    lease,
    ledger_entry,
    ledger_line,
    session,
)
from tests.e2e.place import Home
from tests.faults.checks import left_in, wrong
from tests.faults.plane import Plane, plane_of
from tests.faults.traffic import HEARING, LOST, RETRY_S, Seen, Witness, connected
from tests.store.forwarder import Forwarder, behind

RUNS = int(os.environ.get("TEST_SHARING_RUNS", "3"))
SEED = int(os.environ.get("TEST_SEED", str(random.SystemRandom().randrange(2**32))))
RUNS_A_FLEET_MAX = 10  # that share the start of eight processes, and a database
INSTANCES = 8
KILLED, PARTED, PARTED_AND_KILLED = 2, 2, 1  # of them, in every run
SPEED = 50.0  # times real time: a runaway spends six cents a second
AMOUNT = 2_000_000_000  # on top of what was spent before, in every run
RAISE = 50_000_000
CALLERS_OF_THE_REST = 3
TWO_SECONDS = 40 * 64_000  # of audio of gpt-realtime-2.1
ENDLESS = "words:2000"
SETTLED_S = 60.0
LOOK_S = 0.2
TOLD_S = 300.0  # a run takes about ten seconds

pytestmark = [pytest.mark.slow]


@dataclass
class Member:
    """One instance, and its link to the database."""

    instance: Plane
    link: Forwarder

    async def depth(self) -> float:
        """Return how many records of its journal are not posted."""
        return await self.instance.metric("talkmeter_journal_depth_records")


@dataclass
class Fleet:
    """All instances, on one database."""

    home: Home
    engine: Engine
    members: Sequence[Member]
    seen: Seen = field(default_factory=Seen)

    def set_amount(self, nanousd: int) -> None:
        """Set the budget that all of them share."""
        scope, window, act = Scope.TENANT, Window.LIFETIME, Act("test", utc_now(), "a test")
        with writing(self.engine) as connection:
            set_budget(connection, act, scope=scope, window=window, amount_nanousd=nanousd, tenant="acme")

    def spent(self) -> int:
        """Return what the budget's counter says; there is none before anybody has asked for money."""
        with reading(self.engine) as connection:
            return sum(connection.execute(select(budget_window.c.spent_nanousd)).scalars())

    def leases(self) -> int:
        with reading(self.engine) as connection:
            return len(connection.execute(select(lease)).all())

    def what_is_reserved(self) -> list[str]:
        with reading(self.engine) as connection:
            return [
                f"{table.name}: {row._mapping}"
                for table in (budget, budget_window, lease, instance)
                for row in connection.execute(select(table))
            ]

    async def settled(self) -> None:
        """Wait until all sessions are over and everything is posted, on two looks in a row."""
        looks: list[list[str]] = []
        for _ in range(int(SETTLED_S / LOOK_S)):
            looks = [*looks[-1:], await self.unsettled()]
            if looks == [[], []]:
                return
            await asyncio.sleep(LOOK_S)
        pytest.fail("\n  ".join(["it does not settle:", *looks[-1], *self.last_words()]))

    async def unsettled(self) -> list[str]:
        """Return which sessions the database takes for open, and which journals are not posted.

        A client may have seen a session whose name at the upstream is lost with a kill: nothing is billed
        before that name is on disk with what is billed.
        """
        with reading(self.engine) as connection:
            open_ones = connection.execute(select(session).where(session.c.closed_at.is_(None))).all()
        depths = [(member.instance.log_path.name, await member.depth()) for member in self.members]
        return [
            *(f"open: {row._mapping}" for row in open_ones),
            *(f"{name}: {depth:.0f} records are not posted" for name, depth in depths if depth),
        ]

    def last_words(self) -> list[str]:
        """Return the end of each instance's log."""
        logs = [(one.instance.log_path.name, one.instance.said().splitlines()[-20:]) for one in self.members]
        return [f"{name}: {line}" for name, lines in logs for line in lines]


@asynccontextmanager
async def fleet(home: Home) -> AsyncIterator[Fleet]:
    """Run eight instances on the home's database; stopped in the end, they have left nothing behind."""
    async with (
        home.simulating(speed=SPEED, transcription_delay_s=0.02) as simulator,
        AsyncExitStack() as stack,
    ):
        members = []
        for number in range(INSTANCES):
            link, url = await stack.enter_async_context(behind(home.database_url))
            changes = {"journal_path": home.folder / f"journal{number}.db", "database_url": url}
            instance = plane_of(home, f"plane{number}", upstream_url=simulator.url, **changes)
            stack.push_async_callback(instance.put_down)
            members.append(Member(instance, link))
        engine = open_database(home.database_url)
        stack.callback(engine.dispose)
        ours = Fleet(home, engine, members)
        ours.set_amount(0)
        await _each(members, _start)
        yield ours
        await _each(members, lambda member: member.instance.stop())
        assert ours.leases() == 0
        assert [left for member in members for left in left_in(member.instance.settings.journal)] == []


async def _start(member: Member) -> None:
    await member.instance.start()
    await member.instance.ready()


async def _each(members: Sequence[Member], call: Callable[[Member], Awaitable[None]]) -> None:
    await asyncio.gather(*(call(member) for member in members))


# What goes wrong


async def killed(member: Member, dice: random.Random) -> None:
    """Kill an instance, and start it again."""
    await asyncio.sleep(dice.uniform(0.5, 4.0))
    await member.instance.kill()
    await asyncio.sleep(dice.uniform(0.0, 1.0))
    await _start(member)


async def parted(member: Member, dice: random.Random) -> None:
    """Take the database from an instance for some time."""
    await asyncio.sleep(dice.uniform(0.0, 3.0))
    await member.link.cut()
    await asyncio.sleep(dice.uniform(0.2, 4.0))
    await member.link.restore()


async def parted_and_killed(member: Member, dice: random.Random) -> None:
    """Kill an instance while it has no database: what it spent meanwhile is in its journal only."""
    await asyncio.sleep(dice.uniform(0.0, 3.0))
    await member.link.cut()
    await asyncio.sleep(dice.uniform(0.2, 2.0))
    await member.instance.kill()
    await member.link.restore()
    await asyncio.sleep(dice.uniform(0.0, 1.0))
    await _start(member)


def mishaps(members: Sequence[Member], dice: random.Random) -> list[Awaitable[None]]:
    """Return what befalls whom in a run: none of them twice."""
    unlucky = iter(dice.sample(list(members), KILLED + PARTED + PARTED_AND_KILLED))
    kinds = [killed] * KILLED + [parted] * PARTED + [parted_and_killed] * PARTED_AND_KILLED
    return [kind(next(unlucky), random.Random(dice.randrange(2**32))) for kind in kinds]


# Who talks


async def ordinary(client: Witness, dice: random.Random) -> None:
    """Have a few turns, spoken or written."""
    await client.configure(audio=HEARING)
    for _ in range(dice.randrange(1, 4)):
        if dice.random() < 0.4:
            await client.speak(dice.randrange(500, 2_000))
            await client.commit()
        await client.say(f"Give me {dice.randrange(20, 40)} words")
        await client.respond()


async def runaway(client: Witness, dice: random.Random) -> None:
    """Listen to a model that never stops."""
    await client.configure()
    while True:
        await client.say("go on")
        await client.respond()


@dataclass
class Caller:
    """Talks through any of the instances until it has had its say, or the budget is spent."""

    fleet: Fleet
    dice: random.Random
    endless: bool
    ends: Counter[str]

    async def call(self) -> None:
        await asyncio.sleep(self.dice.uniform(0.0, 4.0))
        while True:
            member = self.dice.choice(self.fleet.members)
            how = await self.talk(member)
            self.ends[how] += 1
            if how in ("refused", "cut", "done"):
                return
            await asyncio.sleep(RETRY_S)

    async def talk(self, member: Member) -> str:
        """Hold one conversation; return how it ended."""
        url, secret, seen = member.instance.url, self.fleet.home.secret, self.fleet.seen
        try:
            async with connected(url, secret, seen, sim=ENDLESS if self.endless else "") as client:
                await (runaway if self.endless else ordinary)(client, self.dice)
                return "done"
        except websockets.InvalidStatus as refusal:
            return "refused" if refusal.response.status_code == 402 else "turned away"
        except websockets.ConnectionClosed as closed:
            said = closed.rcvd.reason if closed.rcvd else ""
            if "cannot be checked" in said:
                return "unknown"
            return "cut" if "budget of this tenant is spent" in said else "lost"
        except LOST:
            return "lost"


# What has to hold


def ledger_sum(engine: Engine) -> int:
    """Return what all lines in the ledger come to."""
    with reading(engine) as connection:
        return sum(
            amount or 0 for amount in connection.execute(select(ledger_line.c.billed_nanousd)).scalars()
        )


def beyond_holds(engine: Engine, after: int) -> tuple[int, int]:
    """Return Σ max(0, cost − hold) of what was booked after entry `after`: cut, and not."""
    with reading(engine) as connection:
        entries = connection.execute(select(ledger_entry).where(ledger_entry.c.id > after)).all()
        cuts = {(cut.session_id, cut.subject_id) for cut in connection.execute(select(budget_cut))}
    of_cut = of_others = 0
    for entry in entries:
        if entry.held_nanousd is None:
            assert entry.estimated and "crash" in entry.flags, entry
            continue
        beyond = max(0, (entry.cost_nanousd or 0) - entry.held_nanousd)
        if (entry.session_id, entry.subject_id) in cuts:
            of_cut += beyond
        else:
            of_others += beyond
    return of_cut, of_others


def last_entry(engine: Engine) -> int:
    with reading(engine) as connection:
        return max(connection.execute(select(ledger_entry.c.id)).scalars(), default=0)


async def run(ours: Fleet, seed: int) -> None:
    """Spend a budget while instances come to harm; see that it held."""
    dice, engine, ends = random.Random(seed), ours.engine, Counter[str]()
    began, spent_before = last_entry(engine), ours.spent()
    amount = spent_before + AMOUNT
    ours.set_amount(amount)
    await _each(ours.members, lambda member: admitted(ours, member))
    talkative = dice.randrange(4, 9)
    callers = [
        Caller(ours, random.Random(dice.randrange(2**32)), number < talkative, ends)
        for number in range(dice.randrange(20, 41))
    ]
    try:
        async with asyncio.timeout(TOLD_S):
            await asyncio.gather(*(caller.call() for caller in callers), *mishaps(ours.members, dice))
    except TimeoutError:
        pytest.fail("\n  ".join(["some talk for ever:", *await ours.unsettled(), *ours.last_words()]))
    await ours.settled()
    assert ends["refused"] + ends["cut"] >= talkative
    spent = held(ours, amount, began)
    problems = await asyncio.to_thread(wrong, ours.home.database_url, ours.home.truths(), ours.seen)
    assert problems == []
    print(
        f"TEST_SEED={seed}: {len(callers)} callers, {dict(ends)}; spent ${format_usd(spent - spent_before)}"
    )
    await spends_the_rest(ours, dice)


def held(ours: Fleet, amount: int, began: int) -> int:
    """See that no more was spent than may be; return the sum."""
    spent = ours.spent()
    assert spent == ledger_sum(ours.engine)
    of_cut, of_others = beyond_holds(ours.engine, began)
    print(
        f"  left ${format_usd(amount - spent)}; beyond holds: ${format_usd(of_cut)} cut,"
        f" ${format_usd(of_others)} others"
    )
    assert spent <= amount + of_cut + of_others
    return spent


async def admitted(ours: Fleet, member: Member) -> None:
    """Connect until a session opens at this instance."""
    said: bytes | bytearray = b""
    try:
        async with asyncio.timeout(SETTLED_S):
            while True:
                try:
                    async with connected(member.instance.url, ours.home.secret, ours.seen) as client:
                        await client.configure()
                    return
                except websockets.InvalidStatus as refusal:
                    said = refusal.response.body or b""
                    assert refusal.response.status_code in (402, 503), refusal
                    await asyncio.sleep(RETRY_S)
    except TimeoutError:
        print(f"  {member.instance.url} admits nobody: {said!r}", *ours.what_is_reserved(), sep="\n  ")
        raise


async def spends_the_rest(ours: Fleet, dice: random.Random) -> None:
    """Raise the budget by a little: every instance admits, and nearly all that is left can be spent.

    By one conversation, unless others or the database have not answered within `ASK_S`, as on a busy machine:
    then it was cut with money left, and another one gets that.
    """
    began, amount = last_entry(ours.engine), ours.spent() + RAISE
    ours.set_amount(amount)
    for member in ours.members:
        await admitted(ours, member)
    for _ in range(CALLERS_OF_THE_REST):
        caller = Caller(ours, dice, True, Counter())
        assert await caller.talk(dice.choice(ours.members)) in ("cut", "unknown")
        await ours.settled()
        spent = held(ours, amount, began)
        if spent >= amount - TWO_SECONDS:
            return
    pytest.fail(f"${format_usd(amount - spent)} cannot be spent")


@pytest.mark.timeout(120 + 60 * RUNS_A_FLEET_MAX)
@pytest.mark.parametrize("first", range(0, RUNS, RUNS_A_FLEET_MAX))
async def test_the_budget_holds_and_none_of_it_gets_lost(postgres_home: Home, first: int) -> None:
    async with fleet(postgres_home) as ours:
        for number in range(first, min(first + RUNS_A_FLEET_MAX, RUNS)):
            await run(ours, (SEED + number) % 2**32)
