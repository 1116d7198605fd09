"""Work that kills its own process: before a chosen one of the statements that it sends to the database."""

import os
import signal
from collections.abc import Callable
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
