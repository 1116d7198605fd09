"""Sums over entries and lines, for questions that rollups cannot answer, and for counting sessions."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Select, and_, case, distinct, func, select, true

from proxy.core.records import Kind, Role
from proxy.store.groups import Group
from proxy.store.schema import THREE_AMOUNTS, ledger_entry, ledger_line
from proxy.store.sums import exact, parts
from proxy.store.totals import Key, Totals, TotalsBy

_entry = ledger_entry.c


class Lines:
    """Entries that fulfil `wanted`: whole ones, or `by_line` what the lines that are `meant` have of them."""

    def __init__(
        self, wanted: Sequence[ColumnElement[bool]], meant: Sequence[ColumnElement[bool]], *, by_line: bool
    ) -> None:
        self._wanted = wanted
        self._meant = meant
        self._by_line = by_line

    def sums(self, connection: Connection, groups: Sequence[Group], rows_max: int) -> TotalsBy:
        """Return what each group comes to, sessions included; of one group more than `rows_max` at most."""
        columns = [column for group in groups for column in group.columns]
        query = grouped(self._amounts(), columns).limit(rows_max + 1)
        totals = {tuple(row[: len(columns)]): _totals(row) for row in connection.execute(query)}
        for key, meter, quantity in self._quantities(connection, columns):
            if key in totals:
                totals[key].quantities[meter] = quantity
        return totals

    def sessions(self, connection: Connection, groups: Sequence[Group]) -> dict[Key, int]:
        """Return how many sessions each group has."""
        columns = [column for group in groups for column in group.columns]
        count = func.count(distinct(_entry.session_id)).label("sessions")
        query = grouped(select(count).select_from(self._source()).where(*self._wanted), columns)
        return {tuple(row[: len(columns)]): int(row.sessions) for row in connection.execute(query)}

    def _source(self) -> FromClause:
        if not self._by_line:
            return ledger_entry
        if self._meant:
            return ledger_entry.join(ledger_line, and_(ledger_line.c.entry_id == _entry.id, *self._meant))
        return ledger_entry.outerjoin(ledger_line)

    def _amounts(self) -> Select[Any]:
        amounts = {name: _of_line(name) if self._by_line else _entry[name] for name in THREE_AMOUNTS}
        facts = [
            func.count(distinct(_entry.session_id)).label("sessions"),
            self._count((_entry.kind == Kind.RESPONSE) & (_entry.role == Role.ORIGINAL)).label("responses"),
            self._count(true()).label("entries"),
            self._count(_entry.cost_nanousd.is_(None) & (_entry.role != Role.REVERSAL)).label("unrated"),
            self._count(_entry.cost_nanousd.is_(None) & (_entry.role == Role.REVERSAL)).label("taken_back"),
            *(half for name in THREE_AMOUNTS for half in parts(amounts[name], name)),
            *parts(case((_entry.estimated, amounts["cost_nanousd"])), "estimated_nanousd"),
            *parts(case((_entry.estimated, amounts["billed_nanousd"])), "estimated_billed_nanousd"),
        ]
        return select(*facts).select_from(self._source()).where(*self._wanted)

    def _count(self, which: ColumnElement[bool]) -> ColumnElement[int]:
        """Return how many entries there are of a kind; an entry can have several lines."""
        counted = case((which, _entry.id))
        return func.count(distinct(counted) if self._by_line else counted)

    def _quantities(
        self, connection: Connection, columns: Sequence[ColumnElement[Any]]
    ) -> Iterator[tuple[Key, str, int]]:
        facts = select(ledger_line.c.meter.label("of_meter"), *parts(ledger_line.c.quantity, "quantity"))
        joined = facts.select_from(ledger_entry.join(ledger_line)).where(*self._wanted, *self._meant)
        for row in connection.execute(grouped(joined, columns, ledger_line.c.meter)):
            yield tuple(row[: len(columns)]), row.of_meter, exact(row, "quantity")


def _of_line(name: str) -> ColumnElement[Any]:
    """Return the amount of one meter: null in unrated entries, so that the rows still sum to the total."""
    return case(
        (_entry.cost_nanousd.is_(None), None),
        (ledger_line.c.entry_id.is_(None), _entry[name]),
        else_=ledger_line.c[name],
    )


def _totals(row: Any) -> Totals:
    return Totals(
        sessions=int(row.sessions),
        responses=int(row.responses),
        entries=int(row.entries),
        unrated=int(row.unrated) - int(row.taken_back),
        list_nanousd=exact(row, "list_nanousd"),
        cost_nanousd=exact(row, "cost_nanousd"),
        billed_nanousd=exact(row, "billed_nanousd"),
        estimated_nanousd=exact(row, "estimated_nanousd"),
        estimated_billed_nanousd=exact(row, "estimated_billed_nanousd"),
    )


def grouped(
    facts: Select[Any], columns: Sequence[ColumnElement[Any]], *more: ColumnElement[Any]
) -> Select[Any]:
    """Return `facts` with the columns in front and grouped by them.

    Grouped by label: PostgreSQL would not see that two expressions with parameters are the same.
    """
    labels = [column.label(f"group_{number}") for number, column in enumerate(columns)]
    names = [label.name for label in labels]
    return facts.with_only_columns(*labels, *facts.selected_columns).group_by(*names, *more)
