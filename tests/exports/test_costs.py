"""Cost reports as tables: the same figures, each amount once, whatever they are grouped by."""

from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine

from proxy.exports.costs import costs_table, figure_columns
from proxy.exports.table import Kind
from proxy.store import StoreError, reports
from proxy.store.groups import GROUPS
from proxy.store.reports import CostQuery, run
from tests.generated import generate


def rows_of(engine: Engine, query: CostQuery) -> list[dict[str, Any]]:
    table = costs_table(engine, query)
    names = [column.name for column in table.columns]
    return [dict(zip(names, row, strict=True)) for row in table.rows]


def test_the_figures_are_the_reports(database: Engine) -> None:
    generate(database, 600)
    query = CostQuery(("tenant", "model"))
    told = run(database, query)
    rows = rows_of(database, query)
    assert [(row["tenant"], row["model"]) for row in rows] == [(r["tenant"], r["model"]) for r in told.rows]
    for name in ("cost", "billed", "list", "estimated"):
        assert sum(row[f"{name}_usd"] for row in rows) * 10**9 == told.total[f"{name}_nanousd"]
    assert [f"{row['cost_usd']:f}" for row in rows] == [row["cost_usd"] for row in told.rows]
    assert [row["cached_share"] for row in rows] == [
        None if row["cached_share"] is None else Decimal(row["cached_share"]) for row in told.rows
    ]
    assert [row["responses"] for row in rows] == [row["responses"] for row in told.rows]


def test_every_group_has_its_columns_also_where_there_are_no_rows(database: Engine) -> None:
    names = {
        name: [column.name for column in costs_table(database, CostQuery((name,))).columns] for name in GROUPS
    }
    generate(database, 200)
    for name in GROUPS:
        (first, *_) = run(database, CostQuery((name,))).rows
        assert list(first)[: list(first).index("sessions")] == names[name][: names[name].index("sessions")]
        assert len(rows_of(database, CostQuery((name,)))) > 0


def test_without_groups_it_is_the_total(database: Engine) -> None:
    (row,) = rows_of(database, CostQuery())
    assert (row["entries"], row["cost_usd"]) == (0, 0)


def test_a_tenant_sees_what_it_owes(database: Engine) -> None:
    generate(database, 300)
    (row,) = rows_of(database, CostQuery(is_billed=True))
    assert row["cost_usd"] == row["list_usd"] == row["billed_usd"] != 0


def test_more_rows_than_a_report_has_are_refused(database: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    generate(database, 100)
    monkeypatch.setattr(reports, "ROWS_MAX", 1)
    with pytest.raises(StoreError, match="more than 1 rows"):
        costs_table(database, CostQuery(("day",)))


def test_amounts_are_dollars_and_counts_whole() -> None:
    kinds = {column.name: column.kind for column in figure_columns()}
    assert not [name for name in kinds if name.endswith("_nanousd")]
    assert {kinds[name] for name in kinds if name.endswith("_usd")} == {Kind.DECIMAL}
    assert kinds["responses"] is kinds["audio_in"] is Kind.INTEGER
