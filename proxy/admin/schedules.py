"""Schedules: a loop in the control plane's process that makes what is due, and looks at hours and forecasts.

All that it knows is in the database: which occurrence of a schedule comes next, and which hours were
announced already. So it can die at any moment and be started again, and several may run on one database.
"""

from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from proxy.admin.polling import Polling
from proxy.clock import utc_now
from proxy.core.anomaly import Sensitivity, full_hours
from proxy.core.windows import Span
from proxy.store.anomalies import find_anomalies
from proxy.store.database import reachable, reading, writing
from proxy.store.forecast_alerts import find_forecasts
from proxy.store.occurrences import Reconcile, make_due
from proxy.store.outbox import announce
from proxy.store.schedules import due_schedules

POLL_S = 5.0
HOUR_SETTLES = timedelta(minutes=10)  # what is posted late is counted in its hour all the same
FORECASTS_EVERY = timedelta(minutes=5)
HOURS_LOOKED_BACK = timedelta(hours=24)  # after a start


class Scheduler:
    """Makes what is due from `run` on until `stop`. `zone` is the ledger's: hours are its hours."""

    def __init__(
        self,
        engine: Engine,
        zone: tzinfo,
        sensitivity: Sensitivity,
        clock: Callable[[], datetime] = utc_now,
        reconcile: Reconcile | None = None,
    ) -> None:
        self._engine = engine
        self._zone = zone
        self._sensitivity = sensitivity
        self._clock = clock
        self._reconcile = reconcile
        self._looked_until: datetime | None = None
        self._forecast_at: datetime | None = None
        self._polling = Polling(
            self._look,
            every_s=POLL_S,
            lost="database lost: what is scheduled waits",
            back="database is back: what is scheduled goes on",
        )

    def stop(self) -> None:
        """Make nothing more; `run` ends when what is being made is done."""
        self._polling.stop()

    async def run(self) -> None:
        """Make what is due until `stop`."""
        await self._polling.run()

    def _look(self) -> None:
        """In a thread: look at the hours that are over, then make what is due, one after the other."""
        with reachable(self._engine):
            self._look_at_hours()
            self._look_at_forecasts()
            self._make_due()

    def _make_due(self) -> None:
        now = self._clock()
        with reading(self._engine) as connection:
            due = due_schedules(connection, now)
        problem: SQLAlchemyError | None = None
        for one in due:
            if self._polling.is_stopped:
                return
            try:
                make_due(self._engine, one, now, self._reconcile)
            except SQLAlchemyError as error:  # perhaps of this one alone: the others do not wait behind it
                problem = error
        if problem is not None:
            raise problem

    def _look_at_hours(self) -> None:
        """Announce the unusual ones among the hours that ended since the last look, each once for ever."""
        if not self._sensitivity.deviations:
            return
        until = self._clock() - HOUR_SETTLES
        for hour in full_hours(self._looked_until or until - HOURS_LOOKED_BACK, until, self._zone):
            if self._polling.is_stopped:
                return
            self._look_at(hour)
            self._looked_until = hour.end

    def _look_at(self, hour: Span) -> None:
        now = self._clock()
        with reading(self._engine) as connection:
            found = find_anomalies(connection, hour, self._zone, self._sensitivity, now)
        if found:
            with writing(self._engine) as connection:
                announce(connection, found)

    def _look_at_forecasts(self) -> None:
        """Announce what budgets are expected to reach; several that look at once announce it once."""
        now = self._clock()
        if self._forecast_at is not None and now - self._forecast_at < FORECASTS_EVERY:
            return
        with reading(self._engine) as connection:
            found = find_forecasts(connection, now)
        if found:
            with writing(self._engine) as connection:
                announce(connection, found)
        self._forecast_at = now
