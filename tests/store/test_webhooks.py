"""Webhooks as they are kept."""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, select

from proxy.store import StoreError
from proxy.store.audit import Act
from proxy.store.changes import current
from proxy.store.database import open_database, reading, writing
from proxy.store.schema import webhook
from proxy.store.tenants import archive_tenant, create_tenant
from proxy.store.webhooks import (
    WEBHOOKS_MAX,
    create_webhook,
    delete_webhook,
    find_webhook,
    list_webhooks,
    rotate_secret,
)

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
URL = "https://example.com/hook?a=1"


@pytest.fixture
def sqlite_engine(sqlite_url: str) -> Iterator[Engine]:
    engine = open_database(sqlite_url)
    yield engine
    engine.dispose()


def test_made_listed_and_deleted(database: Engine) -> None:
    with writing(database) as connection:
        create_tenant(connection, "acme", Act("test", NOW))
        before = current(connection)
        everything, secret = create_webhook(connection, url=URL, act=Act("test", NOW))
        acmes, other = create_webhook(
            connection,
            url=URL,
            act=Act("test", NOW),
            tenant_name="acme",
            kinds=["session.ended", "budget.cut"],
        )
        assert current(connection) == before + 2
        assert secret != other and len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
        assert everything.kinds == [
            "budget.threshold",
            "budget.cut",
            "session.ended",
            "spend.anomaly",
            "budget.forecast",
            "spend.unexplained",
        ]
        assert acmes.kinds == ["budget.cut", "session.ended"] and acmes.tenant == "acme"
        assert list_webhooks(connection) == [everything, acmes]
        assert list_webhooks(connection, "acme") == [acmes]
        delete_webhook(connection, acmes.id, Act("test", NOW))
        assert list_webhooks(connection) == [everything] and current(connection) == before + 3
        kept = connection.execute(select(webhook.c.secret).where(webhook.c.id == acmes.id)).scalar_one()
        assert kept == ""
        with pytest.raises(StoreError, match="no webhook"):
            find_webhook(connection, acmes.id)


def test_a_new_secret_leaves_the_one_before_for_a_day(database: Engine) -> None:
    with writing(database) as connection:
        made, first = create_webhook(connection, url=URL, act=Act("test", NOW))
        _, second = rotate_secret(connection, made.id, Act("test", NOW))
    with reading(database) as connection:
        row = connection.execute(select(webhook)).one()
    assert (row.secret, row.old_secret, row.old_until) == (second, first, NOW + timedelta(days=1))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com/hook",
        "ftp://example.com/",
        "https://",
        "https://example.com:0/",
        "https://example.com:x/",
        "https://example.com/#part",
        "https://example.com/a b",
        "https://example.com/\N{SNOWMAN}",
        "https://user:canary@example.com/",
        "http://example.com/",
        "http://10.0.0.1/",
        "http://localhost.example.com/",
        "https://example.com/" + "x" * 2_000,
    ],
)
def test_urls_that_cannot_be_used(sqlite_engine: Engine, url: str) -> None:
    with writing(sqlite_engine) as connection, pytest.raises(StoreError) as refused:
        create_webhook(connection, url=url, act=Act("test", NOW))
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["http://localhost:9000/h", "http://127.0.0.1/", "http://[::1]:8/", "https://10.0.0.1/"]
)
def test_urls_that_can(sqlite_engine: Engine, url: str) -> None:
    with writing(sqlite_engine) as connection:
        assert create_webhook(connection, url=url, act=Act("test", NOW))[0].url == url


def test_what_else_is_refused(sqlite_engine: Engine) -> None:
    with writing(sqlite_engine) as connection:
        create_tenant(connection, "acme", Act("test", NOW))
        archive_tenant(connection, "acme", Act("test", NOW))
        with pytest.raises(StoreError, match="archived"):
            create_webhook(connection, url=URL, act=Act("test", NOW), tenant_name="acme")
        with pytest.raises(StoreError, match="'budget.x' is not announced: there are budget.threshold,"):
            create_webhook(connection, url=URL, act=Act("test", NOW), kinds=["budget.x"])
        for _ in range(WEBHOOKS_MAX):
            create_webhook(connection, url=URL, act=Act("test", NOW))
        with pytest.raises(StoreError, match="at most 20"):
            create_webhook(connection, url=URL, act=Act("test", NOW))
