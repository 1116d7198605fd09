"""A cost report as a table: a column for each group, then the figures, in dollars."""

from collections.abc import Iterator, Mapping
from decimal import Decimal

from sqlalchemy import Engine

from proxy.exports.ledger import dollars
from proxy.exports.table import Column, Kind, Row, Table
from proxy.store.groups import titles_of
from proxy.store.reports import CostQuery, Report, ReportRow, run
from proxy.store.totals import FIGURES

_NANOUSD, _USD = "_nanousd", "_usd"
_SHARES: Mapping[str, int] = {"cached_share": 4}


def costs_table(engine: Engine, query: CostQuery) -> Table:
    """Return the answer to `query`: its rows, or the total where nothing is grouped by.

    Raises:
        StoreError: the question cannot be answered so, or has too many rows (`reports.ROWS_MAX`).
    """
    answer = run(engine, query)
    groups = [title for name in query.group_by for title in titles_of(name)]
    figures = figure_columns()
    return Table([*(Column(title) for title in groups), *figures], _rows(answer, groups, figures))


def figure_columns() -> list[Column]:
    """Return a column for each figure of a report; each amount once, in dollars."""
    in_nanousd = {name.removesuffix(_NANOUSD) for name in FIGURES if name.endswith(_NANOUSD)}
    return [_figure(name) for name in FIGURES if name.removesuffix(_USD) not in in_nanousd]


def _figure(name: str) -> Column:
    if name in _SHARES:
        return Column(name, Kind.DECIMAL, decimals=_SHARES[name])
    if name.endswith(_NANOUSD):
        return Column(name.removesuffix(_NANOUSD) + _USD, Kind.DECIMAL)
    return Column(name, Kind.DECIMAL if name.endswith(_USD) else Kind.INTEGER)


def _rows(answer: Report, groups: list[str], figures: list[Column]) -> Iterator[Row]:
    for row in answer.rows if answer.query.group_by else [answer.total]:
        yield (*(row[title] for title in groups), *(_value(row, column) for column in figures))


def _value(row: ReportRow, column: Column) -> object:
    nanousd = row.get(column.name.removesuffix(_USD) + _NANOUSD)
    if isinstance(nanousd, int):
        return dollars(nanousd)
    value = row[column.name]
    return Decimal(value) if column.kind is Kind.DECIMAL and value is not None else value
