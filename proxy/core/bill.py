"""The provider's bill: what it says it charges and has counted, by UTC day, put beside our meters.

The provider counts a modality's input without what was cached, as our meters do; on the wire it is included.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

from proxy.core.line_items import LineItems
from proxy.core.rating import without_date
from proxy.core.usage import Meter

_UNITS = {
    "tokens": (False, 1),
    "1000_tokens": (False, 1_000),
    "duration_seconds": (True, 1_000),
    "duration_minutes": (True, 60_000),
    "duration_hours": (True, 3_600_000),
}


class Cell(NamedTuple):
    """What is compared: one meter of one model in one project of the provider's, on one UTC day.

    Without a meter: what no rule says the meaning of (`line_item`), or entries that nothing was counted of.
    """

    on: date
    project: str | None
    model: str | None
    meter: Meter | None
    line_item: str | None = None


@dataclass(frozen=True, slots=True)
class Charge:
    """One result of the provider's costs."""

    on: date
    project: str | None
    key: str | None
    line_item: str | None
    nanousd: int
    quantity: Decimal | None = None
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """One result of the provider's usage: tokens per meter, or milliseconds."""

    on: date
    project: str | None
    model: str
    counts: Mapping[Meter, int]


@dataclass(slots=True)
class Charged:
    """What the provider says of one cell. `quantity` is None where it does not say; `keys` are its own."""

    nanousd: int = 0
    quantity: int | None = None
    keys: dict[str, int] = field(default_factory=dict)  # nano-dollars


Bill = dict[Cell, Charged]


def bill(
    charges: Iterable[Charge],
    counts: Iterable[Count],
    line_items: LineItems,
    ours: Iterable[Cell],
    project_of: Callable[[str | None], str | None] = lambda project: project,
) -> Bill:
    """Return the bill, and what was counted of each of `ours` that it does not charge for.

    Tokens are as counted, where they were counted at all, else as charged for; times the other way round,
    since they are counted in whole seconds. `project_of` may give projects other names.
    """
    found: Bill = {}
    for charge in charges:
        _charge(found, charge, line_items, project_of)
    for cell in ours:
        if cell.meter is not None:
            found.setdefault(cell, Charged())
    _count(found, counts, project_of)
    return {cell: charged for cell, charged in found.items() if charged != Charged()}


def _charge(
    found: Bill, charge: Charge, line_items: LineItems, project_of: Callable[[str | None], str | None]
) -> None:
    name = charge.line_item or "(no line item)"
    project, meant = project_of(charge.project), line_items.find(name)
    if meant is None:
        cell = Cell(charge.on, project, None, None, name)
    elif meant.meter is None:
        return
    else:
        cell = Cell(charge.on, project, meant.model, meant.meter)
    charged = found.setdefault(cell, Charged())
    charged.nanousd += charge.nanousd
    if charge.key is not None:
        charged.keys[charge.key] = charged.keys.get(charge.key, 0) + charge.nanousd
    quantity = _quantity(charge, cell.meter)
    if quantity is not None:
        charged.quantity = (charged.quantity or 0) + quantity


def _quantity(charge: Charge, meter: Meter | None) -> int | None:
    """Return how much was charged for, in the meter's unit; None where that cannot be told."""
    if charge.quantity is None or meter is None or charge.unit not in _UNITS:
        return None
    is_time, each = _UNITS[charge.unit]
    if is_time != (meter is Meter.DURATION_MS):
        return None
    return int((charge.quantity * each).to_integral_value(ROUND_HALF_EVEN))


def _count(found: Bill, counts: Iterable[Count], project_of: Callable[[str | None], str | None]) -> None:
    counted: dict[tuple[date, str | None, str], dict[Meter, int]] = {}
    for count in counts:
        sums = counted.setdefault((count.on, project_of(count.project), without_date(count.model)), {})
        for meter, quantity in count.counts.items():
            sums[meter] = sums.get(meter, 0) + quantity
    for cell, charged in found.items():
        if cell.model is None or cell.meter is None:
            continue
        of_model = counted.get((cell.on, cell.project, cell.model), {})
        if cell.meter in of_model and not (cell.meter is Meter.DURATION_MS and charged.quantity is not None):
            charged.quantity = of_model[cell.meter]
