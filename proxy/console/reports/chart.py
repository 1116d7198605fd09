"""A report as stacked bars over time: the largest of its second group, and the rest. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from proxy.console.reports.question import Question
from proxy.console.reports.words import NONE, group_label, group_word, id_column, text_of
from proxy.store.groups import PERIOD, TIMES

SERIES_MAX = 5  # beside the rest: a chart has six colours, and one that comes twice says nothing
POINTS_MAX = 400
_TIMED = (*TIMES, PERIOD)
REST = "The rest"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Chart:
    """What each time cost: of each series, in their order, and in all. Amounts are nano-dollars."""

    title: str
    time: str  # the group
    time_label: str
    is_dated: bool  # days and months, and not hours
    series: Sequence[str]
    points: Sequence[tuple[str, Sequence[int], int]]


def time_of(question: Question) -> str | None:
    """Return the group that a report is a course over, None if it is none."""
    return next((name for name in question.groups if name in _TIMED), None)


def chart_of(question: Question, rows: Sequence[Mapping[str, Any]]) -> Chart | None:
    """Return a report's course, None where it has none, or one of too many points."""
    time = time_of(question)
    if time is None:
        return None
    second = next((name for name in question.groups if name not in _TIMED), None)
    costs: dict[str, dict[str | None, int]] = {}
    labels: dict[str | None, str] = {None: NONE if second else "Cost"}
    for row in rows:
        own = costs.setdefault(row[time], {})
        value = None if second is None else row[id_column(second)]
        own[value] = own.get(value, 0) + row["cost_nanousd"]
        if second is not None:
            labels[value] = text_of(second, row)
    if not 0 < len(costs) <= POINTS_MAX:
        return None
    names = _largest(list(costs.values())) if second is not None else [None]
    has_rest = any(value not in names for own in costs.values() for value in own)
    points = [(at, _heights(own, names, has_rest), sum(own.values())) for at, own in _in_order(time, costs)]
    title = f"Cost by {group_word(time)}"
    if second is not None:
        title += f" and {group_word(second)}"
    series = [labels[name] for name in names]
    return Chart(
        title, time, group_label(time), time != "hour", [*series, *([REST] if has_rest else [])], points
    )


def _in_order(time: str, costs: Mapping[str, T]) -> list[tuple[str, T]]:
    """Return times in their order. An hour's text has its offset, by which it does not sort."""
    if time != "hour":
        return sorted(costs.items(), key=lambda one: one[0])
    return sorted(costs.items(), key=lambda one: datetime.fromisoformat(one[0]))


def _largest(costs: Sequence[Mapping[str | None, int]]) -> list[str | None]:
    sums: dict[str | None, int] = {}
    for own in costs:
        for value, cost in own.items():
            sums[value] = sums.get(value, 0) + cost
    return sorted(sums, key=lambda value: (-abs(sums[value]), str(value)))[:SERIES_MAX]


def _heights(own: Mapping[str | None, int], names: Sequence[str | None], has_rest: bool) -> list[int]:
    heights = [own.get(name, 0) for name in names]
    return [*heights, sum(own.values()) - sum(heights)] if has_rest else heights
