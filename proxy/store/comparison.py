"""Costs of one time against those of another: what is due to prices, to volume and to mix.

Built on cost reports: what they answer from rollups is answered from rollups here. Things are compared by
model and meter within the groups that are asked for; what has no price is left out and counted apart.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta, tzinfo
from typing import Any

from sqlalchemy import Connection, Engine

from proxy.core.money import usd
from proxy.core.spans import just_before, window_span
from proxy.core.usage import Meter
from proxy.core.variance import NOTHING, Effects, Side, Sku, effects, total
from proxy.core.windows import Span, Window
from proxy.store import StoreError
from proxy.store.database import reading
from proxy.store.groups import METER, is_tag
from proxy.store.instants import format_instant
from proxy.store.reports import Basis, CostQuery, ReportRow, answer, cells_of
from proxy.store.rollup_sums import Cells
from proxy.store.totals import FIGURES

GROUPS = ("tenant", "project", "key", "end_user", "model", "kind", "status", "meter", "modality")
GROUPS_MAX = 4
COMPARED_ROWS_MAX = 10_000
_SKU = ("model", METER)
_MOMENT = timedelta(microseconds=1)

Group = tuple[tuple[str, Any], ...]  # the columns of a group with their values
Figures = Mapping[Group, ReportRow]


@dataclass(frozen=True, slots=True)
class Compared:
    """One row: what a group came to before and after, and what the difference is made of."""

    group: Mapping[str, Any]
    before: ReportRow
    after: ReportRow
    effects: Effects

    def as_json(self) -> dict[str, Any]:
        before, after = int(self.before["cost_nanousd"] or 0), int(self.after["cost_nanousd"] or 0)
        return {
            **self.group,
            **usd("before", before),
            **usd("after", after),
            **usd("difference", after - before),
            **{
                name: value
                for one in fields(Effects)
                for name, value in usd(one.name, getattr(self.effects, one.name)).items()
            },
            **usd("estimated_before", int(self.before["estimated_nanousd"] or 0)),
            **usd("estimated_after", int(self.after["estimated_nanousd"] or 0)),
            "unrated_before": self.before["unrated_entries"],
            "unrated_after": self.after["unrated_entries"],
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """The answer: rows by the size of their difference, and the total, to which each column adds up."""

    group_by: Sequence[str]
    basis: Basis
    before: Span
    after: Span
    rows: Sequence[Compared]
    total: Compared

    def as_json(self) -> dict[str, Any]:
        return {
            "from": format_instant(self.after.start),
            "to": format_instant(self.after.end),
            "with_from": format_instant(self.before.start),
            "with_to": format_instant(self.before.end),
            "basis": self.basis,
            "group_by": list(self.group_by),
            "rows": [one.as_json() for one in self.rows],
            "total": self.total.as_json(),
        }


def spans_to_compare(
    now: datetime,
    zone: tzinfo,
    start: datetime | None = None,
    end: datetime | None = None,
    with_start: datetime | None = None,
    with_end: datetime | None = None,
    *,
    by_month: bool = False,
) -> tuple[Span, Span]:
    """Return the time before and the time after; else the month up to the end, and what was before.

    Without an end it is now, or `by_month` when this month is over.

    Raises:
        StoreError: one of them ends before it begins, or half of one was given.
    """
    this = window_span(Window.MONTH, zone, now if start is not None or end is None else end - _MOMENT)
    start = start or this.start
    after = _span(start, end or (this.end if by_month else max(now, start)), "the time asked about")
    if with_start is None and with_end is None:
        try:
            return just_before(after, zone), after
        except ValueError as problem:
            raise StoreError(f"Give the time to compare with: {problem}.") from None
    if with_start is None or with_end is None:
        raise StoreError("Give both ends of the time to compare with, or neither.")
    return _span(with_start, with_end, "the time to compare with"), after


def _span(start: datetime, end: datetime, what: str) -> Span:
    if end <= start:
        raise StoreError(f"{what.capitalize()} ends before it begins: give an end after its start.")
    return Span(start, end)


def compare(engine: Engine, query: CostQuery, before: Span, after: Span) -> Comparison:
    """Compare what `query` asks about in two times, from one state of the database.

    Raises:
        StoreError: it cannot be grouped so, or as for a report about either time.
    """
    check_compared(query.group_by)
    with reading(engine) as connection:
        sides = [_Time(connection, query, span) for span in (before, after)]
    groups = {**sides[0].figures, **sides[1].figures}
    if len(groups) > COMPARED_ROWS_MAX:
        raise StoreError(
            f"This comparison has more than {COMPARED_ROWS_MAX:,} rows: narrow it, or group by less."
        )
    skus = list({**sides[0].skus, **sides[1].skus})
    parts = effects([_sku(key, *sides) for key in skus])
    by_group: dict[Group, Effects] = {}
    for (group, _), one in zip(skus, parts, strict=True):
        by_group[group] = by_group.get(group, Effects()).plus(one)
    old, new = sides
    rows = [
        Compared(
            dict(group),
            old.figures.get(group, old.nothing),
            new.figures.get(group, new.nothing),
            by_group.get(group, Effects()),
        )
        for group in groups
    ]
    whole = Compared({}, old.total, new.total, total(parts))
    return Comparison(query.group_by, query.basis, before, after, sorted(rows, key=_size), whole)


def check_compared(names: Iterable[str]) -> None:
    """Raises StoreError: one of `names` is nothing to compare by, or there are too many."""
    names = list(names)
    for name in names:
        if name not in GROUPS and not is_tag(name):
            raise StoreError(
                f"{name[:60]!r} is nothing to compare by: use {', '.join(GROUPS)} or tag:NAME. Times and"
                " sessions are not the same in both times."
            )
    if len(names) > GROUPS_MAX or len(set(names)) < len(names):
        raise StoreError(f"Compare by at most {GROUPS_MAX} things, each once.")


def _size(one: Compared) -> tuple[int, str]:
    difference = int(one.after["cost_nanousd"] or 0) - int(one.before["cost_nanousd"] or 0)
    return -abs(difference), repr(one.group)


Key = tuple[Group, Group]  # a group, and the model and meter within it


class _Time:
    """What one of the two times has: figures by group, and what was used of each model and meter."""

    def __init__(self, connection: Connection, query: CostQuery, span: Span) -> None:
        filters = replace(query.filters, start=span.start, end=span.end)
        self._query = replace(query, filters=filters)
        by_group = answer(connection, self._query, in_passing=False, with_quantities=False)
        self.figures: Figures = {self._group(row): row for row in by_group.rows}
        self.total = by_group.total
        self.nothing: ReportRow = dict.fromkeys(FIGURES, 0)
        self.skus = self._sides(connection)

    def _sides(self, connection: Connection) -> dict[Key, Side]:
        names = (*self._query.group_by, *(name for name in _SKU if name not in self._query.group_by))
        by_meter = replace(self._query, group_by=names)
        cells = cells_of(connection, by_meter)
        return self._of_entries(connection, by_meter) if cells is None else self._of_cells(connection, cells)

    def _of_cells(self, connection: Connection, cells: Cells) -> dict[Key, Side]:
        """Return the sides by the rollups, which know at once what has a price and what has none."""
        rows = cells.by_meter(connection)
        shown: list[dict[str, Any]] = [{} for _ in rows]
        start = 0
        for group in cells.groups(connection):
            end = start + len(group.columns)
            for own, value in zip(
                shown, group.show(connection, [key[start:end] for key, _ in rows]), strict=True
            ):
                own |= value
            start = end
        found: dict[Key, Side] = {}
        for row, (_, one) in zip(shown, rows, strict=True):
            key, billed = self._key(row), self._query.is_billed
            side = Side(
                one.quantity if one.is_rated else 0, one.billed_nanousd if billed else one.cost_nanousd
            )
            known = found.get(key, NOTHING)
            found[key] = Side(known.quantity + side.quantity, known.nanousd + side.nanousd)
        return found

    def _of_entries(self, connection: Connection, by_meter: CostQuery) -> dict[Key, Side]:
        found = {self._key(row): _side(row) for row in answer(connection, by_meter, in_passing=False).rows}
        unrated = replace(by_meter, filters=replace(by_meter.filters, unrated=True))
        for row in answer(connection, unrated, in_passing=False).rows:  # used, at no price
            key, side = self._key(row), _side(row)
            found[key] = replace(found[key], quantity=found[key].quantity - side.quantity)
        return found

    def _group(self, row: Mapping[str, Any]) -> Group:
        names = [name for name in row if name not in FIGURES]
        asked = self._query.group_by
        return tuple((name, row[name]) for name in names if name in asked or name not in _SKU)

    def _key(self, row: Mapping[str, Any]) -> Key:
        return self._group(row), tuple((name, row[name]) for name in _SKU)


def _side(row: ReportRow) -> Side:
    meter = row[METER]
    quantity = int(row.get(str(meter)) or 0) if meter is not None else 0
    return Side(quantity, int(row["cost_nanousd"] or 0))


def _sku(key: Key, before: _Time, after: _Time) -> Sku:
    meter = dict(key[1])[METER]
    unit = None if meter is None else "ms" if meter == Meter.DURATION_MS else "token"
    return Sku(unit, before.skus.get(key, NOTHING), after.skus.get(key, NOTHING))
