"""What was measured, as a table, as goals that are met or missed, and as a file."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

DIRECT = "direct"  # no relay at all
LOADS = ("saturated", "paced")

# Talkmeter's CPU per message, as a share of another relay's: at most so much.
GOALS = {"nginx": 2.0, "websockets": 0.6}


BUDGETS = "with budgets"
BUDGETS_RATIO_MAX = 1.05


@dataclass
class Figures:
    """What was measured of one relay, a value for every round."""

    cpu_us: dict[str, list[float]] = field(default_factory=lambda: {load: [] for load in LOADS})
    delay_p50_us: list[float] = field(default_factory=list)  # paced, one way
    delay_p99_us: list[float] = field(default_factory=list)
    session_kb: list[float] = field(default_factory=list)

    def add(self, kind: str, *turns: Mapping[str, float]) -> None:
        """Add what one step measured, in one or more turns."""
        if kind == "memory":
            self.session_kb.append(_sum(turns, "session_bytes") / len(turns) / 1000)
            return
        self.cpu_us[kind].append(_sum(turns, "cpu_s") / _sum(turns, "messages") * 1e6)
        if kind == "paced":
            self.delay_p50_us.append(median(turn["delay_p50_s"] for turn in turns) * 1e6)
            self.delay_p99_us.append(median(turn["delay_p99_s"] for turn in turns) * 1e6)


def _sum(turns: Iterable[Mapping[str, float]], name: str) -> float:
    return sum(turn[name] for turn in turns)


@dataclass(frozen=True)
class Goal:
    """One comparison of two relays. `ratio` is that of their CPU per message, Talkmeter's to the other's."""

    load: str
    other: str
    ratio: float
    ratio_max: float

    @property
    def is_met(self) -> bool:
        return self.ratio <= self.ratio_max

    def __str__(self) -> str:
        met = "PASS" if self.is_met else "FAIL"
        return f"{met}  {self.load}: {self.ratio:.2f} × {self.other} (at most {self.ratio_max:g} ×)"


@dataclass(frozen=True)
class Limit:
    """One figure that has a limit of its own."""

    what: str
    value: float
    value_max: float
    unit: str

    @property
    def is_met(self) -> bool:
        return self.value <= self.value_max

    def __str__(self) -> str:
        met = "PASS" if self.is_met else "FAIL"
        return f"{met}  {self.what}: {self.value:.3g} {self.unit} (at most {self.value_max:g} {self.unit})"


def goals(all_figures: Mapping[str, Figures]) -> list[Goal]:
    """Return every comparison that was measured, from the medians of the rounds."""
    ours = all_figures.get("Talkmeter")
    if ours is None:
        return []
    return [
        Goal(load, other, median(ours.cpu_us[load]) / median(all_figures[other].cpu_us[load]), ratio_max)
        for other, ratio_max in GOALS.items()
        if other in all_figures
        for load in LOADS
    ]


def budget_goals(all_figures: Mapping[str, Figures]) -> list[Goal]:
    """Return what budgets cost: for each load the median of the ratios of each round's pair."""
    on, off = all_figures[BUDGETS].cpu_us, all_figures["Talkmeter"].cpu_us
    return [
        Goal(load, "without budgets", median(a / b for a, b in pairs), BUDGETS_RATIO_MAX)
        for load, pairs in ((load, zip(on[load], off[load], strict=True)) for load in LOADS)
    ]


def show(all_figures: Mapping[str, Figures], console: Console) -> None:
    """Print the table. Delays are what a relay adds to a direct connection of the same two ends."""
    table = Table(title="CPU time and added delay for a relayed message of 6.4 kB, memory for a session")
    table.add_column("relay")
    for column in ("CPU, saturated", "CPU, paced", "delay p50", "delay p99", "memory"):
        table.add_column(column, justify="right")
    direct = all_figures[DIRECT]
    for name, figures in all_figures.items():
        if name != DIRECT:
            table.add_row(
                name,
                *(_spread(figures.cpu_us[load]) for load in LOADS),
                f"{median(figures.delay_p50_us) - median(direct.delay_p50_us):.0f} µs",
                f"{median(figures.delay_p99_us) - median(direct.delay_p99_us):.0f} µs",
                f"{median(figures.session_kb):.0f} kB",
            )
    console.print(table)


def _spread(values: Iterable[float]) -> str:
    """Return the median, with the range of the rounds: how much the machine is to be trusted."""
    ordered = sorted(values)
    return f"{median(ordered):.1f} µs ({ordered[0]:.1f}–{ordered[-1]:.1f})"


def write(
    path: Path, facts: Mapping[str, object], all_figures: Mapping[str, Figures], met: list[Goal]
) -> None:
    """Write everything that was measured, with `facts` about the machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        **facts,
        "relays": {name: vars(figures) for name, figures in all_figures.items()},
        "goals": [{**vars(goal), "is_met": goal.is_met} for goal in met],
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
