"""What somebody asks a running process for: first to stop, then to hurry."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable

GIVE_UP_S = 30.0  # since somebody hurries
EXIT_GIVEN_UP = 1

logger = logging.getLogger(__name__)


class Stop:
    """The first time that it is `heard` it is `asked`; each later time `hurry` is called, if it is set."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurry: Callable[[], None] | None = None

    def listen(self) -> None:
        """Take over SIGTERM and SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.heard)

    def heard(self) -> None:
        """Somebody asks."""
        if not self.asked.is_set():
            self.asked.set()
        elif self.hurry is not None:
            logger.warning("second signal: all sessions are dropped")
            self.hurry()


def give_up_later() -> None:
    """End this process in `GIVE_UP_S` if it still is there: a lock in the database may be held for hours.

    Nothing is lost: what its journal holds is posted at the next start.
    """
    asyncio.get_running_loop().call_later(GIVE_UP_S, _give_up)


def _give_up() -> None:
    logger.critical("this does not end: it is given up. The next start posts what its journal holds")
    os._exit(EXIT_GIVEN_UP)
