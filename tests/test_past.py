"""What an app sees of a session that is over."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from sqlalchemy import Engine

from proxy import simulator
from proxy.app import App, running
from proxy.clock import utc_now
from proxy.past import PastSessions
from proxy.store.database import open_database
from proxy.store.poster import PAUSE_S
from tests.apps import UPSTREAM_KEY, answer, call, make_key, settings_in
from tests.archiving import archive_month, year


async def seen(app: App, session_id: str, secret: str) -> tuple[int, dict[str, Any]]:
    url = app.url.replace("/v1", f"/talkmeter/v1/sessions/{session_id}")
    async with aiohttp.ClientSession() as http:
        response = await http.get(url, headers={"Authorization": f"Bearer {secret}"})
        return response.status, await response.json()


async def at_once() -> None:
    """All is posted."""


async def test_figures_never_go_back(tmp_path: Path) -> None:
    """Not in the moment either in which a session is over here, and the ledger does not have it all yet."""
    upstream = await simulator.serve(api_keys={UPSTREAM_KEY})
    async with running(settings_in(tmp_path, upstream.url)) as app:
        secret = make_key(app)
        for pause_s in (
            0.0,
            2 * PAUSE_S,
        ):  # then the session, and its first answer, are there before its end is
            async with call(app.url, secret) as socket:
                await answer(socket)
                await asyncio.sleep(pause_s)
                await answer(socket)
                assert socket.response is not None
                session_id = socket.response.headers["Talkmeter-Session"]
                _, live = await seen(app, session_id, secret)
            is_live = True
            while is_live:
                status, told = await seen(app, session_id, secret)
                assert (status, told["turns"], told["cost_nanousd"]) == (
                    200,
                    live["turns"],
                    live["cost_nanousd"],
                )
                is_live = told["live"]
            assert told["reason"] == "client_closed"
    await upstream.close()


async def never() -> None:
    await asyncio.Event().wait()


async def test_a_ledger_that_is_far_behind_is_not_waited_for(
    database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant_id = year(database).key("acme", "web").tenant_id
    monkeypatch.setattr("proxy.past.POSTED_S", 0.01)
    past = PastSessions(database, utc_now, never)
    assert await past("ses_none", tenant_id) is None


async def test_a_session_looks_the_same_when_it_is_over(tmp_path: Path) -> None:
    """Every figure stays, and its end is added; another tenant's is as unknown as none."""
    upstream = await simulator.serve(api_keys={UPSTREAM_KEY})
    async with running(settings_in(tmp_path, upstream.url)) as app:
        secret, stranger = make_key(app), make_key(app, "other")
        async with call(app.url, secret) as socket:
            await answer(socket)
            await answer(socket)
            assert socket.response is not None
            session_id = socket.response.headers["Talkmeter-Session"]
            status, live = await seen(app, session_id, secret)
            assert (status, live.pop("live"), live["responses"]) == (200, True, 2)
        await app.gateway.drain()
        await app.poster.posted_up_to_now()
        status, over = await seen(app, session_id, secret)
        assert (status, over.pop("live")) == (200, False)
        assert (over.pop("close_code"), over.pop("reason")) == (1000, "client_closed")
        assert over.pop("closed_at") > over["opened_at"]
        assert over == live
        for wrong in (await seen(app, session_id, stranger), await seen(app, "ses_none", secret)):
            assert wrong[0] == 404
            assert wrong[1]["error"]["code"] == "session_not_found"
    await upstream.close()


async def test_without_the_database_nothing_is_known() -> None:
    """Which is not the same as that there is no such session."""
    past = PastSessions(open_database("postgresql://nobody:canary@127.0.0.1:1/x"), utc_now, at_once)
    with pytest.raises(web.HTTPServiceUnavailable) as refused:
        await past("ses_1", "ten_1")
    assert refused.value.text is not None
    assert '"code":"database_unavailable"' in refused.value.text
    assert "canary" not in refused.value.text


async def test_what_is_archived_is_not_taken_for_not_used(database: Engine, tmp_path: Path) -> None:
    """Amounts stay; the quantities are in a file, of which an app knows nothing."""
    tenant_id = year(database).key("acme", "web").tenant_id
    past = PastSessions(database, utc_now, at_once)

    async def turns() -> list[Any]:
        found = await past("s1", tenant_id)
        assert found is not None
        return [(one["subject_id"], one["cost_nanousd"], one["meters"]) for one in found["turns"]]

    before = await turns()
    archive_month(database, "2026-10", tmp_path)
    october = {"s1-r1", "s1-r2", "late-price", "mixed-10"}
    assert await turns() == [
        (subject, cost, None if subject in october else meters) for subject, cost, meters in before
    ]
