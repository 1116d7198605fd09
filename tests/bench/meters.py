"""What a process has used, read from outside it. Linux only."""

import time
from pathlib import Path


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process, all its threads, in seconds with the scheduler's resolution."""
    return time.clock_gettime(~pid << 3 | 2)  # its CPUCLOCK_SCHED, which has no name in Python


def private_bytes(pid: int) -> int:
    """Return the memory that a process shares with nobody."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))
