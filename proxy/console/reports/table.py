"""A report as a table: which columns, in which order, and where each row leads. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from proxy.admin.api.problems import invalid
from proxy.console.reports.chart import time_of
from proxy.console.reports.drill import Zones, changes_for, into
from proxy.console.reports.question import Question
from proxy.console.reports.words import NONE, group_label, group_word, id_column, text_of
from proxy.core.money import parse_usd
from proxy.core.usage import METER_LABELS, Meter
from proxy.store.groups import METER

ROWS_SHOWN_MAX = 500
COST = "cost_nanousd"
Row = Mapping[str, Any]
_DAYS = ("day", "week", "month", "period")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of figures. kind: money (nano-dollars), usd (dollars as text), count, share, ms or bar."""

    key: str
    label: str
    kind: str = "count"
    is_sortable: bool = True

    def of(self, row: Row) -> Any:
        """Return its value as it is shown: amounts in nano-dollars."""
        value = row[row[METER]] if self.key == QUANTITY and row[METER] else row.get(self.key)
        return parse_usd(value) if self.kind == "usd" and value is not None else value


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in a cell. kind: as of a column, or text, day, hour."""

    kind: str
    value: Any
    href: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class Heading:
    """The head of a column. `sorted`: ascending, descending or empty."""

    label: str
    is_number: bool
    href: str = ""
    sorted: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A row: its groups, its figures, and where it leads: an address with what that shows."""

    groups: Sequence[Cell]
    figures: Sequence[Cell]
    next: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows as they are shown; `left_out` is how many more there are."""

    headings: Sequence[Heading]
    lines: Sequence[Line]
    total: Sequence[Cell]
    left_out: int


QUANTITY = "quantity"
_COST = Column(COST, "Cost", "money")
_SHARE = Column("share", "Share", "bar", is_sortable=False)
_CACHED = Column("cached_share", "Cached", "share")
_SESSIONS = Column("sessions", "Sessions")
_RESPONSES = Column("responses", "Responses")
_SESSION_COST = Column("cost_per_session_usd", "Per session", "usd")
_MINUTE_COST = Column("cost_per_spoken_minute_usd", "Per spoken minute", "usd")
_ESTIMATED = Column("estimated_nanousd", "Estimated", "money")
_UNRATED = Column("unrated_entries", "Without a price")
_AMOUNTS = (
    Column("list_nanousd", "List price", "money"),
    _COST,
    Column("billed_nanousd", "Billed", "money"),
    Column("entries", "Entries"),
)
COLUMNS: Mapping[str, str] = {
    "costs": "Costs",
    "tokens": "Quantities",
    "units": "Unit costs",
    "amounts": "List, cost, billed",
}


def chosen(question: Question, *, is_owed: bool) -> str:
    """Return which columns are asked for. Whoever sees what is owed alone has no other amounts.

    Raises:
        Problem: there are none of this name.
    """
    name = question.showing.get("columns", "costs")
    if name not in choices(is_owed=is_owed):
        raise invalid("query", "columns", f"use one of {', '.join(choices(is_owed=is_owed))}")
    return name


def choices(*, is_owed: bool) -> Mapping[str, str]:
    """Return the columns that there are to choose from, with what they are called."""
    return {name: label for name, label in COLUMNS.items() if name != "amounts" or not is_owed}


def columns_of(name: str, question: Question, total: Row) -> list[Column]:
    """Return the columns of figures; what there is nothing of has none."""
    quantity = [Column(QUANTITY, "Quantity")] if METER in question.groups else []
    apart = [one for one in (_ESTIMATED, _UNRATED) if total[one.key]]
    if name == "tokens":
        kinds = {Meter.DURATION_MS: "ms"}
        meters = [Column(one, METER_LABELS[one], kinds.get(one, "count")) for one in Meter if total[one]]
        return [_COST, *(quantity or meters)]
    if name == "units":
        return [_COST, _SESSIONS, _SESSION_COST, _MINUTE_COST, _CACHED]
    if name == "amounts":
        return [*_AMOUNTS, *apart]
    return [_COST, _SHARE, *quantity, _RESPONSES, _SESSIONS, _CACHED, *apart]


def table_of(question: Question, told: Mapping[str, Any], zones: Zones, *, is_owed: bool) -> Table:
    """Return a report as a table; raises Problem where it cannot be shown so."""
    rows, total = told["rows"], told["total"]
    columns = columns_of(chosen(question, is_owed=is_owed), question, total)
    key, is_down = _order(question, columns)
    if key is not None:
        rows = _sorted(rows, key, columns, is_down)
    shown = rows[:ROWS_SHOWN_MAX]
    most = max((abs(row[COST]) for row in rows), default=0)
    return Table(
        _headings(question, columns, key, is_down),
        [_line(question, row, columns, zones, (most, total[COST])) for row in shown],
        _figures(total, columns, (0, total[COST])),
        len(rows) - len(shown),
    )


# --- The order of rows


def _order(question: Question, columns: Sequence[Column]) -> tuple[str | None, bool]:
    """Return what rows are sorted by, and whether downwards; None is the order of the API.

    Raises:
        Problem: there is no such column.
    """
    sort = question.showing.get("sort")
    if sort is None:
        return (None, False) if time_of(question) == next(iter(question.groups), "") else (COST, True)
    key = sort.removeprefix("-")
    if key not in question.groups and key not in {one.key for one in columns if one.is_sortable}:
        raise invalid(
            "query", "sort", "it should be one of the columns, with - in front for the largest first"
        )
    return key, sort.startswith("-")


def _sorted(rows: Sequence[Row], key: str, columns: Sequence[Column], is_down: bool) -> list[Row]:
    """Return rows in this order; what has no value last, and ties in the order of the API."""
    column = next((one for one in columns if one.key == key), None)

    def value(row: Row) -> Any:
        if column is None:
            return None if row[key] is None else text_of(key, row).casefold()
        found = column.of(row)
        return Decimal(found) if column.kind == "share" and found is not None else found

    have = [row for row in rows if value(row) is not None]
    return [*sorted(have, key=value, reverse=is_down), *(row for row in rows if value(row) is None)]


def _headings(question: Question, columns: Sequence[Column], key: str | None, is_down: bool) -> list[Heading]:
    def heading(name: str, label: str, is_number: bool, is_sortable: bool = True) -> Heading:
        down = not is_down if name == key else is_number
        href = question.shown(sort=f"-{name}" if down else name).href() if is_sortable else ""
        order = "" if name != key else "descending" if is_down else "ascending"
        return Heading(label, is_number, href, order)

    return [
        *(heading(name, group_label(name), is_number=False) for name in question.groups),
        *(heading(one.key, one.label, one.kind != "bar", one.is_sortable) for one in columns),
    ]


# --- Cells


def _line(question: Question, row: Row, columns: Sequence[Column], zones: Zones, of: tuple[int, int]) -> Line:
    groups = [_group_cell(question, name, row, zones) for name in question.groups]
    return Line(groups, _figures(row, columns, of), _next(question, row, zones))


def _next(question: Question, row: Row, zones: Zones) -> tuple[str, str] | None:
    found = into(question, row, zones)
    if found is None:
        return None
    return found.href(), f"By {group_word(found.groups[0])}"


def _group_cell(question: Question, name: str, row: Row, zones: Zones) -> Cell:
    text, kind = text_of(name, row), "text"
    id = row[id_column(name)]
    if name in _DAYS and text != NONE:
        kind = "day"
    if name == "hour":
        kind, text = "text", text.replace("T", " ")
    return Cell(kind, text, _href(question, name, row, zones), "" if id is None or id == text else str(id))


def _href(question: Question, name: str, row: Row, zones: Zones) -> str:
    """Return where a value leads: a session to its page, all else to the report about it alone."""
    if name == "session":
        return f"/sessions/{row[name]}" if row[name] is not None else ""
    changes = changes_for(question, name, row, zones)
    if changes is None:
        return ""
    others = [group for group in question.groups if group != name]
    if not others:
        found = into(question, row, zones)
        return found.href() if found is not None else ""
    return question.but(changes).by(others).href()


def _figures(row: Row, columns: Sequence[Column], of: tuple[int, int]) -> list[Cell]:
    most, whole = of
    cells = []
    for one in columns:
        if one.kind == "bar":
            part = float(Fraction(row[COST], whole)) if whole > 0 else None
            cells.append(Cell("bar", (row[COST], most, part)))
        else:
            cells.append(Cell(_kind(one, row), one.of(row) if one.key != QUANTITY or METER in row else None))
    return cells


def _kind(column: Column, row: Row) -> str:
    """Return how a figure is written: a quantity of a duration is one."""
    if column.key == QUANTITY and row.get(METER) == Meter.DURATION_MS:
        return "ms"
    return "money" if column.kind == "usd" else column.kind
