"""What was measured of one instance, and as tables."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from tests.bench.beats import Beat
from tests.bench.needs import Needs, Traffic
from tests.bench.postings import Posted
from tests.bench.watch import CONTROL, DATA, POSTGRES, Reading

CHANGES = ("inserted", "updated", "deleted")
_MS, _KB, _MB, _GB = 1e-3, 1e3, 1e6, 1e9
_BUSY_MAX = Traffic.busy_max


@dataclass(frozen=True)
class Run:
    """What one instance used, by what it did meanwhile; `seconds` are those of each phase."""

    setup: str
    sessions: int
    load: float  # of the machine, as it began
    seconds: Mapping[str, float]
    used: Mapping[str, Reading]  # by phase: idle, opened, silent, speech
    memory: Mapping[str, Mapping[str, int]]  # by phase, by role
    files: Sequence[int]  # that the sessions have open, by process of a data plane
    connections: int  # to PostgreSQL
    cut: int  # sessions that Talkmeter ended
    ends: Mapping[str, int]  # of all sessions that have ended, why
    delay_p50_s: float
    delay_p99_s: float

    def rate(self, phase: str, name: str) -> float:
        """Return how much of something was used in a second of a phase."""
        return self.used[phase].get(name, 0.0) / self.seconds[phase]

    def each(self, phase: str, name: str) -> float:
        """Return the same for one session: in a second, or for opening and ending one."""
        return (
            self.used[phase].get(name, 0.0)
            / self.sessions
            / (1 if phase == "opened" else self.seconds[phase])
        )

    def opened(self, name: str) -> float:
        """Return what one session took to open and to end, beyond what an instance takes anyway."""
        anyway = self.rate("idle", name) * self.seconds["opened"] / self.sessions
        return max(0.0, self.each("opened", name) - anyway)

    def session_bytes(self, phase: str) -> float:
        """Return the memory of the data plane for one session, silent or in speech."""
        return (self.memory[phase][DATA] - self.memory["idle"][DATA]) / self.sessions

    def rows(self, phase: str) -> float:
        """Return how many rows were written for one session, as in `each`."""
        return sum(self.each(phase, f"rows {change}") for change in CHANGES)

    @property
    def batch(self) -> float:
        """Return how many entries a posting had that had any."""
        return self.used["speech"].get("entries", 0.0) / max(
            1.0, self.used["speech"]["ledger_block inserted"]
        )


_ROWS: Sequence[tuple[str, Callable[[Run], str]]] = (
    ("load of the machine", lambda run: f"{run.load:.1f}"),
    ("[b]an instance without sessions", lambda run: ""),
    ("CPU data plane, ms a second", lambda run: f"{run.rate('idle', f'CPU {DATA}') / _MS:.1f}"),
    ("CPU control plane, ms a second", lambda run: f"{run.rate('idle', f'CPU {CONTROL}') / _MS:.1f}"),
    ("CPU PostgreSQL, ms a second", lambda run: f"{run.rate('idle', f'CPU {POSTGRES}') / _MS:.1f}"),
    ("transactions a second", lambda run: f"{run.rate('idle', 'transactions'):.1f}"),
    ("of these writing", lambda run: f"{run.rate('idle', 'writing transactions'):.1f}"),
    ("memory, both planes, MB", lambda run: f"{sum(run.memory['idle'].values()) / _MB:.0f}"),
    ("[b]a session that begins and ends", lambda run: ""),
    ("CPU data plane, ms", lambda run: f"{run.opened(f'CPU {DATA}') / _MS:.1f}"),
    ("CPU PostgreSQL, ms", lambda run: f"{run.opened(f'CPU {POSTGRES}') / _MS:.2f}"),
    ("transactions", lambda run: f"{run.opened('transactions'):.1f}"),
    ("rows", lambda run: f"{run.rows('opened'):.1f}"),
    ("WAL, kB", lambda run: f"{run.opened('WAL bytes') / _KB:.1f}"),
    ("[b]a silent session, each second", lambda run: ""),
    ("CPU data plane, ms", lambda run: f"{run.each('silent', f'CPU {DATA}') / _MS:.2f}"),
    ("rows", lambda run: f"{run.rows('silent'):.2f}"),
    ("memory, kB", lambda run: f"{run.session_bytes('silent') / _KB:.0f}"),
    ("files of a session, by process", lambda run: ", ".join(f"{n / run.sessions:.2f}" for n in run.files)),
    ("[b]a session in speech, each second", lambda run: ""),
    ("messages", lambda run: f"{run.each('speech', 'messages'):.1f}"),
    ("CPU data plane, ms", lambda run: f"{run.each('speech', f'CPU {DATA}') / _MS:.2f}"),
    ("CPU PostgreSQL, ms", lambda run: f"{run.each('speech', f'CPU {POSTGRES}') / _MS:.2f}"),
    ("rows", lambda run: f"{run.rows('speech'):.2f}"),
    ("WAL, kB", lambda run: f"{run.each('speech', 'WAL bytes') / _KB:.2f}"),
    ("written to the journal's disk, kB", lambda run: f"{_journal(run) / _KB:.1f}"),
    ("memory, kB", lambda run: f"{run.session_bytes('speech') / _KB:.0f}"),
    ("delay p50 / p99, ms", lambda run: f"{run.delay_p50_s / _MS:.1f} / {run.delay_p99_s / _MS:.0f}"),
    ("[b]an instance, each second of speech", lambda run: ""),
    ("CPU data plane, of a core", lambda run: f"{run.rate('speech', f'CPU {DATA}'):.0%}"),
    ("CPU control plane, ms", lambda run: f"{run.rate('speech', f'CPU {CONTROL}') / _MS:.1f}"),
    ("transactions", lambda run: f"{run.rate('speech', 'transactions'):.0f}"),
    ("of these writing", lambda run: f"{run.rate('speech', 'writing transactions'):.1f}"),
    ("connections to PostgreSQL", lambda run: f"{run.connections}"),
    ("entries", lambda run: f"{run.rate('speech', 'entries'):.1f}"),
    ("entries of a posting that has any", lambda run: f"{run.batch:.1f}"),
    ("conversations cut", lambda run: f"{run.cut}"),
    ("[b]a response, journal's disk, kB", lambda run: f"{_a_response(run) / _KB:.0f}"),
    (
        f"[b]sessions a core, {_BUSY_MAX:.0%} busy",
        lambda run: f"{_BUSY_MAX / run.each('speech', f'CPU {DATA}'):.0f}",
    ),
)


def _journal(run: Run) -> float:
    return run.each("speech", f"bytes written by {DATA}")


def _a_response(run: Run) -> float:
    return run.used["speech"].get(f"bytes written by {DATA}", 0.0) / max(1.0, run.used["speech"]["entries"])


def show_runs(runs: Sequence[Run]) -> Table:
    """Return what was measured of instances, a column each."""
    return _table(
        "Measured at the pace of speech, on PostgreSQL",
        [f"{run.sessions}, {run.setup}" for run in runs],
        [(name, [show(run) for run in runs]) for name, show in _ROWS],
    )


def show_postings(posted: Sequence[Posted]) -> Table:
    """Return how quick one database books, by posters and by entries of a posting."""
    columns = [f"{one.posters} × {one.batch}" for one in posted]
    return _table(
        "Measured: postings under three budgets, posters × entries of a posting",
        columns,
        [
            ("postings a second", [f"{one.postings_a_second:.0f}" for one in posted]),
            ("entries a second", [f"{one.entries_a_second:.0f}" for one in posted]),
        ],
    )


def show_beat(beat: Beat) -> Table:
    """Return what an instance asks once a second."""
    return _table(
        f"Measured: once a second, with {beat.live:,} conversations",
        ["ms"],
        [
            (f"publishing {beat.own} that have changed", [f"{beat.publish_s / _MS:.1f}"]),
            ("orders to stop", [f"{beat.orders_s / _MS:.1f}"]),
            ("those of other instances, where a limit counts sessions", [f"{beat.elsewhere_s / _MS:.1f}"]),
        ],
    )


_NEEDS: Sequence[tuple[str, Callable[[Needs], str]]] = (
    ("instances, a core each", lambda one: f"{one.instances:,}"),
    ("cores in use: data planes", lambda one: f"{one.data_cores:,.1f}"),
    ("control planes", lambda one: f"{one.control_cores:,.2f}"),
    ("PostgreSQL", lambda one: f"{one.postgres_cores:,.2f}"),
    ("and more where a limit counts sessions", lambda one: f"{one.counting_cores:,.2f}"),
    ("memory of instances, GB", lambda one: f"{one.memory_bytes / _GB:,.1f}"),
    ("PostgreSQL, a second: transactions, at most", lambda one: f"{one.transactions:,.0f}"),
    ("rows", lambda one: f"{one.rows:,.0f}"),
    ("WAL, MB", lambda one: f"{one.wal_bytes / _MB:,.2f}"),
    ("entries", lambda one: f"{one.entries:,.0f}"),
    ("connections", lambda one: f"{one.connections:,.0f}"),
    ("journals' disks, MB a second", lambda one: f"{one.journal_bytes / _MB:,.1f}"),
    ("databases that can post that", lambda one: f"{one.databases:,}"),
    ("s between postings of an instance, at least", lambda one: f"{one.lag_s:.2f}"),
    ("ledger a month: million entries", lambda one: f"{one.month_entries / 1e6:,.0f}"),
    ("GB", lambda one: f"{one.month_bytes / _GB:,.0f}"),
)


def show_needs(many: Sequence[Needs]) -> Table:
    """Return what was multiplied."""
    return _table(
        "Multiplied: what so many conversations at a time need",
        [f"{one.sessions:,}" for one in many],
        [(name, [show(one) for one in many]) for name, show in _NEEDS],
    )


def _table(title: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> Table:
    table = Table(title=title)
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    for name, values in rows:
        table.add_row(name, *values)
    return table
