"""The parts of a data plane: what is opened, what a crash leaves, what is counted."""

import contextlib
import logging
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from proxy import simulator
from proxy.app import running
from proxy.clock import utc_now
from proxy.core.records import Entry, Kind, SessionOpened, SubjectOpened
from proxy.plane import data_plane, open_stores
from proxy.settings import SettingsError
from proxy.store import StoreError
from proxy.store.database import reading
from proxy.store.journal import Journal
from proxy.store.ledger import entries
from proxy.store.tenants import Key, list_keys
from tests.apps import UPSTREAM_KEY, answer, call, make_key, settings_in

NO_UPSTREAM = "http://127.0.0.1:1"


def open_session(journal: Journal, key: Key) -> None:
    """Journal a session of this key with a response that has started, as before a crash."""
    opened_at = utc_now() - timedelta(seconds=5)
    session = SessionOpened(
        session_id="ses_1",
        tenant_id=key.tenant_id,
        project_id=None,
        api_key_id=key.id,
        end_user=None,
        tags={},
        provider="openai",
        account=None,
        model="gpt-realtime",
        opened_at=opened_at,
    )
    response = SubjectOpened(
        session_id="ses_1",
        upstream_session_id="sess_1",
        provider="openai",
        kind=Kind.RESPONSE,
        subject_id="resp_1",
        model="gpt-realtime",
        opened_at=opened_at,
    )
    journal.append(session)
    journal.append(response)


def entry(cost_nanousd: int) -> Entry:
    return Entry(
        session_id="ses_1",
        upstream_session_id="sess_1",
        provider="openai",
        kind=Kind.RESPONSE,
        subject_id="resp_1",
        model="gpt-realtime",
        status="completed",
        occurred_at=utc_now().replace(microsecond=0),
        cost_nanousd=cost_nanousd,
    )


async def test_what_a_crash_left_open_is_booked_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As estimated, under the tenant's name; said once in the log."""
    settings = settings_in(tmp_path, NO_UPSTREAM)
    async with running(settings) as app:
        make_key(app)
        with reading(app.stores.engine) as connection:
            (key,) = list_keys(connection)
        open_session(app.journal, key)
    caplog.set_level(logging.WARNING, "proxy.plane")
    async with running(settings) as app:
        await app.poster.posted_up_to_now()
        (booked,) = entries(app.stores.engine)
        assert (booked.tenant, booked.subject_id, booked.estimated) == ("acme", "resp_1", True)
        who = {"tenant": "acme", "model": "gpt-realtime"}
        assert app.metrics.registry.get_sample_value("talkmeter_estimated_entries_total", who) == 1
    (warning,) = [record for record in caplog.records if record.name == "proxy.plane"]
    assert {"sessions": 1, "estimated": 1, "parked": 0}.items() <= warning.__dict__.items()


async def test_what_reaches_the_ledger_is_counted(tmp_path: Path) -> None:
    """New, known, and known with other figures, which is an alarm."""
    async with running(settings_in(tmp_path, NO_UPSTREAM)) as app:
        make_key(app)
        with reading(app.stores.engine) as connection:
            (key,) = list_keys(connection)
        open_session(app.journal, key)
        for booked in (entry(5), entry(5), entry(6)):
            app.journal.append(booked)
            await app.poster.posted_up_to_now()
        value = app.metrics.registry.get_sample_value
        assert value("talkmeter_posted_entries_total") == 1
        assert value("talkmeter_repeated_entries_total") == 1
        assert value("talkmeter_entry_conflicts_total") == 1
        assert value("talkmeter_journal_accepting") == 1
        assert value("talkmeter_poster_up") == 1
        assert value("talkmeter_journal_lag_seconds") == 0
        assert value("talkmeter_journal_commit_seconds_count")


async def test_deployment_names_find_their_prices(tmp_path: Path) -> None:
    """By configuration, since the name says nothing."""
    upstream = await simulator.serve(api_keys={UPSTREAM_KEY}, extra_models=frozenset({"my-voice"}))
    settings = settings_in(tmp_path, upstream.url, model_aliases={"my-voice": "gpt-realtime"})
    async with running(settings) as app:
        book = app.catalog.cards
        assert book.find("openai", "my-voice", utc_now()) == book.find("openai", "gpt-realtime", utc_now())
        async with call(app.url, make_key(app)) as socket:
            assert (await answer(socket))["response"]["status"] == "completed"
    await upstream.close()


async def test_postgres_needs_a_pepper(tmp_path: Path, migrated_postgres_url: str) -> None:
    """Every instance must hash keys alike; with one it starts, and a second instance too."""
    facts = {"database_url": migrated_postgres_url, "journal_path": tmp_path / "a.db"}
    with pytest.raises(StoreError, match="KEY_PEPPER is not set"):
        async with running(settings_in(tmp_path, NO_UPSTREAM, **facts)):
            pass
    facts["key_pepper"] = SecretStr("0123456789abcdef0123456789abcdef")
    second = facts | {"journal_path": tmp_path / "b.db"}
    async with contextlib.AsyncExitStack() as stack:
        one = await stack.enter_async_context(running(settings_in(tmp_path, NO_UPSTREAM, **facts)))
        two = await stack.enter_async_context(running(settings_in(tmp_path, NO_UPSTREAM, **second)))
        assert one.journal.instance_id != two.journal.instance_id


async def test_a_postgres_that_was_not_migrated(tmp_path: Path, postgres_url: str) -> None:
    """Is not migrated by whoever comes first: a person runs `talkmeter migrate`."""
    settings = settings_in(tmp_path, NO_UPSTREAM, database_url=postgres_url, journal_path=tmp_path / "j.db")
    with pytest.raises(StoreError, match="talkmeter migrate"):
        async with open_stores(settings, lambda error: None):
            pass


async def test_a_plane_needs_the_upstream_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own check, besides that at the start."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    settings = settings_in(tmp_path, NO_UPSTREAM, upstream_api_key=None)
    async with open_stores(settings, lambda error: None) as stores:
        with pytest.raises(SettingsError, match="UPSTREAM_API_KEY"):
            async with data_plane(settings, stores):
                pass
