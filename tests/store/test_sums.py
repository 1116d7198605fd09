"""Sums that neither overflow nor lose a nano-dollar."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Column, Engine, Integer, MetaData, Table, create_engine, insert, select

from proxy.core.money import AMOUNT_NANOUSD_MAX
from proxy.store.sums import exact, parts
from tests.tampering import owning

amounts = Table("amounts", MetaData(), Column("id", Integer, primary_key=True), Column("amount", BigInteger))
BIG = AMOUNT_NANOUSD_MAX


@pytest.mark.parametrize(
    "values",
    [[], [None], [0, None, 5], [BIG] * 5, [-BIG] * 5, [-1, -1], [BIG, -BIG, 1], [2**32, -(2**32) - 1]],
)
def test_sums_are_exact(database: Engine, values: list[int | None]) -> None:
    with owning(database) as connection:
        amounts.create(connection)
        if values:
            connection.execute(insert(amounts), [{"amount": value} for value in values])
        row = connection.execute(select(*parts(amounts.c.amount, "total"))).one()
    assert exact(row, "total") == sum(value for value in values if value is not None)


@given(st.lists(st.integers(-BIG - 1, BIG), max_size=30))
def test_any_amounts_add_up(values: list[int]) -> None:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        amounts.create(connection)
        if values:
            connection.execute(insert(amounts), [{"amount": value} for value in values])
        row = connection.execute(select(*parts(amounts.c.amount, "total"))).one()
    engine.dispose()
    assert exact(row, "total") == sum(values)
