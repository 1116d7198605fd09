"""kill -9 of the whole `talkmeter serve` under traffic: what a client saw is booked, each thing once.

`TEST_KILLS_SERVE` sets how often it dies (shared out over the databases), `TEST_SEED` repeats the moments
and what the clients say. Together with the kills of journal and poster (`tests/store/test_kill.py`) a run
of all tests makes 101, most of them there: one of the whole, with the start after it, costs ten times that.
"""

import asyncio
import os
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from tests.announcements import until
from tests.e2e.place import Home
from tests.faults.checks import left_in, wrong
from tests.faults.instance import SERVE, Instance, instance_of, put_down
from tests.faults.traffic import Seen, crowd

KILLS = int(os.environ.get("TEST_KILLS_SERVE", "21"))
SEED = int(os.environ.get("TEST_SEED", str(random.SystemRandom().randrange(2**32))))
CLIENTS = 20
SPEED = 300.0  # answers take a few dozen milliseconds: kills meet every stage of them

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120 + 10 * KILLS)]


@dataclass(frozen=True)
class Moments:
    """When it is killed."""

    while_starting: float = 0.25  # so many of the kills come before it serves, also while it replays
    served_s: tuple[float, float] = (0.0, 0.8)  # the others come after it has served for so long


async def kill_often(instance: Instance, dice: random.Random, kills: int, moments: Moments) -> None:
    """Start `instance` and kill it, `kills` times; start it once more, as it should be."""
    for _ in range(kills):
        await instance.start()
        if dice.random() < moments.while_starting:
            await asyncio.sleep(dice.uniform(0.0, 1.5))
        else:
            await instance.ready()
            await asyncio.sleep(dice.uniform(*moments.served_s))
        await instance.kill()
    instance.arguments = SERVE
    await instance.start()
    await instance.ready()


async def suffer(
    home: Home,
    kills: Sequence[int],
    arguments: Sequence[str] = SERVE,
    moments: Moments = Moments(),
) -> list[str]:
    """Run an instance for each of `kills`, under traffic; return everything that is wrong afterwards."""
    print(f"TEST_SEED={SEED} TEST_KILLS_SERVE={KILLS}")
    dice, seen = random.Random(SEED), Seen()
    async with (
        home.simulating(speed=SPEED, transcription_delay_s=0.02) as simulator,
        AsyncExitStack() as stack,
    ):
        instances = []
        for n, _ in enumerate(kills):
            journal = home.folder / f"journal{n}.db"
            instance = instance_of(home, f"serve{n}", upstream_url=simulator.url, journal_path=journal)
            instance.arguments = arguments
            stack.push_async_callback(put_down, instance)
            instances.append(instance)
        async with AsyncExitStack() as traffic:
            for instance in instances:
                clients = CLIENTS // len(instances)
                await traffic.enter_async_context(crowd(instance.url, home.secret, seen, dice, clients))
            chances = [random.Random(dice.randrange(2**32)) for _ in instances]
            await asyncio.gather(
                *(
                    kill_often(instance, chance, count, moments)
                    for instance, chance, count in zip(instances, chances, kills, strict=True)
                )
            )
            await until(lambda: bool(seen.billed))  # on a busy machine none of the short lives may bill
        for instance in instances:
            await instance.stop()
    truth, booked = home.truths(), home.booked()
    print(
        f"{sum(kills)} kills, {len(seen.sessions)} sessions; {len(seen.billed)} forwarded,"
        f" {len(booked)} booked ({sum(entry.estimated for entry in booked)} estimated),"
        f" {sum(line.what != 'opened' for line in truth)} sent"
    )
    assert seen.billed, "the clients came to nothing"
    problems = wrong(home.database_url, truth, seen)
    return problems + [left for instance in instances for left in left_in(instance.settings.journal)]


async def test_nothing_is_lost_or_doubled_on_sqlite(home: Home) -> None:
    assert await suffer(home, [KILLS - KILLS // 3]) == []


async def test_nothing_is_lost_or_doubled_by_two_instances_on_postgres(postgres_home: Home) -> None:
    share = KILLS // 3
    assert await suffer(postgres_home, [share // 2, share - share // 2]) == []


async def test_the_harness_sees_what_forwarding_first_loses(home: Home) -> None:
    """The negative control: a proxy that journals after it forwarded does lose usage when it is killed."""
    late = ("-m", "tests.faults.serve_late", "serve")
    problems = await suffer(home, [4], late, Moments(while_starting=0.0, served_s=(0.4, 1.0)))
    assert any(problem.startswith("forwarded and not booked") for problem in problems), problems
