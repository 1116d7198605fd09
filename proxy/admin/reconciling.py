"""Reconciling: the bill is read, compared with the ledger, and what comes of it is kept."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

from sqlalchemy import Engine

from proxy.admin.config import BillConfig
from proxy.admin.provider_bill import ALL_S, BillSource, read_bill
from proxy.core.money import NANOUSD_PER_USD
from proxy.core.reconcile import Threshold, complete_until
from proxy.store import Conflict
from proxy.store.audit import Act
from proxy.store.database import reading, writing
from proxy.store.our_side import first_at_hand
from proxy.store.reconciliations import Reconciliation, Scope, Terms, check_scope, compare_bill, record


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Compares days with the provider's bill, as this installation is set up for it.

    One comparison at a time: each takes a thread for as long as the provider does, up to `ALL_S`, and the
    API has few.
    """

    config: BillConfig = field(repr=False)
    aliases: Mapping[str, str]
    _alone: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    @property
    def terms(self) -> Terms:
        config = self.config
        threshold = Threshold(config.usd * NANOUSD_PER_USD, config.percent)
        return Terms(timedelta(hours=config.delay_h), threshold)

    def run_last(self, engine: Engine, days: int, act: Act, wait_s: float = 0.0) -> Reconciliation:
        """Compare the last so many days whose bill is complete, behind what is archived; raises as `run`."""
        end_on = complete_until(act.at, self.terms.delay)
        with reading(engine) as connection:
            first_on = first_at_hand(connection, end_on - timedelta(days=days), end_on)
        return self.run(engine, first_on, end_on, act, wait_s)

    def run(
        self, engine: Engine, first_on: date, end_on: date, act: Act, wait_s: float = 0.0
    ) -> Reconciliation:
        """Compare the days from `first_on` to the one before `end_on`. Blocks; takes seconds to minutes.

        `wait_s` is how long to wait for another comparison to end.

        Raises:
            StoreError: there is no admin key, the bill cannot be read, these days cannot be compared, or
                others are being compared.
        """
        config = self.config
        if config.admin_key is None:
            raise Conflict(
                "TALKMETER_UPSTREAM_ADMIN_KEY is not set: the provider's bill is read with an admin key."
            )
        scope = Scope(first_on, end_on, tuple(config.projects), tuple(config.keys))
        check_scope(scope, act.at)
        source = BillSource(config.url, config.admin_key, config.organization)
        if not self._alone.acquire(timeout=wait_s):
            raise Conflict(
                "Days are being compared with the bill already, which takes up to"
                f" {ALL_S:g} s: see what comes of it, and compare these then."
            )
        try:
            return self._compare(engine, source, scope, act)
        finally:
            self._alone.release()

    def _compare(self, engine: Engine, source: BillSource, scope: Scope, act: Act) -> Reconciliation:
        said = read_bill(source, scope, act.at)
        with reading(engine) as connection:
            rows = compare_bill(connection, scope, self.terms, said, self.aliases)
        with writing(engine) as connection:
            return record(connection, scope, self.terms, said, rows, act)
