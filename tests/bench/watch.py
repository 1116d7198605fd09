"""What an instance and PostgreSQL have used so far, read from outside them. Linux only."""

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg

from tests.bench.meters import cpu_s, private_bytes

DATA, CONTROL, POSTGRES = "data plane", "control plane", "PostgreSQL"
ROLES = (DATA, CONTROL, POSTGRES)
_CONTROL_PLANE = b"proxy.processes.control_process"
_TICKS_HZ = 100  # of /proc

Reading = Mapping[str, float]  # what grows, by name; two of them are subtracted with `between`

_DATABASE = """
SELECT xact_commit + xact_rollback AS transactions,
    pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS "writing transactions",
    pg_current_wal_insert_lsn() - '0/0'::pg_lsn AS "WAL bytes",
    (SELECT wal_fpi FROM pg_stat_wal) AS "full pages",
    (SELECT coalesce(max(id), 0) FROM ledger_entry) AS entries,
    pg_database_size(datname) AS "database bytes"
FROM pg_stat_database WHERE datname = current_database()
"""
_TABLES = "SELECT relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables"


class Watch:
    """`pid` is that of `talkmeter serve`, `server_pid` PostgreSQL's; `database` is the instance's."""

    def __init__(self, pid: int, server_pid: int | None, database: psycopg.Connection[Any]) -> None:
        self._pid = pid
        self._server_pid = server_pid
        self._database = database

    def read(self) -> Reading:
        """Return everything that grows: CPU seconds by role, rows by table, bytes, transactions."""
        found: defaultdict[str, float] = defaultdict(float)
        for pid, role in self._processes():
            with contextlib.suppress(OSError):  # it has just ended
                found[f"CPU {role}"] += cpu_s(pid)
                found[f"bytes written by {role}"] += _written_bytes(pid)
        if self._server_pid:
            found[f"CPU {POSTGRES}"] += _children_ended_s(self._server_pid)
        for name, value in self._ask():
            found[name] += value
        return found

    def _ask(self) -> Iterator[tuple[str, float]]:
        with self._database.cursor() as cursor:
            row = cursor.execute(_DATABASE).fetchone()
            assert row and cursor.description
            yield from (
                (column.name, float(value)) for column, value in zip(cursor.description, row, strict=True)
            )
            for name, *changes in cursor.execute(_TABLES):
                for change, count in zip(("inserted", "updated", "deleted"), changes, strict=True):
                    yield f"rows {change}", count
                    yield f"{name} {change}", count

    def memory(self) -> Mapping[str, int]:
        """Return the bytes that processes share with nobody, by role."""
        found = dict.fromkeys((DATA, CONTROL), 0)
        for pid, role in self._processes():
            if role in found:
                found[role] += private_bytes(pid)
        return found

    def files(self) -> Mapping[int, int]:
        """Return how many files the processes of data planes have open, by process."""
        data = (pid for pid, role in self._processes() if role == DATA)
        return {pid: len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in data}

    def connections(self) -> int:
        """Return how many connections to the database there are beside ours."""
        counted = "SELECT numbackends - 1 FROM pg_stat_database WHERE datname = current_database()"
        row = self._database.execute(counted).fetchone()
        assert row
        return int(row[0])

    def _processes(self) -> Iterator[tuple[int, str]]:
        for pid in _family(self._pid):
            with contextlib.suppress(OSError):
                is_control = _CONTROL_PLANE in Path(f"/proc/{pid}/cmdline").read_bytes()
                yield pid, CONTROL if is_control else DATA
        if self._server_pid:
            yield from ((pid, POSTGRES) for pid in _family(self._server_pid))

    def ends(self) -> Mapping[str, int]:
        """Return how many sessions have ended, by the reason."""
        counted = "SELECT reason, count(*) FROM session WHERE closed_at IS NOT NULL GROUP BY reason"
        return dict(self._database.execute(counted).fetchall())


def between(before: Reading, after: Reading) -> dict[str, float]:
    """Return by how much everything grew."""
    return {name: value - before.get(name, 0.0) for name, value in after.items()}


def _family(pid: int) -> Iterator[int]:
    """Yield a process and all that it has started, if they still run."""
    yield pid
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text(encoding="ascii").split():
                yield from _family(int(child))


def _children_ended_s(pid: int) -> float:
    """Return the CPU time of those of its processes that have ended."""
    after_name = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return sum(map(int, after_name[13:15])) / _TICKS_HZ


def _written_bytes(pid: int) -> int:
    """Return what a process has written to disks."""
    lines = Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))
