"""`make bench`: what a message costs, beside nginx and a plain relay; budgets; reports; pages; scaling.

All relays run at the same time and are measured in turns, round after round, so that whatever else
the machine does hits all alike. The load is on one core, the relays on another.
"""

import argparse
import contextlib
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import trustme
from rich.console import Console

from tests.bench import ledger, pages, report, scaling, traffic
from tests.bench.load import Step
from tests.bench.relays import (
    NGINX,
    ROOT,
    Place,
    Relay,
    Start,
    available,
    free_port,
    talkmeter,
    with_budgets,
)
from tests.bench.report import DIRECT, Figures, Goal, Limit
from tests.postgres import NoPostgres

STEP_S_MAX = 120
BUDGETS_PACED_S = 12.0
BUDGETS_TURNS = 4
PAIR: Mapping[str, Start] = {"Talkmeter": talkmeter, report.BUDGETS: with_budgets}


@dataclass(frozen=True)
class Plan:
    """How long, and with how many sessions."""

    rounds: int = 6
    turns: int = 1  # that each step of a round is cut into: what the machine does meanwhile hits all alike
    saturated_s: float = 2.0
    saturated_sessions: int = 8
    paced_s: float = 4.0
    paced_sessions: int = 100
    memory_sessions: int = 500
    deltas: int = traffic.DELTAS  # of a response

    def steps(self) -> list[tuple[str, int, float]]:
        """Return the steps of a round: kind, sessions, seconds."""
        return [
            ("saturated", self.saturated_sessions, self.saturated_s),
            ("paced", self.paced_sessions, self.paced_s),
        ]


class Bench:
    """The relays under test, and the upstream's port that they all know."""

    def __init__(self, folder: Path, deltas: int, *, tls: bool) -> None:
        self._deltas = deltas
        cores: list[int | None] = [*sorted(os.sched_getaffinity(0))]
        self._relay_core = cores[0] if len(cores) > 1 else None
        self._load_core = cores[1] if len(cores) > 1 else None
        self._folder = folder
        self._port = free_port()
        self._certificate = _certify(folder) if tls else None

    def start(self, stack: contextlib.ExitStack, relays: Mapping[str, Start]) -> list[Relay]:
        """Start the relays; `stack` ends them."""
        started = []
        for name, start in relays.items():
            folder = self._folder / name
            folder.mkdir()
            authority = self._certificate.authority if self._certificate else None
            place = Place(folder, self._relay_core, self._port, authority)
            started.append(stack.enter_context(start(place)))
        return started

    def measure(self, kind: str, relay: Relay | None, sessions: int, seconds: float) -> dict[str, float]:
        """Run one step, without a relay if there is none."""
        scheme, files = ("https", self._certificate) if self._certificate else ("http", None)
        step = Step(
            kind=kind,
            url=relay.url if relay else f"{scheme}://127.0.0.1:{self._port}/v1/realtime",
            key=relay.key if relay else "none",
            pid=relay.pid if relay else None,
            upstream_port=self._port,
            sessions=sessions,
            seconds=seconds,
            deltas=self._deltas,
            core=self._load_core,
            tls=[str(files.chain), str(files.key)] if files else None,
        )
        command = [sys.executable, "-m", "tests.bench.load", json.dumps(asdict(step))]
        done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, timeout=STEP_S_MAX)
        measured: dict[str, float] = json.loads(done.stdout)
        return measured


@dataclass(frozen=True)
class Certificate:
    """The upstream's certificate: its chain, its key, and who signed it."""

    chain: Path
    key: Path
    authority: Path


def _certify(folder: Path) -> Certificate:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    made = Certificate(*(folder / f"{name}.pem" for name in ("chain", "key", "authority")))
    issued.cert_chain_pems[0].write_to_path(str(made.chain))
    issued.private_key_pem.write_to_path(str(made.key))
    authority.cert_pem.write_to_path(str(made.authority))
    return made


def compare(plan: Plan, relays: Mapping[str, Start], *, tls: bool, console: Console) -> dict[str, Figures]:
    """Measure all relays, and the two ends without one ("direct"); return the figures of each."""
    all_figures = {name: Figures() for name in (*relays, DIRECT)}
    with tempfile.TemporaryDirectory(prefix="talkmeter-bench-") as folder, contextlib.ExitStack() as stack:
        bench = Bench(Path(folder), plan.deltas, tls=tls)
        running = bench.start(stack, relays)
        for relay in running:
            all_figures[relay.name].add("memory", bench.measure("memory", relay, plan.memory_sessions, 0))
        for number in range(plan.rounds):
            console.print(f"round {number + 1} of {plan.rounds}", highlight=False)
            for kind, sessions, seconds in plan.steps():
                turns: dict[str, list[dict[str, float]]] = {relay.name: [] for relay in running}
                for turn in range(plan.turns):
                    for relay in running if (number + turn) % 2 else reversed(running):
                        measured = bench.measure(kind, relay, sessions, seconds / plan.turns)
                        turns[relay.name].append(measured)
                for name, steps in turns.items():
                    all_figures[name].add(kind, *steps)
            all_figures[DIRECT].add("paced", bench.measure("paced", None, plan.paced_sessions, plan.paced_s))
    return all_figures


def facts(plan: Plan, *, tls: bool) -> dict[str, object]:
    """Return what has to be known about a run to compare it with another."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
    ).stdout.strip()
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.release()} {platform.machine()}, {os.cpu_count()} cores",
        "upstream": "TLS" if tls else "plain",
        "plan": asdict(plan),
    }


def main() -> int:
    """Measure, print, write; return 1 when a goal is missed."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--tls", action="store_true", help="the upstream speaks TLS")
    parser.add_argument("--rounds", type=int, default=Plan.rounds)
    parser.add_argument(
        "--deltas", type=int, default=Plan.deltas, help="of a response: how often one is billed"
    )
    parser.add_argument("--budgets", action="store_true", help="only Talkmeter with and without budgets")
    parser.add_argument("--reports", action="store_true", help="only reports over a large ledger")
    parser.add_argument("--lines", type=int, default=ledger.LINES, help="of that ledger")
    parser.add_argument("--pages", action="store_true", help="only pages of the console over a large ledger")
    parser.add_argument("--entries", type=int, default=pages.ENTRIES, help="of that one")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="where its databases stay, or are already"
    )
    parser.add_argument("--named", default="", metavar="TEXT", help="only pages with that in their name")
    parser.add_argument(
        "--scaling", action="store_true", help="only conversations on PostgreSQL, and what many of them need"
    )
    parser.add_argument("--sessions", type=int, action="append", help="of those; may be given more than once")
    parser.add_argument("--only", choices=("Talkmeter", "nginx", "websockets"), action="append")
    asked = parser.parse_args()
    console = Console()
    _raise_file_limit()
    plan = Plan(rounds=asked.rounds, deltas=asked.deltas)
    goals: list[Goal | Limit] = []
    if asked.reports or asked.pages or asked.scaling:
        if asked.scaling:
            _scaling(asked.sessions, console)
        goals += _reports(asked.lines, console) if asked.reports else []
        goals += _pages(asked, console) if asked.pages else []
        return 0 if all(goal.is_met for goal in goals) else 1
    if not asked.budgets:
        if NGINX is None:
            console.print(
                "[bold red]nginx is not installed: nothing is compared with it.[/]  apt install nginx-light"
            )
        relays = {name: start for name, start in available().items() if not asked.only or name in asked.only}
        goals += _run("relays", plan, relays, report.goals, tls=asked.tls, console=console)
    if not asked.only:
        # Longer and in shorter turns, since the machines vary by more than the goal in a few seconds; and
        # pairs in an odd number.
        rounds = asked.rounds - 1 + asked.rounds % 2
        pairs = replace(plan, rounds=rounds, turns=BUDGETS_TURNS, paced_s=BUDGETS_PACED_S)
        goals += _run("budgets", pairs, PAIR, report.budget_goals, tls=asked.tls, console=console)
    if not asked.only and not asked.budgets:
        goals += _reports(asked.lines, console)
        goals += _pages(asked, console)
        _scaling(asked.sessions, console)
    return 0 if all(goal.is_met for goal in goals) else 1


def _run(
    name: str,
    plan: Plan,
    relays: Mapping[str, Start],
    goals_of: Callable[[Mapping[str, Figures]], list[Goal]],
    *,
    tls: bool,
    console: Console,
) -> list[Goal]:
    """Do one comparison, print it, write it down; return its goals."""
    about = facts(plan, tls=tls)  # before it runs: the tree may move on meanwhile
    figures = compare(plan, relays, tls=tls, console=console)
    report.show(figures, console)
    goals = goals_of(figures)
    for goal in goals:
        console.print(str(goal), style="green" if goal.is_met else "bold red", highlight=False)
    file = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{name}-{about['upstream']}.json".lower()
    path = ROOT / "bench-results" / file
    report.write(path, about, figures, goals)
    console.print(f"written to {path.relative_to(ROOT)}", highlight=False)
    return goals


def _reports(lines: int, console: Console) -> list[Limit]:
    """Ask a large ledger; print what came of it, write it down, return the goals."""
    about = facts(Plan(), tls=False)
    measured, goals = ledger.measure(lines, console)
    _tell("reports", {**about, "lines": lines, **measured}, goals, console)
    return goals


def _pages(asked: argparse.Namespace, console: Console) -> list[Limit]:
    """Ask for all pages of the console over a large ledger; the same."""
    about = facts(Plan(), tls=False)
    measured, goals = pages.measure(asked.entries, console, asked.keep, named=asked.named)
    _tell("pages", {**about, **measured}, goals, console)
    return goals


def _scaling(sessions: Sequence[int] | None, console: Console) -> None:
    """Let conversations talk on PostgreSQL; print what came of it and what follows, write it down."""
    about = facts(Plan(), tls=False)
    plan = scaling.Plan(sessions=sessions) if sessions else scaling.Plan()
    try:
        measured = scaling.measure(plan, console)
    except NoPostgres as missing:
        console.print(f"[bold red]nothing is known of scaling:[/] {missing}", highlight=False)
        return
    _tell("scaling", {**about, "plan": asdict(plan), **measured}, [], console)


def _tell(name: str, measured: Mapping[str, object], goals: Sequence[Limit], console: Console) -> None:
    for goal in goals:
        console.print(str(goal), style="green" if goal.is_met else "bold red", highlight=False)
    path = ROOT / "bench-results" / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    console.print(f"written to {path.relative_to(ROOT)}", highlight=False)


def _raise_file_limit() -> None:
    """Take as many file descriptors as allowed; what is started inherits it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
