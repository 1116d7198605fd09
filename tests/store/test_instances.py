"""Instances: alone on an embedded database, in company on PostgreSQL, and known by name."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from proxy.store import StoreError
from proxy.store.database import open_database, reading
from proxy.store.instances import Unposted, ended, only_instance, register, seen
from proxy.store.schema import instance

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_an_embedded_database_is_for_one(tmp_path: Path) -> None:
    """However the second one spells the path; free again when the first one is gone."""
    (tmp_path / "link").symlink_to(tmp_path)
    with only_instance(f"sqlite:///{tmp_path}/x.db"):
        for path in ("x.db", "link/x.db"):
            refused = pytest.raises(StoreError, match=r"another Talkmeter instance \(pid \d+\).*PostgreSQL")
            with refused, only_instance(f"sqlite:///{tmp_path}/{path}"):
                pass
        with only_instance(f"sqlite:///{tmp_path}/y.db"):
            pass
    with only_instance(f"sqlite:///{tmp_path}/x.db"):
        pass


def test_postgres_is_for_many() -> None:
    """Nothing is locked, nothing is even connected to."""
    url = "postgresql://nobody@127.0.0.1:1/x"
    with only_instance(url), only_instance(url):
        pass


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    """Names the database and what is wrong."""
    refused = pytest.raises(StoreError, match="nowhere/x.db cannot be used: .*No such file")
    with refused, only_instance(f"sqlite:///{tmp_path}/nowhere/x.db"):
        pass


def test_an_instance_is_noted_once(database_url: str) -> None:
    """A restart is the same instance, started anew."""
    engine = open_database(database_url)
    register(engine, "ins_1", Path("j.db"), "0.1.0", NOW)
    register(engine, "ins_1", Path("k.db"), "0.2.0", NOW + timedelta(hours=1))
    seen(engine, "ins_1", Unposted(NOW, parked=2), NOW + timedelta(hours=2))
    with reading(engine) as connection:
        (row,) = connection.execute(select(instance))
    assert (row.journal_path, row.version) == ("k.db", "0.2.0")
    assert (row.started_at, row.seen_at) == (NOW + timedelta(hours=1), NOW + timedelta(hours=2))
    assert (row.unposted_from, row.parked, row.ended_at) == (NOW, 2, None)
    engine.dispose()


def test_an_instance_that_ended_well_and_starts_again(database_url: str) -> None:
    """It has nothing to post any more, until it runs again."""
    engine = open_database(database_url)
    register(engine, "ins_1", Path("j.db"), "0.1.0", NOW)
    seen(engine, "ins_1", Unposted(NOW, parked=2), NOW)
    ended(engine, "ins_1", NOW + timedelta(hours=1))
    with reading(engine) as connection:
        (row,) = connection.execute(select(instance))
    assert (row.unposted_from, row.parked, row.ended_at) == (None, 0, NOW + timedelta(hours=1))
    register(engine, "ins_1", Path("j.db"), "0.1.0", NOW + timedelta(hours=2))
    with reading(engine) as connection:
        assert connection.execute(select(instance.c.ended_at)).scalar_one() is None
    engine.dispose()
