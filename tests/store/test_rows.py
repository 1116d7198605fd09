"""Rows that may be there already."""

from sqlalchemy import Engine, select

from proxy.store.database import writing
from proxy.store.rows import insert_new
from proxy.store.schema import end_user


def test_a_row_that_is_there_stays(database: Engine) -> None:
    rows = [{"id": f"u{n}", "tenant_id": "t1", "name": name} for n, name in enumerate(("bob", "eve", "bob"))]
    with writing(database) as connection:
        insert_new(connection, end_user, ("tenant_id", "name"), rows[:1])
        insert_new(connection, end_user, ("tenant_id", "name"), rows)
        found = connection.execute(select(end_user.c.id, end_user.c.name).order_by(end_user.c.id)).all()
    assert [tuple(row) for row in found] == [("u0", "bob"), ("u1", "eve")]
