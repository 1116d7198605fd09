"""The disk under the journal is full, or fails, under a `talkmeter serve` with live sessions."""

import json
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from proxy.app import EXIT_JOURNAL_FAILED
from proxy.store.reserve import FREE_BYTES_MIN, RESERVE_BYTES
from tests.e2e.place import Home
from tests.faults.checks import left_in, wrong
from tests.faults.instance import Instance, instance_of, started
from tests.faults.tracing import failing_flushes
from tests.faults.traffic import Seen, Witness, connected, crowd
from tests.relay.peers import until

DISK_BYTES = RESERVE_BYTES + FREE_BYTES_MIN + 16 * 2**20
MOUNT = ("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with little more room than an instance asks for."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        [*MOUNT, str(folder)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip(f"a full disk needs the right to mount one: {' '.join(MOUNT)} {folder}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(path: Path) -> None:
    """Write until there is no space left, not even for one page."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        for size in (2**20, 4_096):
            try:
                while os.write(descriptor, b"\0" * size):
                    pass
            except OSError:
                continue
    finally:
        os.close(descriptor)


async def talk(client: Witness) -> None:
    await client.say("Give me 2 words")
    assert (await client.respond())["status"] == "completed"


async def is_let_in(instance: Instance, secret: str, seen: Seen) -> bool:
    """Tell whether a new session is admitted; the only other answer is 503 with its code."""
    try:
        async with connected(instance.url, secret, seen) as client:
            await may_begin(client)
    except InvalidStatus as refusal:
        assert refusal.response.status_code == 503
        assert json.loads(refusal.response.body or b"")["error"]["code"] == "journal_unavailable"
        return False
    return True


async def may_begin(client: Witness) -> bool:
    """Tell whether a live session gets a response; the only other answer is an error, and it stays open."""
    await client.say("Give me 2 words")
    await client.send("response.create")
    while (event := await client.next())["type"] not in ("response.done", "error"):
        pass
    if event["type"] == "error":
        assert event["error"]["code"] == "journal_unavailable"
        return False
    assert event["response"]["status"] == "completed"
    return True


async def test_a_full_disk(home: Home, small_disk: Path) -> None:
    """What runs finishes in the space of the reserve, no session and no response begins, nothing is lost."""
    seen, filler = Seen(), small_disk / "filler"
    journal = small_disk / "journal.db"
    reserve = small_disk / "journal.db.reserve"
    async with (
        home.simulating() as simulator,
        started(instance_of(home, upstream_url=simulator.url, journal_path=journal)) as instance,
    ):
        async with connected(instance.url, home.secret, seen) as live:
            await talk(live)
            assert reserve.stat().st_size == RESERVE_BYTES
            fill(filler)
            while await is_let_in(instance, home.secret, seen):
                pass
            for _ in range(2_000):
                if not (reserve.exists() and await may_begin(live)):
                    break
            assert not reserve.exists(), "the disk was never found full"
            while await may_begin(live):
                pass
            assert not await is_let_in(instance, home.secret, seen)
            filler.unlink()
            while not await is_let_in(instance, home.secret, seen):
                pass
            assert reserve.stat().st_size == RESERVE_BYTES
            while not await may_begin(live):
                pass
        await instance.stop()
    assert wrong(home.database_url, home.truths(), seen) == []
    assert left_in(journal) == []


async def test_a_flush_that_fails(home: Home) -> None:
    """Nothing is believed of the journal after it: all sessions are dropped, the next start replays."""
    seen, dice = Seen(), random.Random(3)
    async with home.simulating(speed=300.0) as simulator:
        instance = instance_of(home, upstream_url=simulator.url)
        wal = Path(f"{instance.settings.journal}-wal")
        async with started(instance), crowd(instance.url, home.secret, seen, dice, 6):
            await until(lambda: len(seen.billed) > 10)
            async with failing_flushes(instance.pid, wal):
                assert await instance.ended() == EXIT_JOURNAL_FAILED
        assert instance.logged("the journal failed")
        try:
            await instance.start()
            await instance.ready()
            async with connected(instance.url, home.secret, seen) as client:
                await talk(client)
            await instance.stop()
        finally:
            await instance.put_down()
    assert wrong(home.database_url, home.truths(), seen) == []
    assert left_in(instance.settings.journal) == []
