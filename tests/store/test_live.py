"""Live sessions and stop orders."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, select

from proxy.store import StoreError
from proxy.store.audit import Act
from proxy.store.database import reading
from proxy.store.live import LIVE_S, SEEN_AGAIN_S, Live, elsewhere, publish, request_stop, stop_orders
from proxy.store.schema import live_session, stop_order
from tests.ledgers import Books

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def live(engine: Engine) -> list[tuple[str, str, int, int]]:
    query = select(
        live_session.c.session_id,
        live_session.c.instance_id,
        live_session.c.cost_nanousd,
        live_session.c.responses,
    )
    with reading(engine) as connection:
        return sorted(tuple(row) for row in connection.execute(query))


def test_an_instance_publishes_what_is_live_and_nothing_of_others(database: Engine) -> None:
    publish(database, "i1", [Live("s1", 10, 1), Live("s2", 20, 2)], NOW)
    publish(database, "i2", [Live("s3", 0, 0)], NOW)
    publish(database, "i1", [Live("s2", 25, 3), Live("s4", 0, 0)], NOW)
    assert live(database) == [("s2", "i1", 25, 3), ("s3", "i2", 0, 0), ("s4", "i1", 0, 0)]
    publish(database, "i1", [], NOW)
    assert live(database) == [("s3", "i2", 0, 0)]


def test_a_stop_order_reaches_the_instance_that_has_the_session(database: Engine) -> None:
    publish(database, "i1", [Live("s1", 0, 0), Live("s2", 0, 0)], NOW)
    request_stop(database, "s1", Act("test", NOW, "first"))
    request_stop(database, "s1", Act("test", NOW, "too loud"))
    assert stop_orders(database, "i1") == {"s1": "too loud"}
    assert stop_orders(database, "i2") == {}


def test_an_order_ends_with_its_session(database: Engine) -> None:
    publish(database, "i1", [Live("s1", 0, 0)], NOW)
    request_stop(database, "s1", Act("test", NOW, "enough"))
    publish(database, "i1", [], NOW)
    assert stop_orders(database, "i1") == {}
    with reading(database) as connection:
        assert connection.execute(select(stop_order)).all() == []


def test_only_live_sessions_can_be_stopped(database: Engine) -> None:
    publish(database, "i1", [Live("s1", 0, 0)], NOW)
    with pytest.raises(StoreError, match="'s2' is live"):
        request_stop(database, "s2", Act("test", NOW, "no such"))
    with pytest.raises(StoreError, match="'s1' is live"):
        request_stop(database, "s1", Act("test", NOW + timedelta(seconds=LIVE_S + 1), "its instance died"))


def test_a_session_that_did_not_change_is_written_only_to_be_seen(database: Engine) -> None:
    def seen_at() -> object:
        with reading(database) as connection:
            return connection.execute(select(live_session.c.seen_at)).scalar_one()

    publish(database, "i1", [Live("s1", 10, 1)], NOW)
    publish(database, "i1", [Live("s1", 10, 1)], NOW + timedelta(seconds=1))
    assert seen_at() == NOW
    publish(database, "i1", [Live("s1", 10, 1)], NOW + timedelta(seconds=SEEN_AGAIN_S))
    assert seen_at() == NOW + timedelta(seconds=SEEN_AGAIN_S)
    publish(database, "i1", [Live("s1", 11, 1)], NOW + timedelta(seconds=SEEN_AGAIN_S + 1))
    assert seen_at() == NOW + timedelta(seconds=SEEN_AGAIN_S + 1)


def test_sessions_on_other_instances_are_counted_by_tenant_and_key(database: Engine) -> None:
    books = Books(database)
    for session_id, tenant in (("s1", "acme"), ("s2", "acme"), ("s3", "globex"), ("s4", "acme")):
        books.open(session_id, tenant)
    acme, globex = books.key("acme"), books.key("globex")
    publish(database, "i1", [Live("s1", 0, 0)], NOW)
    publish(database, "i2", [Live("s2", 0, 0), Live("s3", 0, 0)], NOW)
    publish(database, "i3", [Live("s4", 0, 0)], NOW - timedelta(seconds=LIVE_S))  # it died
    assert elsewhere(database, "i1", NOW) == {
        acme.tenant_id: 1,
        acme.id: 1,
        globex.tenant_id: 1,
        globex.id: 1,
    }
    assert elsewhere(database, "i4", NOW)[acme.id] == 2
