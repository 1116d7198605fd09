"""What the control plane's metrics tell from the database: read every few seconds, not for each scrape."""

import asyncio
import logging

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from proxy.admin.webhooks import utc_now
from proxy.observe.control_metrics import ControlMetrics
from proxy.store import StoreError
from proxy.store.database import reachable, reading
from proxy.store.instance_list import count_states
from proxy.store.reconciliations import last_variance

LOOK_S = 5.0
UNKNOWN = float("nan")

logger = logging.getLogger(__name__)


def look(engine: Engine, metrics: ControlMetrics) -> None:
    """Read the gauges once. Raises StoreError, SQLAlchemyError."""
    with reachable(engine), reading(engine) as connection:
        variance = last_variance(connection)
        states = count_states(connection, utc_now())
    metrics.counted_instances({state.value: count for state, count in states.items()})
    metrics.variance.set(UNKNOWN if variance is None else variance)


class Gauges:
    """Keeps the gauges true from `run` on until `stop`; unknown while the database is away."""

    def __init__(self, engine: Engine, metrics: ControlMetrics) -> None:
        self._engine = engine
        self._metrics = metrics
        self._stopped = asyncio.Event()
        self._is_down = False

    def stop(self) -> None:
        """Look no more; `run` ends when a look that has begun is over."""
        self._stopped.set()

    async def run(self) -> None:
        """Look again and again until `stop`."""
        while not self._stopped.is_set():
            try:
                await asyncio.to_thread(look, self._engine, self._metrics)
            except (StoreError, SQLAlchemyError) as error:
                self._metrics.variance.set(UNKNOWN)
                self._metrics.counted_instances({})
                self._note(error)
            else:
                self._note(None)
            await self._pause()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(LOOK_S):
                await self._stopped.wait()
        except TimeoutError:
            pass  # it is time to look again

    def _note(self, error: Exception | None) -> None:
        """Say when the database is lost, and when it is back."""
        if error is not None and not self._is_down:
            logger.warning("what metrics tell from the database is not known", extra={"error": error})
        if error is None and self._is_down:
            logger.info("what metrics tell from the database is known again")
        self._is_down = error is not None
