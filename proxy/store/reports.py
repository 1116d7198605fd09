"""Cost reports: one query object, the same rows for the command line, the API and exports.

Sums are exact. Entries without a cost are counted apart and add nothing: a total is what is known,
and `unrated_entries` says how much is not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Select, case, func, select

from proxy.core.money import format_usd
from proxy.core.usage import Meter
from proxy.store import StoreError
from proxy.store.database import reading
from proxy.store.filters import EVERYTHING, Filters, conditions
from proxy.store.groups import METER, Group, check_groups, make_groups
from proxy.store.instants import format_instant
from proxy.store.schema import ledger_entry, ledger_line
from proxy.store.sums import RESPONSES, UNRATED, exact, parts

ROWS_MAX = 100_000

ReportRow = Mapping[str, str | int | None]
_Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class CostQuery:
    """What a report is about. Days, hours and months are those of `zone`.

    `group_by` holds names out of `groups.GROUPS`, or `tag:NAME`.
    """

    group_by: Sequence[str] = ()
    filters: Filters = EVERYTHING
    zone: tzinfo = UTC
    is_billed: bool = False  # costs are what tenants owe, and not what we are charged


@dataclass(frozen=True, slots=True)
class Report:
    """The answer: a row for every group that has entries, and the total."""

    query: CostQuery
    rows: Sequence[ReportRow]
    total: ReportRow

    def as_json(self) -> dict[str, Any]:
        filters = self.query.filters
        return {
            "from": filters.start and format_instant(filters.start),
            "to": filters.end and format_instant(filters.end),
            "group_by": list(self.query.group_by),
            "rows": list(self.rows),
            "total": self.total,
        }


def run(engine: Engine, query: CostQuery) -> Report:
    """Answer `query` from one state of the database.

    Raises:
        StoreError: a group or a filter does not exist, or there would be too many rows.
    """
    check_groups(query.group_by)
    with reading(engine) as connection:
        wanted = conditions(connection, query.filters)
        groups = make_groups(connection, query.group_by, query.zone, wanted)
        total = _sums(connection, wanted, [], query)[()]
        rows = _rows(connection, wanted, groups, query) if groups else []
    return Report(query, rows, total)


def _rows(
    connection: Connection, wanted: Sequence[ColumnElement[bool]], groups: Sequence[Group], query: CostQuery
) -> list[ReportRow]:
    """Return the rows in the order of their groups, what has none of a kind last."""
    sums = _sums(connection, wanted, groups, query)
    shown: list[dict[str, str | int | None]] = [{} for _ in sums]
    start = 0
    for group in groups:
        end = start + len(group.columns)
        values = group.show(connection, [key[start:end] for key in sums])
        for row, value in zip(shown, values, strict=True):
            row |= value
        start = end
    rows = [{**group, **amounts} for group, amounts in zip(shown, sums.values(), strict=True)]
    names = [group.name for group in groups]
    return sorted(rows, key=lambda row: [_rank(name, row[name]) for name in names])


def _rank(group: str, value: str | int | None) -> tuple[bool, str]:
    """Return what to sort by: text as it is; an hour as its instant, since one a year comes twice."""
    if group == "hour" and value is not None:
        value = format_instant(datetime.fromisoformat(str(value)))
    return value is None, str(value)


def _sums(
    connection: Connection, wanted: Sequence[ColumnElement[bool]], groups: Sequence[Group], query: CostQuery
) -> dict[_Key, ReportRow]:
    """Return what each group comes to, by the values of its columns."""
    columns = [column for group in groups for column in group.columns]
    by_meter = any(group.name == METER for group in groups)
    amounts = connection.execute(
        _amounts(columns, by_meter, query.is_billed).where(*wanted).limit(ROWS_MAX + 1)
    ).all()
    if len(amounts) > ROWS_MAX:
        raise StoreError(f"This report has more than {ROWS_MAX:,} rows: narrow it, or group by less.")
    quantities = _quantities(connection, wanted, columns)
    sums: dict[_Key, ReportRow] = {}
    for row in amounts:
        key = tuple(row[: len(columns)])
        counted = quantities.get(key, {})
        sums[key] = {
            "sessions": int(row.sessions),
            "responses": int(row.responses or 0),
            "cost_nanousd": exact(row, "cost"),
            "cost_usd": format_usd(exact(row, "cost")),
            "estimated_nanousd": exact(row, "estimated"),
            "unrated_entries": int(row.unrated or 0),
            **{meter.value: counted.get(meter.value, 0) for meter in Meter},
        }
    return sums


def _amounts(columns: Sequence[ColumnElement[Any]], by_meter: bool, is_billed: bool) -> Select[Any]:
    name = "billed_nanousd" if is_billed else "cost_nanousd"
    cost = _cost_by_meter(name) if by_meter else ledger_entry.c[name]
    source = ledger_entry.outerjoin(ledger_line) if by_meter else ledger_entry
    facts = [
        func.count(ledger_entry.c.session_id.distinct()).label("sessions"),
        RESPONSES,
        UNRATED,
        *parts(cost, "cost"),
        *parts(case((ledger_entry.c.estimated, cost)), "estimated"),
    ]
    return _grouped(select(*facts).select_from(source), columns)


def _cost_by_meter(name: str) -> ColumnElement[Any]:
    """Return the cost of one meter: so that the rows still sum to the total, null in unrated entries."""
    return case(
        (ledger_entry.c.cost_nanousd.is_(None), None),
        (ledger_line.c.entry_id.is_(None), ledger_entry.c[name]),
        else_=ledger_line.c[name],
    )


def _quantities(
    connection: Connection, wanted: Sequence[ColumnElement[bool]], columns: Sequence[ColumnElement[Any]]
) -> dict[_Key, dict[str, int]]:
    """Return each group's quantity per meter."""
    facts = select(ledger_line.c.meter.label("of_meter"), *parts(ledger_line.c.quantity, "quantity"))
    query = _grouped(facts.select_from(ledger_entry.join(ledger_line)), columns, ledger_line.c.meter)
    quantities: dict[_Key, dict[str, int]] = {}
    for row in connection.execute(query.where(*wanted)):
        quantities.setdefault(tuple(row[: len(columns)]), {})[row.of_meter] = exact(row, "quantity")
    return quantities


def _grouped(
    facts: Select[Any], columns: Sequence[ColumnElement[Any]], *more: ColumnElement[Any]
) -> Select[Any]:
    """Return `facts` with the columns in front and grouped by them.

    Grouped by label: PostgreSQL would not see that two expressions with parameters are the same.
    """
    labels = [column.label(f"group_{number}") for number, column in enumerate(columns)]
    names = [label.name for label in labels]
    return facts.with_only_columns(*labels, *facts.selected_columns).group_by(*names, *more)
