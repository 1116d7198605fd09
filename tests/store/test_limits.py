"""Limits and model rules: kept by owner, checked, and seen by the catalogue."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, Engine, insert

from proxy.core.identity import Principal
from proxy.core.limits import NO_LIMITS, LimitName, Limits
from proxy.core.models import ALL_MODELS, ModelRule
from proxy.store import StoreError, changes, limits, tenants
from proxy.store.audit import Act
from proxy.store.catalog import Catalog
from proxy.store.database import writing
from proxy.store.schema import limit_rule

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PEPPER = b"a pepper for tests only"


@pytest.fixture
def connection(database: Engine) -> Iterator[Connection]:
    with writing(database) as connection:
        for name in ("acme", "globex"):
            tenants.create_tenant(connection, name, Act("test", NOW))
        yield connection


def make_key(connection: Connection, tenant: str = "acme") -> tenants.Key:
    return tenants.create_key(connection, PEPPER, tenant_name=tenant, act=Act("test", NOW))[0]


def test_a_limit_is_set_replaced_and_removed(connection: Connection) -> None:
    key = make_key(connection)
    before = changes.current(connection)
    limits.set_limit(connection, "acme", LimitName.RESPONSES, 5, act=Act("test", NOW))
    limits.set_limit(connection, "acme", LimitName.RESPONSES, 7, act=Act("test", NOW))
    made = limits.set_limit(
        connection, "acme", LimitName.IDLE_SECONDS, 1_500, key_id=key.id, act=Act("test", NOW)
    )
    assert (made.tenant, made.api_key_id, made.unit, made.figure) == ("acme", key.id, "ms", "1.5 s")
    assert changes.current(connection) == before + 3
    assert limits.load_limits(connection) == {key.tenant_id: Limits(responses=7), key.id: Limits(idle_s=1.5)}
    assert [one.value for one in limits.list_limits(connection)] == [7, 1_500]
    assert limits.list_limits(connection, "globex") == []
    assert limits.remove_limit(connection, "acme", LimitName.RESPONSES, act=Act("test", NOW)).value == 7
    assert (
        limits.remove_limit(connection, "acme", LimitName.IDLE_SECONDS, key_id=key.id, act=Act("test", NOW))
        == made
    )
    assert limits.load_limits(connection) == {} and changes.current(connection) == before + 5


def test_limits_of_a_newer_version_are_left_alone(connection: Connection) -> None:
    tenant = tenants.find_tenant(connection, "acme").id
    row = {"owner_id": tenant, "tenant_id": tenant, "name": "what is to come", "value": 1}
    connection.execute(insert(limit_rule).values(**row))
    assert limits.load_limits(connection) == {tenant: NO_LIMITS}
    assert limits.list_limits(connection) == []


def test_model_rules_are_set_turned_and_removed(connection: Connection) -> None:
    key = make_key(connection)
    limits.set_model(connection, "acme", " gpt-* ", True, act=Act("test", NOW))
    limits.set_model(connection, "acme", "gpt-mini", True, act=Act("test", NOW))
    limits.set_model(connection, "acme", "gpt-mini", False, act=Act("test", NOW))
    made = limits.set_model(connection, "acme", "whisper-1", False, key_id=key.id, act=Act("test", NOW))
    assert limits.load_models(connection) == {
        key.tenant_id: (ModelRule("gpt-*", True), ModelRule("gpt-mini", False)),
        key.id: (ModelRule("whisper-1", False),),
    }
    assert [one.model for one in limits.list_models(connection)] == ["gpt-*", "gpt-mini", "whisper-1"]
    assert limits.list_models(connection, "globex") == []
    assert limits.remove_model(connection, "acme", "whisper-1", key_id=key.id, act=Act("test", NOW)) == made
    assert not limits.remove_model(connection, "acme", "gpt-mini", act=Act("test", NOW)).allowed


def test_what_cannot_be_kept_is_refused(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RULES_MAX", 1)
    limits.set_model(connection, "acme", "one", True, act=Act("test", NOW))
    limits.set_model(connection, "acme", "one", False, act=Act("test", NOW))
    others = make_key(connection, "globex").id
    responses = LimitName.RESPONSES
    refused: list[tuple[Callable[[], object], str]] = [
        (lambda: limits.set_limit(connection, "nobody", responses, 1, act=Act("test", NOW)), "no tenant"),
        (
            lambda: limits.set_limit(connection, "acme", responses, 1, key_id=others, act=Act("test", NOW)),
            "has no key",
        ),
        (lambda: limits.set_limit(connection, "acme", responses, 0, act=Act("test", NOW)), "above 0"),
        (lambda: limits.set_limit(connection, "acme", responses, 2**63, act=Act("test", NOW)), "above 0"),
        (
            lambda: limits.remove_limit(connection, "acme", responses, act=Act("test", NOW)),
            "No limit responses",
        ),
        (lambda: limits.set_model(connection, "acme", "two", True, act=Act("test", NOW)), "already"),
        (lambda: limits.set_model(connection, "acme", "", True, act=Act("test", NOW)), "printable"),
        (lambda: limits.set_model(connection, "acme", "a\nb", True, act=Act("test", NOW)), "printable"),
        (lambda: limits.set_model(connection, "acme", "a*b", True, act=Act("test", NOW)), "at the end"),
        (lambda: limits.remove_model(connection, "acme", "two", act=Act("test", NOW)), "No rule"),
    ]
    for action, problem in refused:
        with pytest.raises(StoreError, match=problem):
            action()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        (LimitName.SESSION_SECONDS, "600", 600_000),
        (LimitName.IDLE_SECONDS, "0.001", 1),
        (LimitName.MINUTE_COST, "1.25", 1_250_000_000),
        (LimitName.SELF_TALK, "3", 3),
    ],
)
def test_values_as_people_write_them(name: LimitName, text: str, value: int) -> None:
    assert limits.parse_value(name, text) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (LimitName.SESSION_SECONDS, "0.0001"),
        (LimitName.SESSION_SECONDS, "inf"),
        (LimitName.SESSION_SECONDS, "nan"),
        (LimitName.SESSION_SECONDS, "1e30"),
        (LimitName.SESSION_SECONDS, "-1"),
        (LimitName.SESSION_COST, "0"),
        (LimitName.SESSION_COST, "much"),
        (LimitName.RESPONSES, "-3"),
        (LimitName.RESPONSES, "³"),
        (LimitName.RESPONSES, ""),
    ],
)
def test_values_that_are_none(name: LimitName, text: str) -> None:
    with pytest.raises(StoreError, match=str(name)):
        limits.parse_value(name, text)


async def test_the_catalogue_knows_them(database: Engine) -> None:
    with writing(database) as connection:
        tenants.create_tenant(connection, "acme", Act("test", NOW))
        key = make_key(connection)
    catalog = Catalog(database, PEPPER, aliases={"ours": "gpt-mini"})
    catalog.start()
    try:
        who = Principal(key.id, key.tenant_id, "acme")
        assert catalog.limits_for(who) is NO_LIMITS and catalog.models_for(who) is ALL_MODELS
        version = catalog.version
        with writing(database) as connection:
            limits.set_limit(connection, "acme", LimitName.RESPONSES, 7, act=Act("test", NOW))
            limits.set_limit(connection, "acme", LimitName.SESSIONS, 9, act=Act("test", NOW))
            limits.set_limit(connection, "acme", LimitName.RESPONSES, 5, key_id=key.id, act=Act("test", NOW))
            limits.set_model(connection, "acme", "gpt-*", True, act=Act("test", NOW))
            limits.set_model(connection, "acme", "gpt-mini", False, key_id=key.id, act=Act("test", NOW))
        await catalog.authenticate("tm_" + "x" * 43, NOW)  # a look at the database
        assert catalog.version > version and catalog.counts_sessions
        assert catalog.limits_for(who) == Limits(responses=5, sessions=9)
        assert catalog.limits_of(key.id) == Limits(responses=5)
        models = catalog.models_for(who)
        assert models.refusal("gpt-realtime") is None
        assert models.refusal("whisper-1") and models.refusal("gpt-mini") and models.refusal("ours")
    finally:
        catalog.stop()
