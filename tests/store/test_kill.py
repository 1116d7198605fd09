"""kill -9 at random moments: what a client saw is booked, what is booked was sent, each thing once.

`TEST_KILLS` sets how many processes die (shared out over the databases), `TEST_SEED` repeats their moments.
"""

import multiprocessing
import multiprocessing.process
import os
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select

from proxy.store.database import open_database, reading
from proxy.store.journal_file import JournalFile, Reader
from proxy.store.schema import (
    chain_head,
    entry_conflict,
    journal_checkpoint,
    ledger_entry,
    ledger_line,
    session,
)
from tests.store.kill_worker import Work, main

KILLS = int(os.environ.get("TEST_KILLS", "80"))
SEED = int(os.environ.get("TEST_SEED", str(random.SystemRandom().randrange(2**32))))
START_S = 60.0  # a busy machine is not a bug


@dataclass
class Truth:
    """What the workers wrote down on the way: entry keys, and what each sent one cost."""

    opened: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)  # the client saw that it opened
    sent: dict[str, int] = field(default_factory=dict)
    forwarded: set[str] = field(default_factory=set)


def read_truth(paths: Sequence[Path]) -> Truth:
    truth = Truth()
    for path in paths:
        for line in path.read_text().splitlines() if path.exists() else ():
            word, key, cost = line.split(" ")
            if word == "sent":
                truth.sent[key] = int(cost)
            else:
                getattr(truth, word).add(key)
    return truth


# Processes are forked from one that has loaded all that they need.
_nursery = multiprocessing.get_context("forkserver")
_nursery.set_forkserver_preload(["tests.store.kill_worker"])


class Lane:
    """One instance: a journal, and the process that is killed and started again on it."""

    def __init__(self, folder: Path, url: str, *, ack_early: bool = False) -> None:
        folder.mkdir(parents=True)
        self.journal = folder / "journal.db"
        self.truth = folder / "truth"
        self._work = Work(self.journal, url, self.truth, ack_early=ack_early)
        self._process: multiprocessing.process.BaseProcess | None = None

    def start(self) -> None:
        self._start(self._work)

    def _start(self, work: Work) -> multiprocessing.process.BaseProcess:
        self._ready, ready = _nursery.Pipe(duplex=False)
        self._process = process = _nursery.Process(target=main, args=(work, ready))
        process.start()
        ready.close()
        return process

    def await_ready(self) -> None:
        """Wait until it serves; one that ends before says why on its standard error."""
        assert self._ready.poll(START_S) and self._ready.recv_bytes() == b"ready"

    def kill(self) -> None:
        """kill -9; that it was still running is part of the test."""
        if self._process is None:
            return
        ended = self._process.exitcode
        self._process.kill()
        self._process.join()
        self._process = None
        self._ready.close()
        assert ended is None, f"it had ended with {ended}"

    def finish(self) -> None:
        """Start once more, to replay and post what is left."""
        process = self._start(replace(self._work, finish=True))
        process.join(START_S)
        self._process = None
        assert process.exitcode == 0


@contextmanager
def lanes(folder: Path, url: str, count: int, *, ack_early: bool) -> Iterator[list[Lane]]:
    all_of_them = [Lane(folder / f"lane{n}", url, ack_early=ack_early) for n in range(count)]
    try:
        yield all_of_them
    finally:
        for lane in all_of_them:
            lane.kill()


@contextmanager
def looking_at(url: str) -> Iterator[Engine]:
    engine = open_database(url, checkpoints=False)
    try:
        yield engine
    finally:
        engine.dispose()


def kill_often(
    folder: Path, url: str, kills: int, *, instances: int = 1, ack_early: bool = False
) -> list[str]:
    """Kill and restart `instances` in turn, `kills` times; return everything that is wrong afterwards."""
    print(f"TEST_SEED={SEED} TEST_KILLS={KILLS}")
    dice = random.Random(SEED)
    problems: list[str] = []
    reached: dict[str, int] = {}
    with looking_at(url) as engine, lanes(folder, url, instances, ack_early=ack_early) as running:
        for lane in running:
            lane.start()
        for number in range(kills):
            lane = running[number % len(running)]
            if dice.random() < 0.8:
                lane.await_ready()
                time.sleep(dice.uniform(0.0, 0.5))
            else:  # while it starts, replays, or has just begun
                time.sleep(dice.uniform(0.0, 0.2))
            lane.kill()
            problems += went_back(engine, reached)
            lane.start()
        for lane in running:
            lane.kill()
            lane.finish()
        problems += went_back(engine, reached)
        truth = read_truth([lane.truth for lane in running])
        problems += wrong(engine, truth) + [left for lane in running for left in left_over(lane.journal)]
    print(f"{len(truth.opened)} opened, {len(truth.sent)} sent, {len(truth.forwarded)} forwarded")
    assert truth.forwarded, "the workers came to nothing"
    return problems


def went_back(engine: Engine, reached: dict[str, int]) -> list[str]:
    """Check the checkpoints against those of the call before."""
    with reading(engine) as connection:
        now = {row.instance_id: row.seq for row in connection.execute(select(journal_checkpoint))}
    problems = [
        f"the checkpoint of {instance} went from {seq} to {now.get(instance)}"
        for instance, seq in reached.items()
        if now.get(instance, -1) < seq
    ]
    reached.update(now)
    return problems


def wrong(engine: Engine, truth: Truth) -> list[str]:
    """Compare the ledger with what the workers wrote down."""
    with reading(engine) as connection:
        rows = connection.execute(select(ledger_entry).order_by(ledger_entry.c.id)).all()
        line = ledger_line.c
        totals = select(line.entry_id, func.sum(line.cost_nanousd).label("cost")).group_by(line.entry_id)
        sums = {row.entry_id: int(row.cost) for row in connection.execute(totals)}
        open_sessions = connection.execute(select(session.c.id).where(session.c.closed_at.is_(None))).all()
        conflicts = connection.execute(select(entry_conflict)).all()
        booked = connection.execute(select(chain_head.c.entries)).scalar_one()
    measured = {row.entry_key: row.cost_nanousd for row in rows if not row.estimated}
    estimated = {row.entry_key for row in rows if row.estimated}
    ids = [row.id for row in rows]
    return [
        *_listed("forwarded but not booked as measured", truth.forwarded - measured.keys()),
        *_listed("booked as measured but never sent", measured.keys() - truth.sent.keys()),
        *_listed("booked at another cost", {k for k, cost in measured.items() if truth.sent.get(k) != cost}),
        *_listed("estimated but never opened", estimated - truth.opened),
        *_listed("seen to open and neither measured nor estimated", truth.seen - measured.keys() - estimated),
        *_listed("booked twice", {key for key, n in Counter(r.entry_key for r in rows).items() if n > 1}),
        *_listed("lines differ", {r.entry_key for r in rows if sums.get(r.id, 0) != (r.cost_nanousd or 0)}),
        *([] if ids == list(range(1, booked + 1)) else ["the chain has gaps"]),
        *_listed("sessions left open", {row.id for row in open_sessions}),
        *_listed("conflicts", {row.entry_key for row in conflicts}),
    ]


def left_over(path: Path) -> list[str]:
    """After everything is posted nothing is left in the journal, parked rows included."""
    file = JournalFile(path)
    with closing(Reader(path)) as reader:
        rows = reader.rows(0, 10)
    parked = file.parked
    file.close()
    return _listed(f"left in {path.name}", {str(row) for row in rows}) + ["parked"] * bool(parked)


def _listed(what: str, keys: set[str]) -> list[str]:
    return [f"{what}: {len(keys)}, such as {sorted(keys)[:3]}"] if keys else []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_is_lost_or_doubled_on_sqlite(tmp_path: Path, sqlite_url: str) -> None:
    assert kill_often(tmp_path / "lanes", sqlite_url, KILLS - KILLS // 3) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_is_lost_or_doubled_by_two_instances_on_postgres(
    tmp_path: Path, migrated_postgres_url: str
) -> None:
    assert kill_often(tmp_path / "lanes", migrated_postgres_url, KILLS // 3, instances=2) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_harness_sees_what_forwarding_first_loses(tmp_path: Path, sqlite_url: str) -> None:
    """The negative control: a proxy that journals after it forwarded does lose usage when it is killed."""
    problems = kill_often(tmp_path / "lanes", sqlite_url, 4, ack_early=True)
    assert any(problem.startswith("forwarded but not booked") for problem in problems), problems
