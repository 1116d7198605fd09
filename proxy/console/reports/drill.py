"""From a row of a report to the question that only this row answers. Pure.

What is asked then adds up to the row, to the nano-dollar. Where the API has no such filter, as for what has
no project, there is no such question.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from typing import Any

from proxy.admin.api.saved_reports import VALUE_CHARS_MAX
from proxy.console.reports.question import Question
from proxy.console.reports.spans import narrower
from proxy.console.reports.words import id_column
from proxy.core.periods import month_after, month_of, span_of
from proxy.store.groups import GROUPS, PERIOD, TAG, TIMES
from proxy.store.instants import parse_instant
from proxy.store.reports import LINES_DAYS_MAX, Basis

Changes = Mapping[str, str | None]
Row = Mapping[str, Any]

_SESSION = "session"
_NEXT: Mapping[str, Sequence[str]] = {
    "tenant": ("project", "model", "meter"),
    "project": ("key", "model", "meter"),
    "key": ("model", "meter"),
    "end_user": (_SESSION,),
    "model": ("meter", "tenant"),
    "kind": ("model", "meter"),
    "status": ("model", "meter"),
    _SESSION: ("meter", "model"),
    "month": ("day",),
    "period": ("day",),
    "week": ("day",),
    "day": ("hour",),
    "hour": (_SESSION,),
    "meter": ("model", "day"),
    "modality": ("meter", "model"),
    TAG: ("model", "meter"),
}
_LAST = (_SESSION, "day", "meter", "model")


@dataclass(frozen=True, slots=True)
class Zones:
    """The zone of a question's days, and that of accounting months."""

    own: tzinfo
    ledger: tzinfo


def changes_for(question: Question, group: str, row: Row, zones: Zones) -> Changes | None:
    """Return what to change so that only what this row has of a group is meant; None: that cannot be."""
    value = row[id_column(group)]
    if value is None:
        return None
    if group in TIMES:
        return _time_changes(question, group, value, zones)
    if group == PERIOD:
        is_span = question.get("basis") == Basis.PERIOD
        return {PERIOD: value, **({"from": None, "to": None} if is_span else {})}
    if group.startswith(TAG):
        tag = f"{group.removeprefix(TAG)}={value}"
        return {"tag": tag} if question.get("tag") in ("", tag) and len(tag) <= VALUE_CHARS_MAX else None
    return {group: value}


def into(question: Question, row: Row, zones: Zones) -> Question | None:
    """Return the question that this row answers, by what to group by next."""
    found: dict[str, str | None] = {}
    for group in question.groups:
        changes = changes_for(question.but(found), group, row, zones)
        if changes is None:
            return None
        found |= changes
    narrow = question.but(found)
    last = question.groups[-1]
    return narrow.by([next_group(narrow, last, question.groups, zones)])


def next_group(
    question: Question, last: str, done: Sequence[str], zones: Zones, among: Collection[str] = GROUPS
) -> str:
    """Return what to group by after `last`: nothing that there is only one of any more."""
    wanted = (*_NEXT[TAG if last.startswith(TAG) else last], *_LAST)
    left = (name for name in wanted if name in among and name not in done and not question.has(name))
    return next((name for name in left if name != _SESSION or _is_short(question, zones)), "meter")


def _is_short(question: Question, zones: Zones) -> bool:
    """Tell whether single entries may be asked about."""
    if question.has(PERIOD) or question.has(_SESSION):
        return True
    ends = [question.get(name) for name in ("from", "to")]
    if not all(ends):
        return False
    start, end = (parse_instant(text, zones.own) for text in ends)
    return end - start <= timedelta(days=LINES_DAYS_MAX)


def _time_changes(question: Question, group: str, value: str, zones: Zones) -> Changes | None:
    start, end = _ENDS[group](value)
    if question.get("basis") == Basis.PERIOD:
        period = question.get(PERIOD) or only_month(question, zones)
        return None if period is None else {"basis": None, PERIOD: period, "from": start, "to": end}
    return {
        "from": narrower(question.get("from"), start, zones.own, is_start=True),
        "to": narrower(question.get("to"), end, zones.own, is_start=False),
    }


def only_month(question: Question, zones: Zones) -> str | None:
    """Return the one accounting month between `from` and `to`, None if there are several."""
    start, end = question.get("from"), question.get("to")
    if not start or not end:
        return None
    month = month_of(parse_instant(start, zones.ledger), zones.ledger)
    is_one = span_of(month, zones.ledger).end == parse_instant(end, zones.ledger)
    return month if is_one else None


def _hour_ends(text: str) -> tuple[str, str]:
    return text, (datetime.fromisoformat(text) + timedelta(hours=1)).isoformat(timespec="minutes")


def _month_ends(text: str) -> tuple[str, str]:
    return f"{text}-01", f"{month_after(text)}-01"


def _day_ends(days: int) -> Callable[[str], tuple[str, str]]:
    return lambda text: (text, (date.fromisoformat(text) + timedelta(days=days)).isoformat())


_ENDS: Mapping[str, Callable[[str], tuple[str, str]]] = {
    "hour": _hour_ends,
    "day": _day_ends(1),
    "week": _day_ends(7),
    "month": _month_ends,
}
