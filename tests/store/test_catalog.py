"""The data plane's catalogue: known keys, new keys, wrong keys, and a database that goes away."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, update

from proxy.core.budgets import Scope
from proxy.core.identity import Principal
from proxy.core.rating import Price
from proxy.core.refusal import DATABASE_DOWN, KEY_EXPIRED, KEY_REVOKED, UNKNOWN_KEY
from proxy.core.usage import Meter
from proxy.core.windows import Window
from proxy.store import tenants
from proxy.store.audit import Act
from proxy.store.budgets import delete_budget, set_budget
from proxy.store.catalog import Catalog
from proxy.store.changes import bump
from proxy.store.database import open_database, writing
from proxy.store.keys import new_secret
from proxy.store.prices import set_price
from proxy.store.schema import budget

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ACT = Act("test", NOW)
PEPPER = b"a pepper for tests only"


@pytest.fixture
def catalog(database: Engine) -> Iterator[Catalog]:
    with writing(database) as connection:
        tenants.create_tenant(connection, "acme", ACT)
    made = Catalog(database, PEPPER)
    made.start()
    yield made
    made.stop()


def make_key(engine: Engine, **arguments: Any) -> tuple[tenants.Key, str]:
    with writing(engine) as connection:
        return tenants.create_key(connection, PEPPER, tenant_name="acme", act=ACT, **arguments)


class Queries:
    """Counts the statements that an engine runs."""

    def __init__(self, engine: Engine) -> None:
        self.count = 0
        event.listen(engine, "before_cursor_execute", self._counted)

    def _counted(self, *_arguments: object) -> None:
        self.count += 1


async def test_a_key_made_a_moment_ago_works_at_once(database: Engine, catalog: Catalog) -> None:
    key, secret = make_key(database, project_name="web", tags={"team": "a"})
    principal = await catalog.authenticate(secret, NOW)
    assert principal == Principal(key.id, key.tenant_id, "acme", key.project_id, "web", {"team": "a"})
    assert catalog.key_ok(key.id, NOW) is None


async def test_what_is_not_a_secret_of_ours_costs_no_query(database: Engine, catalog: Catalog) -> None:
    catalog.stop()
    queries = Queries(database)
    for text in ("", "sk-" + "x" * 60, "tm_short", new_secret() + "x", "tm_" + "é" * 43):
        assert await catalog.authenticate(text, NOW) is UNKNOWN_KEY
    assert queries.count == 0


async def test_ten_thousand_unknown_keys_cost_few_queries(database: Engine, catalog: Catalog) -> None:
    queries = Queries(database)
    answers = await asyncio.gather(*(catalog.authenticate(new_secret(), NOW) for _ in range(10_000)))
    assert set(answers) == {UNKNOWN_KEY}
    assert queries.count < 100


async def test_unknown_keys_one_after_the_other_are_slowed_down(database: Engine, catalog: Catalog) -> None:
    queries = Queries(database)
    for _ in range(5):
        assert await catalog.authenticate(new_secret(), NOW) is UNKNOWN_KEY
    assert queries.count <= 20


async def test_expired_and_revoked_keys_are_told_apart(database: Engine, catalog: Catalog) -> None:
    key, secret = make_key(database, expires_at=NOW + timedelta(hours=1))
    assert isinstance(await catalog.authenticate(secret, NOW), Principal)
    later = NOW + timedelta(hours=1)
    assert await catalog.authenticate(secret, later) is KEY_EXPIRED
    assert catalog.key_ok(key.id, later) is KEY_EXPIRED
    with writing(database) as connection:
        tenants.revoke_key(connection, key.id, ACT)
    await look(catalog)
    assert await catalog.authenticate(secret, NOW) is KEY_REVOKED
    assert catalog.key_ok(key.id) is KEY_REVOKED


async def test_archiving_a_tenant_or_project_revokes_its_keys(database: Engine, catalog: Catalog) -> None:
    plain, _ = make_key(database)
    partial, _ = make_key(database, project_name="web")
    with writing(database) as connection:
        tenants.archive_project(connection, "acme", "web", ACT)
    await look(catalog)
    assert (catalog.key_ok(plain.id), catalog.key_ok(partial.id)) == (None, KEY_REVOKED)
    with writing(database) as connection:
        tenants.archive_tenant(connection, "acme", ACT)
    await look(catalog)
    assert catalog.key_ok(plain.id) is KEY_REVOKED


def test_a_key_that_is_gone_from_the_database_is_revoked(catalog: Catalog) -> None:
    assert catalog.key_ok("key_unheard_of") is KEY_REVOKED


async def look(catalog: Catalog) -> None:
    """Make the catalogue look at the database now."""
    await catalog.authenticate(new_secret(), NOW)


async def test_changes_arrive_by_themselves(database: Engine, catalog: Catalog) -> None:
    """In the book that a running session keeps, too: a price that was forgotten is put right at once."""
    cards = catalog.cards
    with writing(database) as connection:
        set_price(
            connection,
            provider="openai",
            model="brand-new",
            meter=Meter.AUDIO_IN,
            price=Price(5),
            effective_from=NOW,
            act=ACT,
        )
    while cards.find("openai", "brand-new", NOW) is None:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.02)  # the test's own time limit is the failure


async def test_aliases_name_the_model_of_a_deployment(database: Engine) -> None:
    catalog = Catalog(database, PEPPER, aliases={"our-voice": "gpt-realtime-2.1"})
    catalog.start()
    card = catalog.cards.find("openai", "our-voice", NOW)
    catalog.stop()
    assert card is not None and card.model == "gpt-realtime-2.1"


async def test_known_keys_go_on_working_without_the_database(
    database: Engine, catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    key, secret = make_key(database)
    await catalog.authenticate(secret, NOW)
    assert catalog.healthy
    with broken(database):
        assert await catalog.authenticate(new_secret(), NOW) is DATABASE_DOWN
        assert not catalog.healthy
        assert isinstance(await catalog.authenticate(secret, NOW), Principal)
        assert catalog.key_ok(key.id, NOW) is None
        assert await catalog.authenticate(new_secret(), NOW) is DATABASE_DOWN
    assert await catalog.authenticate(new_secret(), NOW) is UNKNOWN_KEY
    assert catalog.healthy
    assert [record.levelname for record in caplog.records] == ["WARNING"]  # once, not twice a second
    assert secret not in caplog.text


class broken:
    """Makes every statement of an engine fail for as long as the block runs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __enter__(self) -> None:
        event.listen(self._engine, "before_cursor_execute", self._misspell, retval=True)

    def __exit__(self, *_error: object) -> None:
        event.remove(self._engine, "before_cursor_execute", self._misspell)

    @staticmethod
    def _misspell(
        _connection: Connection, _cursor: object, _statement: str, _parameters: object, *_more: object
    ) -> tuple[str, tuple[()]]:
        return "SELECT * FROM a_table_that_is_not_there", ()


async def test_starting_without_a_database_refuses_politely(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/no/such/folder/talkmeter.db")
    catalog = Catalog(engine, PEPPER)
    catalog.start()
    assert not catalog.healthy
    assert await catalog.authenticate(new_secret(), NOW) is DATABASE_DOWN
    catalog.stop()
    engine.dispose()


async def test_a_look_that_does_not_come_back_is_given_up(
    database: Engine, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.stop()  # no thread answers
    monkeypatch.setattr("proxy.store.catalog.ASKED_WAIT_S_MAX", 0.05)
    waiting = [catalog.authenticate(new_secret(), NOW) for _ in range(3)]
    assert await asyncio.gather(*waiting) == [DATABASE_DOWN] * 3
    catalog.stop()


async def test_a_changed_budget_arrives_by_itself(database: Engine, catalog: Catalog) -> None:
    """And once there are none, the book is empty, not the last one that was not."""

    def set_month(amount: int) -> str:
        with writing(database) as connection:
            made = set_budget(
                connection,
                ACT,
                scope=Scope.TENANT,
                window=Window.MONTH,
                amount_nanousd=amount,
                tenant="acme",
            )
        return made.rule.id

    async def amounts(expected: list[int]) -> None:
        while [one.amount_nanousd for one in catalog.budgets.budgets.values()] != expected:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)  # the test's own time limit is the failure

    told: list[int] = []
    catalog.on_change = lambda: told.append(catalog.version)
    version = catalog.budgets.version
    assert catalog.budgets.budgets == {} and version >= 0
    set_month(50)
    await amounts([50])
    made = set_month(60)
    await amounts([60])
    assert catalog.budgets.version == version + 2
    with writing(database) as connection:
        delete_budget(connection, ACT, made)
    await amounts([])
    while len(told) < 3:  # noqa: ASYNC110 - the last one is told right after the book is there
        await asyncio.sleep(0.02)
    assert told == [version + 1, version + 2, version + 3]


async def test_a_budget_that_cannot_be_read_leaves_the_last_book(
    database: Engine, catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    with writing(database) as connection:
        made = set_budget(connection, ACT, scope=Scope.ORGANISATION, window=Window.MONTH, amount_nanousd=5)
    await look(catalog)
    book = catalog.budgets
    with writing(database) as connection:
        connection.execute(update(budget).values(zone="Mars/Olympus"))
        bump(connection)
    await look(catalog)
    assert catalog.budgets is book and not catalog.healthy
    assert f"Budget {made.rule.id} cannot be read" in caplog.text
