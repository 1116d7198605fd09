"""What the control plane's metrics tell from the database: read every few seconds, not for each scrape."""

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from proxy.admin.polling import Polling
from proxy.clock import utc_now
from proxy.observe.control_metrics import ControlMetrics
from proxy.store import StoreError
from proxy.store.database import reachable, reading
from proxy.store.instance_list import count_states
from proxy.store.reconciliations import last_variance

LOOK_S = 5.0
UNKNOWN = float("nan")


def look(engine: Engine, metrics: ControlMetrics) -> None:
    """Read the gauges once. Raises StoreError or SQLAlchemyError: they are unknown then."""
    try:
        with reachable(engine), reading(engine) as connection:
            variance = last_variance(connection)
            states = count_states(connection, utc_now())
    except (StoreError, SQLAlchemyError):
        metrics.variance.set(UNKNOWN)
        metrics.counted_instances({})
        raise
    metrics.variance.set(UNKNOWN if variance is None else variance)
    metrics.counted_instances({state.value: count for state, count in states.items()})


def gauges(engine: Engine, metrics: ControlMetrics) -> Polling:
    """Return what keeps the gauges true."""
    return Polling(
        lambda: look(engine, metrics),
        every_s=LOOK_S,
        lost="what metrics tell from the database is not known",
        back="what metrics tell from the database is known again",
    )
