"""Who has a journal: a lock on a file of its own beside it, which the kernel lets go however a process ends.

It is not on the database itself: closing any other descriptor of that would drop SQLite's locks.
"""

import fcntl
import os
import time
from pathlib import Path
from typing import TextIO

from proxy.store import StoreError

PATIENCE_S = 0.2  # for `holder`, which has the lock for a moment
RETRY_S = 0.02


def take(path: Path) -> TextIO:
    """Hold the journal at `path` for this process until the file that is returned is closed.

    Raises:
        StoreError: another process has it.
        OSError: its folder cannot be used.
    """
    held = open(_lock_of(path), "a+", opener=private)  # noqa: SIM115  kept open as long as the journal
    deadline = time.monotonic() + PATIENCE_S
    while not _locks(held, fcntl.LOCK_EX):
        if time.monotonic() > deadline:
            owner = _owner(held)
            held.close()
            raise StoreError(
                f"The journal {path} is in use by another process (pid {owner}). Every instance needs a"
                " journal of its own: stop that process or set JOURNAL_PATH to another file."
            )
        time.sleep(RETRY_S)
    held.truncate(0)
    held.write(str(os.getpid()))
    held.flush()
    return held


def holder(path: Path) -> str | None:
    """Return the pid of the process that has the journal at `path`, "unknown" if it does not say; None: none.

    Raises:
        OSError: this user may not look.
    """
    try:
        looking = _lock_of(path).open(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return None
    with looking:  # which lets go at its end
        return None if _locks(looking, fcntl.LOCK_SH) else _owner(looking)


def private(path: str, flags: int) -> int:
    """Open a file, made for this user only."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _lock_of(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _locks(file: TextIO, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner(file: TextIO) -> str:
    file.seek(0)
    return file.read(20).strip() or "unknown"
