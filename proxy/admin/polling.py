"""Looking into the database again and again, beside a control plane's event loop."""

import asyncio
import logging
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from proxy.store import StoreError

logger = logging.getLogger(__name__)


class Polling:
    """Looks, pauses and looks again, from `run` on until `stop`.

    `look` is called in a thread, and raises StoreError or SQLAlchemyError while the database is away. That is
    said once, with `lost`, and once more when it is over, with `back`.
    """

    def __init__(self, look: Callable[[], object], *, every_s: float, lost: str, back: str) -> None:
        self._look = look
        self._every_s = every_s
        self._lost = lost
        self._back = back
        self._stopped = asyncio.Event()
        self._is_down = False

    def stop(self) -> None:
        """Look no more; `run` ends when a look that has begun is over."""
        self._stopped.set()

    @property
    def is_stopped(self) -> bool:
        """Tell, in any thread, whether a look should come to an end."""
        return self._stopped.is_set()

    async def run(self) -> None:
        """Look until `stop`."""
        while not self.is_stopped:
            try:
                await asyncio.to_thread(self._look)
            except (StoreError, SQLAlchemyError) as error:
                self._note(error)
            else:
                self._note(None)
            await self._pause()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._every_s):
                await self._stopped.wait()
        except TimeoutError:
            pass  # it is time to look again

    def _note(self, error: Exception | None) -> None:
        if error is not None and not self._is_down:
            logger.warning(self._lost, extra={"error": error})
        if error is None and self._is_down:
            logger.info(self._back)
        self._is_down = error is not None
