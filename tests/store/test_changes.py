"""The change counter moves with the change, or not at all."""

import pytest
from sqlalchemy import Engine

from proxy.store.changes import bump, current
from proxy.store.database import reading, writing


def test_a_change_counts_when_it_is_committed(database: Engine) -> None:
    def count() -> int:
        with reading(database) as connection:
            return current(connection)

    before = count()
    with writing(database) as connection:
        bump(connection)
        assert current(connection) == before + 1
    assert count() == before + 1
    with pytest.raises(ZeroDivisionError), writing(database) as connection:
        bump(connection)
        raise ZeroDivisionError
    assert count() == before + 1
