"""What an instance does once a second: its sessions are seen, stop orders and revocations arrive."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, select, update
from websockets.exceptions import ConnectionClosed

from proxy import simulator
from proxy.app import App, running
from proxy.clock import utc_now
from proxy.core.budgets import OnExhausted, Scope
from proxy.core.limits import LimitName
from proxy.core.rating import Amounts
from proxy.core.windows import Window
from proxy.pulse import Burn, Pulse
from proxy.store.audit import Act
from proxy.store.budgets import Terms, set_budget
from proxy.store.database import migrate, open_database, reading, writing
from proxy.store.limits import set_limit
from proxy.store.live import Live, publish, request_stop
from proxy.store.schema import budget_window, instance, live_session, session
from proxy.store.tenants import list_keys, revoke_key
from tests.apps import UPSTREAM_KEY, answer, call, make_key, settings_in, until

SOON_S = 30  # two seconds on an idle machine


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    upstream = await simulator.serve(api_keys={UPSTREAM_KEY})
    async with running(settings_in(tmp_path, upstream.url)) as app:
        yield app
    await upstream.close()


def pulse(app: App, engine: Engine | None = None) -> Pulse:
    return Pulse(
        engine or app.stores.engine,
        app.gateway,
        app.journal,
        app.poster,
        metrics=app.metrics,
        clock=utc_now,
    )


def live_ids(app: App) -> list[str]:
    with reading(app.stores.engine) as connection:
        return list(connection.execute(select(live_session.c.session_id)).scalars())


async def test_live_sessions_are_shown_while_they_live(app: App) -> None:
    """And gone from the list after their end."""
    beating = pulse(app)
    async with call(app.url, make_key(app)) as socket:
        await answer(socket)
        await beating.beat()
        assert live_ids(app) == list(app.gateway.sessions)
        assert len(app.gateway.sessions) == 1
    await app.gateway.drain()
    await beating.beat()
    assert live_ids(app) == []


async def test_a_stop_order_reaches_its_session(app: App) -> None:
    """With the code on which clients do not reconnect, and the administrator's words."""
    async with call(app.url, make_key(app)) as socket:
        await until(socket, "session.created")
        (session_id,) = app.gateway.sessions
        # By the app's own pulse: a second one beside it takes back what the other one has shown.
        while live_ids(app) != [session_id]:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)  # the test's own time limit is the failure
        request_stop(app.stores.engine, session_id, Act("test", utc_now(), "too loud"))
        error = await asyncio.wait_for(until(socket, "error"), SOON_S)
        assert error["error"]["code"] == "session_stopped"
        assert "too loud" in error["error"]["message"]
        with pytest.raises(ConnectionClosed) as closed:
            await until(socket, "never")
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


async def test_a_revoked_key_ends_its_sessions(app: App) -> None:
    """Within two seconds, saying that it is the key."""
    async with call(app.url, make_key(app)) as socket:
        await until(socket, "session.created")
        with writing(app.stores.engine) as connection:
            revoke_key(connection, list_keys(connection)[0].id, Act("test", utc_now()))
        error = await asyncio.wait_for(until(socket, "error"), SOON_S)
        assert error["error"]["code"] == "invalid_api_key"
        with pytest.raises(ConnectionClosed) as closed:
            await until(socket, "never")
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


async def test_what_a_crash_left_in_the_list_goes(app: App) -> None:
    """The first beat clears what this instance showed in its last life; others' sessions stay."""
    publish(app.stores.engine, app.journal.instance_id, [Live("mine", 0, 0)], utc_now())
    publish(app.stores.engine, "ins_other", [Live("theirs", 0, 0)], utc_now())
    await pulse(app).beat()
    assert live_ids(app) == ["theirs"]


async def test_the_instance_is_seen(app: App) -> None:
    """Others can tell that it lives."""
    with reading(app.stores.engine) as connection:
        before = connection.execute(select(instance)).one()
    assert before.id == app.journal.instance_id
    await pulse(app).beat()
    with reading(app.stores.engine) as connection:
        assert connection.execute(select(instance)).one().seen_at > before.started_at


async def test_a_lost_database_is_said_once_and_again_when_it_is_back(
    app: App, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Sessions do not notice."""
    caplog.set_level(logging.INFO, "proxy.pulse")
    engine = open_database(f"sqlite:///{tmp_path / 'later' / 'x.db'}")
    beating = pulse(app, engine)
    async with call(app.url, make_key(app)) as socket:
        await beating.beat()
        await beating.beat()
        assert (await answer(socket))["response"]["status"] == "completed"
        (tmp_path / "later").mkdir()
        migrate(engine)
        await beating.beat()
        await beating.beat()
    messages = [record.getMessage() for record in caplog.records if record.name == "proxy.pulse"]
    assert [message.split(":")[0] for message in messages] == ["database lost", "database is back"]
    engine.dispose()


async def test_failed_postings_are_counted(app: App) -> None:
    """A counter of the poster becomes a metric, by what it has grown."""
    beating = pulse(app)
    for retries, seen in ((3, 3.0), (3, 3.0), (5, 5.0)):
        app.poster.posted["retries"] = retries
        await beating.beat()
        assert app.metrics.registry.get_sample_value("talkmeter_poster_failures_total") >= seen  # type: ignore[operator]


async def test_the_loop_is_watched(app: App) -> None:
    """How late timers are is a histogram."""
    value = app.metrics.registry.get_sample_value
    probing = asyncio.Event()
    asyncio.get_running_loop().call_later(0.5, probing.set)
    await probing.wait()
    assert value("talkmeter_event_loop_lag_seconds_count")


async def test_sessions_on_other_instances_are_counted_where_a_limit_asks(app: App) -> None:
    beating = pulse(app)
    async with call(app.url, make_key(app)) as socket:
        await answer(socket)
        (live,) = app.gateway.sessions.values()
        await app.poster.posted_up_to_now()
        with writing(app.stores.engine) as connection:
            ours = connection.execute(select(session).where(session.c.id == live.id)).one()
            theirs = {**ours._mapping, "id": "ses_2", "instance_id": "another"}
            connection.execute(insert(session).values(**theirs))
        await beating.beat()
        assert app.gateway.turnstile.elsewhere == {}
        with writing(app.stores.engine) as connection:
            set_limit(connection, "acme", LimitName.SESSIONS, 5, act=Act("test", utc_now()))
        async with asyncio.timeout(SOON_S):
            while not app.gateway.turnstile.elsewhere:
                publish(app.stores.engine, "another", [Live("ses_2", 0, 0)], utc_now())
                await beating.beat()
                await asyncio.sleep(0.1)
        who = live.principal
        assert dict(app.gateway.turnstile.elsewhere) == {who.tenant_id: 1, who.api_key_id: 1}


async def test_a_live_session_is_shown_with_what_runs_its_rate_and_what_is_left(app: App) -> None:
    beating, secret = pulse(app), make_key(app)
    with writing(app.stores.engine) as connection:
        act = Act("test", utc_now(), "a test")
        amount = 10_000_000_000
        set_budget(
            connection,
            act,
            scope=Scope.TENANT,
            window=Window.DAY,
            amount_nanousd=amount,
            tenant="acme",
        )
    while not app.catalog.budgets.budgets:  # noqa: ASYNC110  the catalogue polls
        await asyncio.sleep(0.05)
    async with call(app.url, secret) as socket:
        await answer(socket)
        await beating.beat()
        with reading(app.stores.engine) as connection:
            row = connection.execute(select(live_session)).one()
        (live,) = app.gateway.sessions.values()
        assert row.cost_nanousd == row.burn_nanousd == live.cost_nanousd > 0
        assert row.running_nanousd == 0
        assert row.model == "gpt-realtime"
        assert row.left_nanousd == amount - live.cost_nanousd
        await app.poster.posted_up_to_now()
        with writing(app.stores.engine) as connection:  # another instance has spent something
            elsewhere = budget_window.c.spent_nanousd + 1_000
            connection.execute(update(budget_window).values(spent_nanousd=elsewhere))
        for _ in range(2):
            await beating.beat()
        with reading(app.stores.engine) as connection:
            row = connection.execute(select(live_session)).one()
        assert row.left_nanousd == amount - live.cost_nanousd - 1_000
    await app.gateway.drain()


def test_a_rate_is_what_was_spent_in_about_a_minute() -> None:
    burn = Burn()
    rates = [burn.rate("s_1", 100 * second, float(second)) for second in range(0, 200, 5)]
    assert rates[0] == 0
    assert rates[12] == 6_000
    assert set(rates[13:]) == {6_000}
    burn.forget({"s_2"})
    assert burn.rate("s_1", 50, 200.0) == 50


async def test_budgets_and_holds_are_shown_while_a_session_lives(app: App) -> None:
    """A budget that only counts too; and nothing of them when the session is over."""
    beating, secret = pulse(app), make_key(app)
    with writing(app.stores.engine) as connection:
        for scope, policy in ((Scope.TENANT, OnExhausted.NOTIFY), (Scope.ORGANISATION, OnExhausted.CUT)):
            set_budget(
                connection,
                Act("test", utc_now(), "a test"),
                scope=scope,
                window=Window.MONTH,
                amount_nanousd=1_000_000_000,
                tenant="acme" if scope is Scope.TENANT else None,
                terms=Terms(on_exhausted=policy),
            )
    while len(app.catalog.budgets.budgets) < 2:  # noqa: ASYNC110  the catalogue polls
        await asyncio.sleep(0.05)
    value, ratio = app.metrics.registry.get_sample_value, "talkmeter_budget_used_ratio"
    async with call(app.url, secret) as socket:
        await until(socket, "session.created")
        (live,) = app.gateway.sessions.values()
        allowance = live.tunnel.session.allowance
        free = allowance.accounts[0].free_nanousd
        assert free > 0 and allowance.hold("resp_1", Amounts.same(free)) is None
        await beating.beat()
        assert value("talkmeter_holds_usd") == pytest.approx(free / 1_000_000_000)
        allowance.void("resp_1")
        await answer(socket)
        await app.poster.posted_up_to_now()
        await beating.beat()
        used = live.cost_nanousd / 1_000_000_000
        assert value(ratio, {"tenant": "acme", "budget": "tenant month"}) == pytest.approx(used)
        assert value(ratio, {"tenant": "_all", "budget": "organisation month"}) == pytest.approx(used)
    await app.gateway.drain()
    await beating.beat()
    assert value(ratio, {"tenant": "acme", "budget": "tenant month"}) is None
    assert value("talkmeter_holds_usd") == 0


async def test_of_very_many_budgets_some_are_asked_about_in_each_beat(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In turn, so that a beat does not take longer than stop orders may: each user may have one."""
    monkeypatch.setattr("proxy.pulse.POTS_MAX", 2)
    beating, secret = pulse(app), make_key(app)
    windows = (Window.HOUR, Window.DAY, Window.MONTH)
    with writing(app.stores.engine) as connection:
        for window in windows:
            act, terms = Act("test", utc_now(), "a test"), Terms(on_exhausted=OnExhausted.NOTIFY)
            set_budget(
                connection,
                act,
                scope=Scope.TENANT,
                window=window,
                amount_nanousd=10,
                tenant="acme",
                terms=terms,
            )
    while len(app.catalog.budgets.budgets) < len(windows):  # noqa: ASYNC110  the catalogue polls
        await asyncio.sleep(0.05)
    async with call(app.url, secret) as socket:
        await answer(socket)
        await app.poster.posted_up_to_now()
        counts = []
        for _ in range(3):
            await beating.beat()
            counts.append(len([spent for spent in beating._spent.values() if spent]))
        assert counts == [2, 3, 3]
        (live,) = app.gateway.sessions.values()
        with reading(app.stores.engine) as connection:
            row = connection.execute(select(live_session)).one()
        assert row.left_nanousd == 10 - live.cost_nanousd < 0, "they only count, and are shown all the same"
        await answer(socket)
        await app.poster.posted_up_to_now()
        before = set(beating._spent.values())
        await beating.beat()
        await beating.beat()
        assert min(beating._spent.values()) > max(before)
