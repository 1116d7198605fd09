"""What goes to whom, when it is tried again, and what is kept."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, select

from proxy.store import StoreError
from proxy.store.audit import Act, list_audit
from proxy.store.database import reading, writing
from proxy.store.deliveries import (
    CLAIM_LASTS,
    RETRY_AFTER,
    Claim,
    Outcome,
    claim,
    fan_out,
    list_deliveries,
    prune,
    record,
    redeliver,
    waiting,
)
from proxy.store.schema import delivery, outbox
from proxy.store.tenants import create_tenant
from proxy.store.webhooks import DELETED, create_webhook, delete_webhook
from tests.announcements import THRESHOLD, announce

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
URL = "https://example.com/hook"


def claims(connection: Connection, now: datetime, room: int = 8, limit: int = 64) -> list[Claim]:
    return claim(connection, now, lambda _: room, limit)


def hook(engine: Engine, tenant: str | None = None, *kinds: str) -> str:
    with writing(engine) as connection:
        made, _ = create_webhook(connection, url=URL, tenant_name=tenant, kinds=kinds, act=Act("test", NOW))
    return made.id


def test_each_webhook_gets_its_tenants_announcements_of_its_kinds(database: Engine) -> None:
    with writing(database) as connection:
        acme, globex = (create_tenant(connection, name, Act("test", NOW)).id for name in ("acme", "globex"))
    everything, acmes, cuts = hook(database), hook(database, "acme"), hook(database, "acme", "budget.cut")
    ids = [
        announce(database, "a", NOW, "session.ended", acme),
        announce(database, "b", NOW, "budget.cut", acme),
        announce(database, "c", NOW, "budget.cut", globex),
        announce(database, "d", NOW, "budget.threshold", None),
    ]
    with writing(database) as connection:
        assert [one.id for one in fan_out(connection, NOW)] == ids
        assert fan_out(connection, NOW) == []
        sent = {(one.webhook_id, one.announcement.key) for one in claims(connection, NOW)}
    assert sent == {
        *((everything, key) for key in "abcd"),
        *((acmes, key) for key in "ab"),
        (cuts, "b"),
    }


def test_a_lower_id_that_appears_later_is_not_passed_over(database: Engine) -> None:
    """As of a transaction on PostgreSQL that began first and committed last."""
    hook(database)
    with writing(database) as connection:
        row: dict[str, object] = {"kind": "budget.cut", "tenant_id": None, "at": NOW, "payload": {}}
        connection.execute(outbox.insert().values(id=7, key="later", **row))
        assert [one.id for one in fan_out(connection, NOW)] == [7]
        connection.execute(outbox.insert().values(id=3, key="earlier", **row))
        assert [one.id for one in fan_out(connection, NOW)] == [3]


def test_a_claim_keeps_others_off_until_it_lapses(database: Engine) -> None:
    hook(database)
    announce(database, "a", NOW)
    with writing(database) as connection:
        assert waiting(connection, NOW)
        fan_out(connection, NOW)
        (first,) = claims(connection, NOW)
        assert claims(connection, NOW) == [] and not waiting(connection, NOW)
        (second,) = claims(connection, NOW + CLAIM_LASTS)
        assert (first.attempts, second.attempts) == (1, 2)
        record(connection, [Outcome(first, 500, "too late")], NOW)
        (row,) = list_deliveries(connection)
        assert row.error is None, "the second attempt's outcome counts"


def test_room_and_limit_bound_what_is_taken(database: Engine) -> None:
    one, other = hook(database), hook(database)
    for n in range(5):
        announce(database, f"a{n}", NOW)
    with writing(database) as connection:
        fan_out(connection, NOW)
        taken = claim(connection, NOW, {one: 1, other: 3}.__getitem__, 64)
        assert sorted(c.webhook_id for c in taken) == sorted([one, *[other] * 3])
        assert len(claims(connection, NOW, limit=2)) == 2
        assert claims(connection, NOW, limit=0) == []


@pytest.mark.parametrize("attempts", range(1, 10))
def test_retries_come_later_and_later_and_then_end(attempts: int) -> None:
    tried = Claim(None, "whk_1", URL, (), attempts)  # type: ignore[arg-type]
    failed = Outcome(tried, 503, "it answered 503")
    expected = NOW + RETRY_AFTER[attempts - 1] if attempts <= 7 else None
    assert failed.next_at(NOW) == expected and failed.gives_up is (expected is None)
    assert Outcome(tried, 410, "it answered 410").gives_up
    assert Outcome(tried, 204, None).next_at(NOW) is None


def test_a_deleted_webhook_is_sent_nothing_more(database: Engine) -> None:
    gone = hook(database)
    announce(database, "a", NOW)
    with writing(database) as connection:
        fan_out(connection, NOW)
        delete_webhook(connection, gone, Act("test", NOW))
        assert claims(connection, NOW) == []
        (row,) = list_deliveries(connection, webhook_id=gone)
        assert (row.error, row.next_at, row.delivered_at) == (DELETED, None, None)


def test_what_is_done_can_be_sent_again_and_what_is_not_cannot(database: Engine) -> None:
    there = hook(database)
    number = announce(database, "a", NOW)
    with writing(database) as connection:
        fan_out(connection, NOW)
        with pytest.raises(StoreError, match="still being tried"):
            redeliver(connection, number, there, Act("test", NOW))
        (tried,) = claims(connection, NOW)
        record(connection, [Outcome(tried, 200, None)], NOW)
        redeliver(connection, number, there, Act("test", NOW))
        noted = list_audit(connection)[-1]
        assert (noted.action, noted.object, noted.after) == (
            "webhook.redeliver",
            there,
            {"delivery": number},
        )
        (again,) = claims(connection, NOW)
        assert again.attempts == 1
        with pytest.raises(StoreError, match="no delivery 99"):
            redeliver(connection, 99, there, Act("test", NOW))
        with pytest.raises(StoreError, match="no webhook 'x'"):
            redeliver(connection, number, "x", Act("test", NOW))


def keys_left(engine: Engine) -> set[str]:
    with reading(engine) as connection:
        return set(connection.execute(select(outbox.c.key)).scalars())


def test_what_is_done_is_pruned_after_thirty_days(database: Engine) -> None:
    hook(database)
    old = NOW - timedelta(days=31)
    announce(database, "done", old)
    announce(database, "recent", NOW)
    with writing(database) as connection:
        assert prune(connection, NOW) == 0, "what was not fanned out yet stays"
        fan_out(connection, NOW)
        assert prune(connection, NOW) == 0, "what is being tried stays"
        record(connection, [Outcome(one, 200, None) for one in claims(connection, NOW)], NOW)
        assert prune(connection, NOW) == 2
        assert len(connection.execute(select(delivery)).all()) == 1
    assert keys_left(database) == {"recent"}


def test_a_thresholds_row_outlives_its_window(database: Engine) -> None:
    """It is what keeps the threshold from being announced a second time."""
    for days in (40, 101):
        for window in ("quarter", "lifetime"):
            at = NOW - timedelta(days=days)
            payload = THRESHOLD | {"window": window}
            announce(database, f"{window} {days}", at, "budget.threshold", payload=payload)
        announce(database, f"tags {days}", at, payload={"tags": {"window": "lifetime"}})
    with writing(database) as connection:
        fan_out(connection, NOW)
        prune(connection, NOW)
    assert keys_left(database) == {"quarter 40", "lifetime 40", "lifetime 101"}
