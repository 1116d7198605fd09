"""What conversations at the pace of speech cost an instance and PostgreSQL, and what many of them would need.

Everything is real but the voice API and the people: `talkmeter serve`, its control plane, and a PostgreSQL
that keeps things safe as one in production does. All is read from outside, see `watch`.
"""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from proxy.store.database import migrate, open_database
from tests.bench import beats, postings, relays
from tests.bench.beats import Beat
from tests.bench.driven import Driver, driving
from tests.bench.load import Step
from tests.bench.needs import Figures, Traffic, needs
from tests.bench.postings import Posted
from tests.bench.relays import Place, Start, free_port
from tests.bench.runs import Run, show_beat, show_needs, show_postings, show_runs
from tests.bench.watch import CONTROL, DATA, POSTGRES, Reading, Watch, between
from tests.postgres import APP_ROLE, Server, as_app, as_text, connect, find_programs, own_server

SAFE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "shared_buffers": "256MB"}
CONVERSATIONS = (100, 1_000, 10_000, 100_000)


@dataclass(frozen=True)
class Setup:
    """How Talkmeter is started; `is_pinned` to one core, so that the load has the other."""

    start: Start
    is_pinned: bool = True


SETUPS: Mapping[str, Setup] = {
    "no budgets": Setup(relays.talkmeter),
    "three budgets": Setup(relays.with_budgets),
    "budgets, not pinned": Setup(relays.with_budgets, is_pinned=False),
    "budgets, two workers": Setup(relays.two_workers, is_pinned=False),
}
BEGIN_SHARE = 0.85  # of the time to warm up: in so long all begin to talk, one after the other
MEASURED = "three budgets"  # what is multiplied


@dataclass(frozen=True)
class Plan:
    """How many sessions, and how long things are looked at, in seconds."""

    sessions: Sequence[int] = (100, 300)
    deltas: int = 300  # of a response: one every 15 seconds, at 20 messages a second
    idle_s: float = 10.0
    settle_s: float = 4.0  # for what begins or ends to be posted
    silent_s: float = 10.0
    warm_up_s: float = 18.0  # longer than a response
    speech_s: float = 30.0
    posting_s: float = 3.0
    batches: Sequence[int] = postings.BATCHES
    posters: Sequence[int] = postings.POSTERS
    live: int = beats.LIVE
    setups: Sequence[str] = tuple(SETUPS)


class _Phases:
    """Reads what is used before and after."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.used: dict[str, Reading] = {}
        self.seconds: dict[str, float] = {}
        self.memory: dict[str, Mapping[str, int]] = {}

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        before, began_s = self._watch.read(), time.monotonic()
        yield
        self.memory[name] = self._watch.memory()
        self.used[name] = between(before, self._watch.read())
        self.seconds[name] = time.monotonic() - began_s


def converse(server: Server, template: str, setup: str, sessions: int, plan: Plan, folder: Path) -> Run:
    """Let so many sessions come, be silent and talk, on a copy of `template`; return what that used."""
    url = server.create(template)
    how = SETUPS[setup]
    cores = sorted(os.sched_getaffinity(0))
    own, others = (cores[0], cores[-1]) if how.is_pinned else (None, None)
    place = Place(folder, own, free_port(), database_url=as_text(as_app(url)))
    with how.start(place) as relay, contextlib.closing(connect(url)) as connection:
        watch = Watch(relay.pid, server.pid, connection)
        begin_s, port = plan.warm_up_s * BEGIN_SHARE, place.upstream_port
        step = Step("paced", relay.url, relay.key, None, port, sessions, begin_s, plan.deltas, others)
        with driving(step) as driver:
            run = _measure(watch, driver, setup, sessions, plan)
    server.drop(url)
    return run


def _measure(watch: Watch, driver: Driver, setup: str, sessions: int, plan: Plan) -> Run:
    phases, load = _Phases(watch), os.getloadavg()[0]
    driver.tell("open", 1)  # what only the first one needs
    driver.tell("end")
    time.sleep(plan.settle_s)
    files = watch.files()
    with phases.phase("idle"):
        time.sleep(plan.idle_s)
    with phases.phase("opened"):
        driver.tell("open", sessions)
        time.sleep(plan.settle_s)
        driver.tell("end")
        time.sleep(plan.settle_s)
    driver.tell("open", sessions)
    time.sleep(plan.settle_s)
    with phases.phase("silent"):
        time.sleep(plan.silent_s)
    open_files = [count - files.get(pid, 0) for pid, count in watch.files().items()]
    driver.tell("speak", plan.warm_up_s + plan.speech_s + plan.settle_s)
    time.sleep(plan.warm_up_s)
    driver.tell("count")
    with phases.phase("speech"):
        time.sleep(plan.speech_s)
        heard = driver.tell("count")
    phases.used["speech"] = {**phases.used["speech"], "messages": heard["messages"]}
    return Run(
        setup=setup,
        sessions=sessions,
        load=load,
        seconds=phases.seconds,
        used=phases.used,
        memory=phases.memory,
        files=open_files,
        connections=watch.connections(),
        cut=int(heard["cut"]),
        ends=watch.ends(),
        delay_p50_s=heard["delay_p50_s"],
        delay_p99_s=heard["delay_p99_s"],
    )


def _migrated(server: Server) -> str:
    """Make a database that is copied; return its name."""
    url = server.create()
    engine = open_database(url)
    migrate(engine, APP_ROLE)
    engine.dispose()
    return str(url.database)


def figures_of(run: Run, posted: Sequence[Posted], entry_bytes: float, beat: Beat) -> Figures:
    """Return what can be multiplied."""
    opened = run.opened
    return Figures(
        instance_bytes=sum(run.memory["idle"].values()),
        instance_transactions=run.rate("speech", "transactions"),
        instance_connections=run.connections,
        control_cpu=run.rate("speech", f"CPU {CONTROL}"),
        data_cpu=run.each("speech", f"CPU {DATA}"),
        postgres_cpu=run.each("speech", f"CPU {POSTGRES}"),
        rows=run.rows("speech"),
        wal_bytes=run.each("speech", "WAL bytes"),
        journal_bytes=run.each("speech", f"bytes written by {DATA}"),
        session_bytes=run.session_bytes("speech"),
        opened_data_cpu_s=opened(f"CPU {DATA}"),
        opened_postgres_cpu_s=opened(f"CPU {POSTGRES}"),
        opened_transactions=opened("transactions"),
        opened_wal_bytes=opened("WAL bytes"),
        counted_s=beat.elsewhere_s / beat.live,
        entry_bytes=entry_bytes,
        posting_s=1 / max(one.postings_a_second for one in posted),
        entries_max=max(one.entries_a_second for one in posted),
    )


def measure(plan: Plan, console: Console, server: Server | None = None) -> dict[str, Any]:
    """Run all, print it, return what is worth keeping."""
    with contextlib.ExitStack() as stack:
        server = server or stack.enter_context(own_server(find_programs(), SAFE))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="talkmeter-bench-")))
        template, runs = _migrated(server), []
        for sessions in plan.sessions:
            for setup in plan.setups:
                if not SETUPS[setup].is_pinned and sessions < max(plan.sessions):
                    continue  # workers are compared once
                own = folder / f"{sessions} {setup}"
                own.mkdir()
                run = converse(server, template, setup, sessions, plan, own)
                console.print(f"{sessions} sessions, {setup}: load {run.load:.1f}", highlight=False)
                runs.append(run)
        console.print(f"postings; load {os.getloadavg()[0]:.1f}", highlight=False)
        posted, entry_bytes = postings.measure(server, template, plan.posting_s, plan.batches, plan.posters)
        beat = beats.measure(server, template, plan.live)
    figures = figures_of([run for run in runs if run.setup == MEASURED][-1], posted, entry_bytes, beat)
    traffic = Traffic()
    many = [needs(figures, sessions, traffic) for sessions in CONVERSATIONS]
    for table in (show_runs(runs), show_postings(posted), show_beat(beat), show_needs(many)):
        console.print(table)
    return {
        "runs": [asdict(run) for run in runs],
        "postings": [asdict(one) for one in posted],
        "beat": asdict(beat),
        "figures": asdict(figures),
        "traffic": asdict(traffic),
        "needs": [asdict(one) for one in many],
    }
