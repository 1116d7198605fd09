"""Exports of a large ledger: how long they take, how much memory, and whether the files sum to the same.

Each is the command that a person types, in a process of its own. What counts is CPU time, not time, since two
run at once; and that a year takes no more memory than a month.
"""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import product
from pathlib import Path

from rich.console import Console
from rich.table import Table
from sqlalchemy import URL, Engine, text

from tests.bench.report import Limit

AT_ONCE = 2
MEMORY_RATIO_MAX = 1.25  # of a year to a month
EXIT_UNRATED = 3  # of `export focus`: all is well, and some of it is in another file
KINDS: dict[str, Sequence[str]] = {
    "CSV": ("ledger", "--format", "csv"),
    "JSON lines": ("ledger", "--format", "jsonl"),
    "Parquet": ("ledger", "--format", "parquet"),
    "FOCUS 1.2": ("focus", "--version", "1.2"),
    "FOCUS 1.4": ("focus", "--version", "1.4"),
}
_COST = {"CSV": "cost_usd", "FOCUS 1.2": "BilledCost", "FOCUS 1.4": "BilledCost"}

Span = tuple[datetime, datetime]


@dataclass(frozen=True)
class Taken:
    """One export: of what, how many rows, its CPU time and memory; is its sum right, where that is read."""

    database: str
    kind: str
    span: str
    rows: int
    size_bytes: int
    cpu_s: float
    memory_bytes_max: int
    is_right: bool | None


def take(
    engines: dict[str, Engine], kinds: Sequence[str], spans: dict[str, Span], folder: Path
) -> list[Taken]:
    """Export all databases as all kinds, over all spans."""
    asked = list(product(engines, kinds, spans))
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(
            threads.map(
                lambda one: _take(one[0], engines[one[0]], one[1], one[2], spans[one[2]], folder), asked
            )
        )


def _take(name: str, engine: Engine, kind: str, span: str, times: Span, folder: Path) -> Taken:
    path = folder / f"{name}-{kind}-{span}".replace(" ", "-")
    start, end = (one.isoformat() for one in times)
    command = [sys.executable, "-m", "proxy", "export", *KINDS[kind]]
    command += ["--from", start, "--to", end, "--output", str(path), "--json"]
    told, used = _run(command, engine.url)
    size = path.stat().st_size
    is_right = _sum(path, _COST[kind]) == _booked(engine, times) if kind in _COST else None
    path.unlink()
    return Taken(name, kind, span, told["rows"], size, used[0], used[1], is_right)


def _run(command: Sequence[str], url: URL) -> tuple[dict[str, int], tuple[float, int]]:
    """Return what the command printed, and its CPU time in seconds and its memory at most."""
    env = {**os.environ, "TALKMETER_DATABASE_URL": url.render_as_string(hide_password=False)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, EXIT_UNRATED):
        raise RuntimeError(f"{command} ended with {process.returncode}")
    return json.loads(printed), (usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def _sum(path: Path, column: str) -> Decimal:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return sum((Decimal(row[column] or 0) for row in csv.DictReader(file)), Decimal(0))


def _booked(engine: Engine, times: Span) -> Decimal:
    """Return what the entries of the time that have a price cost, in dollars."""
    query = text(
        "SELECT sum(cost_nanousd) FROM ledger_entry WHERE occurred_at >= :start AND occurred_at < :end"
    )
    start, end = (round(one.timestamp()) * 1_000_000 for one in times)
    with engine.connect() as connection:
        booked = connection.execute(query, {"start": start, "end": end}).scalar_one()
    return Decimal(int(booked or 0)).scaleb(-9)


def show(taken: Sequence[Taken], console: Console) -> None:
    """Print the table."""
    table = Table(title="Exports: CPU seconds and memory of the command, and whether the sum is the lines'")
    for column in ("database", "format", "span", "rows", "MB", "CPU s", "memory, MB", "sum"):
        table.add_column(column)
    for one in taken:
        table.add_row(
            one.database,
            one.kind,
            one.span,
            f"{one.rows:,}",
            f"{one.size_bytes / 1e6:,.1f}",
            f"{one.cpu_s:.1f}",
            f"{one.memory_bytes_max / 1e6:.0f}",
            "not read" if one.is_right is None else "right" if one.is_right else "WRONG",
        )
    console.print(table)


def goals(taken: Sequence[Taken], longest: str, shortest: str) -> Iterator[Limit]:
    """Yield that memory does not grow with what is exported, for each kind; and that all sums are right."""
    memory = {(one.database, one.kind, one.span): one.memory_bytes_max for one in taken}
    for name, kind, span in memory:
        if span == longest:
            ratio = memory[name, kind, longest] / memory[name, kind, shortest]
            what = f"{name}: memory of a {longest} as {kind}, beside a {shortest}"
            yield Limit(what, ratio, MEMORY_RATIO_MAX, "×")
    yield Limit("exports that differ from the lines", sum(one.is_right is False for one in taken), 0, "")
