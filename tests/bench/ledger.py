"""A large ledger: are its reports right and quick, its exports small; what rollups cost a posting.

The ledger is generated through real postings, over a year. What a report says is compared with sums over the
single lines, written in plain SQL that knows nothing of rollups.
"""

import contextlib
import multiprocessing
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import URL, Engine, text

from proxy.core.periods import month_of
from proxy.store import rollups
from proxy.store.database import migrate, open_database
from proxy.store.filters import Filters
from proxy.store.reports import CostQuery, Report, run
from tests.bench import books, exports
from tests.bench.report import Limit
from tests.generated import BATCH, Payers, conversations, generate
from tests.ledgers import Books
from tests.plainly import modality
from tests.postgres import NoPostgres, running_server

LINES = 10_000_000
DAYS = 365
START = datetime(2025, 11, 20, tzinfo=UTC)
MONTH = (datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))
YEAR = (START, START + timedelta(days=DAYS))
MONTH_S_MAX = 0.5
YEAR_S_MAX = 1.0
RUNS = 5  # of each report; what counts is their median
PAYERS: Payers = [(f"tenant {number:02}", project) for number in range(20) for project in ("web", "phone")]
BY_DAY = ("day", "tenant")  # 365 times as many rows: measured over a year, without a goal
GROUPS: Sequence[tuple[str, ...]] = (
    (),
    ("tenant",),
    ("tenant", "model"),
    ("meter",),
    ("key", "modality"),
    ("month",),
    ("period",),
    BY_DAY,
)
_SPANS = {"month": (MONTH, MONTH_S_MAX), "year": (YEAR, YEAR_S_MAX)}
_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = "e.occurred_at / 86400000000"


@dataclass(frozen=True)
class Timed:
    """One report: on what, what it asked for, how long it took each time, and whether its sums are right."""

    database: str
    span: str
    group_by: tuple[str, ...]
    seconds: Sequence[float]
    is_right: bool

    @property
    def goal(self) -> Limit:
        what = f"{self.database}: a {self.span} by {', '.join(self.group_by) or 'nothing'}"
        return Limit(what, median(self.seconds), _SPANS[self.span][1], "s")


@contextlib.contextmanager
def databases(*, with_postgres: bool = True) -> Iterator[dict[str, Engine]]:
    """An empty database of each kind that this machine has."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="talkmeter-bench-")))
        found = {"SQLite": _empty(f"sqlite:///{folder}/talkmeter.db", stack)}
        with contextlib.suppress(NoPostgres):
            if with_postgres:
                found["PostgreSQL"] = _empty(stack.enter_context(running_server()).create(), stack)
        yield found


def _empty(url: str | URL, stack: contextlib.ExitStack) -> Engine:
    engine = open_database(url, checkpoints=True)
    stack.callback(engine.dispose)
    migrate(engine)
    return engine


def fill(engines: Mapping[str, Engine], lines: int, start: datetime = START) -> dict[str, float]:
    """Generate a year in all of them at once; return how many entries a second were posted, and made."""
    urls = [engine.url for engine in engines.values()]
    spawned = multiprocessing.get_context("spawn")  # a forked process would share our connections
    with ProcessPoolExecutor(len(urls), spawned) as processes:
        rates = processes.map(_fill, urls, [lines] * len(urls), [start] * len(urls))
        return dict(zip(engines, rates, strict=True))


def _fill(url: URL, lines: int, start: datetime) -> float:
    engine = open_database(url, checkpoints=True)
    began = time.monotonic()
    generate(engine, lines, start=start, days=DAYS, payers=PAYERS)
    taken_s = time.monotonic() - began
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))
        entries: int = connection.execute(text("SELECT count(*) FROM ledger_entry")).scalar_one()
    engine.dispose()
    return entries / taken_s


def ask(name: str, engine: Engine) -> Iterator[Timed]:
    """Ask every report over a month and over a year, and compare its sums with those of the lines."""
    for span, ((start, end), _) in _SPANS.items():
        for group_by in GROUPS:
            query = CostQuery(group_by, Filters(start=start, end=end))
            seconds = []
            for _ in range(RUNS):
                began = time.monotonic()
                report = run(engine, query)
                seconds.append(time.monotonic() - began)
            is_right = as_reported(report) == plainly(engine, group_by, start, end)
            yield Timed(name, span, group_by, seconds, is_right)


Sums = dict[tuple[Any, ...], list[int]]  # cost, list, billed of each group
_AMOUNTS = ("cost_nanousd", "list_nanousd", "billed_nanousd")
_COLUMNS: dict[str, tuple[str, Callable[[Any], Any]]] = {  # as SQL has it; what a report calls a value
    "tenant": ("(SELECT name FROM tenant WHERE tenant.id = e.tenant_id)", str),
    "model": ("e.model", lambda name: name),
    "key": ("e.api_key_id", lambda id: id),
    "meter": ("l.meter", str),
    "modality": ("l.meter", modality),
    "day": (_DAY, lambda number: f"{_EPOCH + timedelta(days=number):%Y-%m-%d}"),
    "month": (_DAY, lambda number: f"{_EPOCH + timedelta(days=number):%Y-%m}"),
    "period": ("e.period", str),
}


def plainly(engine: Engine, group_by: Sequence[str], start: datetime, end: datetime) -> Sums:
    """Return what each group sums to, out of single lines. Entries without lines are no meter's."""
    by_line = bool({"meter", "modality"} & set(group_by))
    source = "l" if by_line else "e"
    amounts = ", ".join(
        f"sum(CASE WHEN e.cost_nanousd IS NULL THEN 0 ELSE {source}.{name} END)" for name in _AMOUNTS
    )
    columns = "".join(f"{_COLUMNS[name][0]}, " for name in group_by)
    groups = ", ".join(str(place) for place in range(1, len(group_by) + 1))
    query = text(
        f"SELECT {columns} {amounts}"
        f" FROM ledger_entry e {'JOIN ledger_line l ON l.entry_id = e.id' if by_line else ''}"
        f" WHERE e.occurred_at >= :start AND e.occurred_at < :end {f'GROUP BY {groups}' if groups else ''}"
    )
    span = {"start": (start - _EPOCH) // _MICROSECOND, "end": (end - _EPOCH) // _MICROSECOND}
    sums: Sums = {}
    with engine.connect() as connection:
        for row in connection.execute(query, span):
            named = zip(group_by, row[: len(group_by)], strict=True)
            own = sums.setdefault(tuple(_COLUMNS[name][1](value) for name, value in named), [0, 0, 0])
            for place, amount in enumerate(row[len(group_by) :]):
                own[place] += int(amount)
    return sums


def as_reported(report: Report) -> Sums:
    """Return the same as a report has it."""
    names = report.query.group_by
    parts = {"meter", "modality"} & set(names)
    rows = [row for row in report.rows if all(row[name] is not None for name in parts)]
    shown = rows if names else [report.total]
    return {tuple(row[name] for name in names): [int(row[of] or 0) for of in _AMOUNTS] for row in shown}


def rollups_cost(batches: int) -> list[float]:
    """Return how much longer a posting takes with rollups than without, batch by batch, as ratios."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="talkmeter-bench-")))
        both = [Books(_empty(f"sqlite:///{folder}/{name}.db", stack)) for name in ("with", "without")]
        made = [list(conversations(books, random.Random(1), BATCH * batches)) for books in both]
        ratios = []
        for number in range(batches):
            part = slice(number * BATCH, (number + 1) * BATCH)
            with_s = _timed(lambda: both[0].post(*made[0][part]))  # noqa: B023  called at once
            with without_rollups():
                without_s = _timed(lambda: both[1].post(*made[1][part]))  # noqa: B023
            ratios.append(with_s / without_s)
        return ratios


@contextlib.contextmanager
def without_rollups() -> Iterator[None]:
    """Postings in here keep none."""
    kept = rollups.add
    rollups.add = lambda connection, entries, lines: None
    try:
        yield
    finally:
        rollups.add = kept


def _timed(do: Callable[[], None]) -> float:
    began = time.monotonic()
    do()
    return time.monotonic() - began


def measure(
    lines: int,
    console: Console,
    batches: int = 20,
    kinds: Sequence[str] = tuple(exports.KINDS),
    *,
    with_postgres: bool = True,
) -> tuple[dict[str, Any], list[Limit]]:
    """Fill, ask, export, close; return what was measured, and the goals: fast and small enough, and right."""
    ratio = median(rollups_cost(batches))
    console.print(f"A posting with rollups takes {ratio:.2f} × one without.", highlight=False)
    with (
        databases(with_postgres=with_postgres) as found,
        tempfile.TemporaryDirectory(prefix="talkmeter-bench-") as name,
    ):
        folder = Path(name)
        console.print(f"generating {lines:,} lines in {' and '.join(found)}, at once", highlight=False)
        posted = fill(found, lines)
        console.print(
            f"entries a second: {', '.join(f'{n} {r:,.0f}' for n, r in posted.items())}", highlight=False
        )
        asked = [one for name, engine in found.items() for one in ask(name, engine)]
        _show(asked, console)
        taken = exports.take(found, kinds, {span: times for span, (times, _) in _SPANS.items()}, folder)
        exports.show(taken, console)
        first = month_of(START, UTC)
        done = [
            one for name, engine in found.items() for one in books.keep(name, engine, first, folder / name)
        ]
        books.show(done, console)
    measured = {
        "rollups_ratio": ratio,
        "entries_a_second": posted,
        "reports": [asdict(one) for one in asked],
        "exports": [asdict(one) for one in taken],
        "books": [asdict(one) for one in done],
    }
    wrong = sum(not one.is_right for one in asked)
    return measured, [
        *(one.goal for one in asked if (one.span, one.group_by) != ("year", BY_DAY)),
        Limit("reports that differ from the lines", wrong, 0, ""),
        *exports.goals(taken, "year", "month"),
    ]


def _show(asked: Sequence[Timed], console: Console) -> None:
    table = Table(title="Reports: seconds, the median of some runs, and whether the lines sum to the same")
    for column in ("database", "span", "group by", "seconds", "sums"):
        table.add_column(column)
    for one in asked:
        by = ", ".join(one.group_by) or "–"
        table.add_row(
            one.database, one.span, by, f"{median(one.seconds):.3f}", "right" if one.is_right else "WRONG"
        )
    console.print(table)
