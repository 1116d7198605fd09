"""What somebody asks a running process for: first to stop, then to hurry."""

import asyncio
import logging
import signal
from collections.abc import Callable

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
