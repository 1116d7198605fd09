"""Pages: nothing twice and nothing left out, whatever is added meanwhile."""

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, Table, Text, create_engine, insert, select

from proxy.store.pages import Page, is_within

row = Table("row", MetaData(), Column("a", Integer), Column("b", Text), Column("tenant_id", Text))
ROWS = st.sets(st.tuples(st.integers(0, 3), st.sampled_from("abcdef")), max_size=12)


@given(ROWS, ROWS, st.integers(1, 5), st.booleans())
def test_pages_have_each_row_once(
    rows: set[tuple[int, str]], later: set[tuple[int, str]], limit: int, newest_first: bool
) -> None:
    engine = create_engine("sqlite://")
    row.metadata.create_all(engine)
    seen: list[tuple[int, str]] = []
    with engine.begin() as connection:
        for a, b in rows:
            connection.execute(insert(row).values(a=a, b=b, tenant_id="t"))
        while True:
            page = Page(None, seen[-1] if seen else (), limit, newest_first)
            found = [
                tuple(one)
                for one in connection.execute(
                    page.of(select(row.c.a, row.c.b), row.c.a, row.c.b, tenant_id=None)
                )
            ]
            seen += found
            if later:
                a, b = later.pop()
                if (a, b) not in rows:
                    connection.execute(insert(row).values(a=a, b=b, tenant_id="t"))
            if len(found) < limit:
                break
    engine.dispose()
    assert len(seen) == len(set(seen)) and rows <= set(seen)
    assert seen == sorted(seen, reverse=newest_first)


def test_rows_of_other_tenants_are_not_there() -> None:
    engine = create_engine("sqlite://")
    row.metadata.create_all(engine)
    with engine.begin() as connection:
        for number, tenant in enumerate(("t1", "t2", None)):
            connection.execute(insert(row).values(a=number, b="x", tenant_id=tenant))
        page = Page(frozenset({"t1"}))
        assert connection.execute(
            page.of(select(row.c.a), row.c.a, tenant_id=row.c.tenant_id)
        ).scalars().all() == [0]
    engine.dispose()
    assert is_within("t1", None) and is_within("t1", frozenset({"t1"}))
    assert not is_within("t2", frozenset({"t1"})) and not is_within(None, frozenset({"t1"}))
