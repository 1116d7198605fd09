"""End users' surrogate ids: one a name and tenant, for ever the same."""

from sqlalchemy import Engine

from proxy.store.database import writing
from proxy.store.end_users import end_user_ids


def test_a_name_has_one_id_in_each_tenant(database: Engine) -> None:
    with writing(database) as connection:
        first = end_user_ids(connection, [("t1", "bob"), ("t2", "bob"), ("t1", "bob")])
        again = end_user_ids(connection, [("t1", "bob"), ("t1", "eve")])
    assert first.keys() == {("t1", "bob"), ("t2", "bob")}
    assert first["t1", "bob"] != first["t2", "bob"]
    assert again["t1", "bob"] == first["t1", "bob"] != again["t1", "eve"]


def test_names_come_back_as_they_are_stored(database: Engine) -> None:
    with writing(database) as connection:
        assert end_user_ids(connection, []) == {}
        assert end_user_ids(connection, [("t1", "a\0b")]).keys() == {("t1", "a\ufffdb")}
