"""Which models were used lately, and which meters of each: by the sums that postings keep, not the ledger."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from proxy.core.usage import Meter
from proxy.store.rollups import Part
from proxy.store.schema import model_rule, rollup_day, rollup_group
from proxy.store.spend import METERED

_METERS = frozenset(meter.value for meter in Meter) - {Meter.UNTOLD_IN, Meter.UNTOLD_OUT}  # without a price
_A_DAY = timedelta(days=1)  # a cell's day may have begun so long before its entry


def used_models(connection: Connection, since: datetime) -> Mapping[str, frozenset[Meter]]:
    """Return the models with entries since then, each with those of its meters that can have a price."""
    group = rollup_group.c
    lately = select(rollup_day.c.group_id).where(rollup_day.c.starts_at > since - _A_DAY).distinct()
    wanted = (
        select(group.model, group.part, group.meter)
        .where(group.id.in_(lately), group.model.is_not(None), group.kind.in_(METERED))
        .distinct()
    )
    found: dict[str, set[Meter]] = {}
    for model, part, meter in connection.execute(wanted):
        meters = found.setdefault(model, set())
        if part == Part.METER and meter in _METERS:
            meters.add(Meter(meter))
    return {model: frozenset(meters) for model, meters in found.items()}


def allowed_models(connection: Connection) -> list[str]:
    """Return the models and patterns (`gpt-realtime*`) that rules allow."""
    wanted = select(model_rule.c.model).where(model_rule.c.allowed).distinct().order_by(model_rule.c.model)
    return list(connection.execute(wanted).scalars())
