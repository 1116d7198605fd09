"""Reconciling: the bill is read, compared with the ledger, and what comes of it is kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

from sqlalchemy import Engine

from proxy.admin.config import BillConfig
from proxy.admin.provider_bill import BillSource, read_bill
from proxy.core.money import NANOUSD_PER_USD
from proxy.core.reconcile import Threshold, complete_until
from proxy.store import Conflict
from proxy.store.audit import Act
from proxy.store.database import reading, writing
from proxy.store.our_side import first_at_hand
from proxy.store.reconciliations import Reconciliation, Scope, Terms, check_scope, compare_bill, record


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Compares days with the provider's bill, as this installation is set up for it."""

    config: BillConfig = field(repr=False)
    aliases: Mapping[str, str]

    @property
    def terms(self) -> Terms:
        config = self.config
        threshold = Threshold(config.usd * NANOUSD_PER_USD, config.percent)
        return Terms(timedelta(hours=config.delay_h), threshold)

    def run_last(self, engine: Engine, days: int, act: Act) -> Reconciliation:
        """Compare the last so many days whose bill is complete, behind what is archived; raises as `run`."""
        end_on = complete_until(act.at, self.terms.delay)
        with reading(engine) as connection:
            first_on = first_at_hand(connection, end_on - timedelta(days=days), end_on)
        return self.run(engine, first_on, end_on, act)

    def run(self, engine: Engine, first_on: date, end_on: date, act: Act) -> Reconciliation:
        """Compare the days from `first_on` to the one before `end_on`. Blocks; takes seconds to minutes.

        Raises:
            StoreError: there is no admin key, the bill cannot be read, or these days cannot be compared.
        """
        config = self.config
        if config.admin_key is None:
            raise Conflict(
                "TALKMETER_UPSTREAM_ADMIN_KEY is not set: the provider's bill is read with an admin key."
            )
        scope = Scope(first_on, end_on, tuple(config.projects), tuple(config.keys))
        check_scope(scope, act.at)
        source = BillSource(config.url, config.admin_key, config.organization)
        said = read_bill(source, scope, act.at)
        with reading(engine) as connection:
            rows = compare_bill(connection, scope, self.terms, said, self.aliases)
        with writing(engine) as connection:
            return record(connection, scope, self.terms, said, rows, act)
