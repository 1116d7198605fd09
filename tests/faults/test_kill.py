"""kill -9 under traffic: what a client saw is booked, what is booked was sent, each thing once.

What is killed is the whole `talkmeter serve`, and a data plane alone (relay, journal and poster), which is
started in less time. `TEST_KILLS_SERVE` and `TEST_KILLS` set how often (shared out over the databases),
`TEST_SEED` repeats the moments and what the clients say.
"""

import asyncio
import os
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
from sqlalchemy import Engine, select

from proxy.store.database import open_database, reading
from proxy.store.schema import journal_checkpoint
from tests.announcements import until
from tests.e2e.place import Home
from tests.faults.checks import left_in, wrong
from tests.faults.instance import Instance, instance_of
from tests.faults.plane import Plane, plane_of
from tests.faults.traffic import Seen, crowd

KILLS = int(os.environ.get("TEST_KILLS", "80"))
KILLS_SERVE = int(os.environ.get("TEST_KILLS_SERVE", "21"))
SEED = int(os.environ.get("TEST_SEED", str(random.SystemRandom().randrange(2**32))))
CLIENTS = 20
SPEED = 300.0  # answers take a few dozen milliseconds: kills meet every stage of them

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120 + 10 * KILLS_SERVE + 3 * KILLS)]


@dataclass(frozen=True)
class Moments:
    """When it is killed."""

    while_starting: float  # so many of the kills come before it serves, also while it replays …
    starting_s: tuple[float, float]  # … so long after the start
    served_s: tuple[float, float]  # the others come after it has served for so long


OF_SERVE = Moments(0.25, (0.0, 1.5), (0.0, 0.8))
OF_PLANES = Moments(0.2, (0.0, 0.2), (0.0, 0.6))
LATER = Moments(0.0, (0.0, 0.0), (0.4, 1.0))  # there is something to lose


class Checkpoints:
    """How far the ledger says that it has got with each journal: that never goes back."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reached: dict[str, int] = {}
        self.problems: list[str] = []

    def look(self) -> None:
        with reading(self._engine) as connection:
            now = {row.instance_id: row.seq for row in connection.execute(select(journal_checkpoint))}
        self.problems += [
            f"the checkpoint of {instance} went from {seq} to {now.get(instance)}"
            for instance, seq in self._reached.items()
            if now.get(instance, -1) < seq
        ]
        self._reached.update(now)


async def kill_often(
    instance: Instance | Plane, dice: random.Random, kills: int, moments: Moments, checkpoints: Checkpoints
) -> None:
    """Start `instance` and kill it, `kills` times; start it once more, as it should be."""
    for _ in range(kills):
        await instance.start()
        if dice.random() < moments.while_starting:
            await asyncio.sleep(dice.uniform(*moments.starting_s))
        else:
            await instance.ready()
            await asyncio.sleep(dice.uniform(*moments.served_s))
        await instance.kill()
        checkpoints.look()
    if isinstance(instance, Plane):
        instance.is_late = False
    await instance.start()
    await instance.ready()


async def suffer(
    home: Home, kills: Sequence[int], moments: Moments, *, is_whole: bool = False, is_late: bool = False
) -> list[str]:
    """Run an instance for each of `kills`, under traffic; return everything that is wrong afterwards."""
    print(f"TEST_SEED={SEED} TEST_KILLS={KILLS} TEST_KILLS_SERVE={KILLS_SERVE}")
    dice, seen = random.Random(SEED), Seen()
    engine = open_database(home.database_url, checkpoints=False)
    checkpoints = Checkpoints(engine)
    async with (
        home.simulating(speed=SPEED, transcription_delay_s=0.02) as simulator,
        AsyncExitStack() as stack,
    ):
        stack.callback(engine.dispose)
        instances: list[Instance | Plane] = []
        for n, _ in enumerate(kills):
            places = {"upstream_url": simulator.url, "journal_path": home.folder / f"journal{n}.db"}
            name = f"instance{n}"
            instance = instance_of(home, name, **places) if is_whole else plane_of(home, name, **places)
            if isinstance(instance, Plane):
                instance.is_late = is_late
            stack.push_async_callback(instance.put_down)
            instances.append(instance)
        async with AsyncExitStack() as traffic:
            for instance in instances:
                clients = CLIENTS // len(instances)
                await traffic.enter_async_context(crowd(instance.url, home.secret, seen, dice, clients))
            chances = [random.Random(dice.randrange(2**32)) for _ in instances]
            await asyncio.gather(
                *(
                    kill_often(instance, chance, count, moments, checkpoints)
                    for instance, chance, count in zip(instances, chances, kills, strict=True)
                )
            )
            await until(lambda: bool(seen.billed))  # on a busy machine none of the short lives may bill
        for instance in instances:
            await instance.stop()
        checkpoints.look()
    truth, booked = home.truths(), home.booked()
    print(
        f"{sum(kills)} kills, {len(seen.sessions)} sessions; {len(seen.billed)} forwarded,"
        f" {len(booked)} booked ({sum(entry.estimated for entry in booked)} estimated),"
        f" {sum(line.what != 'opened' for line in truth)} sent"
    )
    assert seen.billed, "the clients came to nothing"
    problems = checkpoints.problems + wrong(home.database_url, truth, seen)
    return problems + [left for instance in instances for left in left_in(instance.settings.journal)]


async def test_nothing_is_lost_or_doubled_on_sqlite(home: Home) -> None:
    assert await suffer(home, [KILLS_SERVE - KILLS_SERVE // 3], OF_SERVE, is_whole=True) == []


async def test_nothing_is_lost_or_doubled_by_two_instances_on_postgres(postgres_home: Home) -> None:
    share = KILLS_SERVE // 3
    assert await suffer(postgres_home, [share // 2, share - share // 2], OF_SERVE, is_whole=True) == []


async def test_nothing_is_lost_or_doubled_by_a_data_plane_on_sqlite(home: Home) -> None:
    assert await suffer(home, [KILLS - KILLS // 3], OF_PLANES) == []


async def test_nothing_is_lost_or_doubled_by_two_data_planes_on_postgres(postgres_home: Home) -> None:
    share = KILLS // 3
    assert await suffer(postgres_home, [share // 2, share - share // 2], OF_PLANES) == []


async def test_the_harness_sees_what_forwarding_first_loses(home: Home) -> None:
    """The negative control: a proxy that journals after it forwarded does lose usage when it is killed."""
    problems = await suffer(home, [4], LATER, is_late=True)
    assert any(problem.startswith("forwarded and not booked") for problem in problems), problems
