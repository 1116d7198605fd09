"""Work that kills its own process: before a chosen one of the statements that it sends to the database.

A worker is a module that gives `die_on_demand` its work. It loads everything once, and does the work in a
forked process each time: to start Python anew takes longer than most of what is killed.
"""

import contextlib
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_before(
    number: int,
    engine: Engine,
    *,
    begins: Callable[[str], bool] = lambda statement: True,
    counts: Callable[[str], bool] = lambda statement: True,
) -> None:
    """Die before the statement with this number: the first that `begins` is 0, then those that `counts`.

    From there on a commit counts too. Where there are fewer the work goes to its end.
    """
    sent = 0

    @event.listens_for(engine, "before_cursor_execute")
    def sending(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if counts(statement) if sent else begins(statement):
            count()

    @event.listens_for(engine, "commit")
    def committing(_: Any) -> None:
        if sent:
            count()

    def count() -> None:
        nonlocal sent
        if sent == number:
            die()
        sent += 1


def die_on_demand(work: Callable[[int], None]) -> None:
    """In a worker: for each number on standard input do the work in a process; tell how that ended."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _do(work, int(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _do(work: Callable[[int], None], number: int) -> None:
    """Do the work, and end this process without what its parent would do in the end."""
    try:
        work(number)
    except BaseException:  # noqa: BLE001  it is told, and whoever asked sees how it ended
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


@contextlib.contextmanager
def killing(worker: str, *arguments: str) -> Iterator[Callable[[int], bool]]:
    """Yield what has a worker do its work, dying before a statement, and tells whether it came so far."""
    command = [sys.executable, "-m", worker, *arguments]
    with subprocess.Popen(
        command, cwd=Path(__file__).parents[1], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        asked, told = process.stdin, process.stdout

        def kill_at(number: int) -> bool:
            asked.write(f"{number}\n")
            asked.flush()
            ended = int(told.readline())
            assert ended in (0, -signal.SIGKILL), "the worker's own words are on standard error"
            return ended != 0

        yield kill_at
        asked.close()
