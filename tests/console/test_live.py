"""Live: what runs, kept current by events, and stopped."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import Engine, delete, event, insert, update

from proxy.clock import utc_now
from proxy.console import feeds
from proxy.console.visitors import COOKIE
from proxy.store.database import writing
from proxy.store.schema import live_session, sign_in
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking, asking
from tests.console.visiting import Visitor, stranger, visitor

HOSTILE = '<script>alert("x")</script>\u202eevil' + "x" * 150
WAIT_S = 10.0


def run(api: Asking, session_id: str, tenant: str = "acme", *, age_s: int = 90, **figures: Any) -> None:
    """Let a session run that began so long ago."""
    api.books.open(
        session_id, tenant, "web", at=utc_now() - timedelta(seconds=age_s), end_user=f"{session_id}'s user"
    )
    told = {
        "cost_nanousd": 2_000_000_000,
        "running_nanousd": 0,
        "burn_nanousd": 1_000_000_000,
        "responses": 3,
    }
    row = {"session_id": session_id, "instance_id": "i1", "seen_at": utc_now() + timedelta(minutes=5)}
    with writing(api.engine) as connection:
        connection.execute(insert(live_session).values(**row, **(told | figures)))


def spend(api: Asking, session_id: str, cost: int) -> None:
    with writing(api.engine) as connection:
        connection.execute(
            update(live_session).where(live_session.c.session_id == session_id).values(cost_nanousd=cost)
        )


# --- The page


async def test_what_runs_and_what_it_comes_to(api: Asking) -> None:
    run(api, "s1", cost_nanousd=2_000_000_000, running_nanousd=500_000_000, left_nanousd=3_000_000_000)
    run(api, "s2", "globex", burn_nanousd=4_000_000_000, left_nanousd=-1)
    run(api, "s3", "globex", burn_nanousd=0, age_s=3_700)
    shown = await visitor(api).get("/live")
    listed = (await api.done("GET", "/sessions", params={"live": "true"}))["data"]
    assert len(listed) == 3
    assert "Running now 3" in shown.text and "Burn rate $5.00" in shown.text
    assert "$300.00 an hour" in shown.text and "Cost so far $6.50" in shown.text
    assert "$2.50" in shown.text and "$0.50 estimated" in shown.text
    assert "$3.00 3 min 00 s at this rate" in shown.text
    assert "spent" in shown.text and "no limit" in shown.text and "1 h 01 min" in shown.text
    assert (
        shown.html.index('id="live-s2"') < shown.html.index('id="live-s1"') < shown.html.index('id="live-s3"')
    )
    assert 'data-live-source="/live/events"' in shown.html


async def test_filters_and_orders_stand_in_the_address(embedded: Asking) -> None:
    run(embedded, "s1", cost_nanousd=1, age_s=5)
    run(embedded, "s2", "globex", cost_nanousd=9_000_000_000, burn_nanousd=1, age_s=500)
    admin = visitor(embedded)
    only = await admin.get("/live?tenant=globex")
    assert "Running now 1" in only.text and 'id="live-s1"' not in only.html
    assert 'data-live-source="/live/events?tenant=globex"' in only.html
    for sort, first in (("burn", "s1"), ("cost", "s2"), ("opened", "s2"), ("newest", "s1"), ("colour", "s1")):
        html = (await admin.get(f"/live?sort={sort}")).html
        assert (html.index('id="live-s1"') < html.index('id="live-s2"')) == (first == "s1"), sort
    await admin.get("/live?tenant=nobody", 404)


async def test_nobody_talks(embedded: Asking) -> None:
    shown = await visitor(embedded).get("/live")
    assert "Nobody is talking now" in shown.text and "/sessions" in shown.links


async def test_who_sees_what(embedded: Asking) -> None:
    run(embedded, "s1")
    run(embedded, "s2", "globex", cost_nanousd=7_770_000_000)
    viewer = await visitor(embedded, TokenRole.VIEWER, "acme").get("/live")
    assert "s1's user" in viewer.text and "globex" not in viewer.text
    assert "$" not in viewer.text and "Stop" not in viewer.text, "no cost of ours, and nothing to press"
    for role in (TokenRole.FINANCE, TokenRole.AUDITOR):
        shown = await visitor(embedded, role).get("/live")
        assert "$7.77" in shown.text and "/live/s1/stop" not in shown.html
        await visitor(embedded, role).get("/live/s1/stop", 403)
    await visitor(embedded, TokenRole.VIEWER, "acme").get("/live?tenant=globex", 404)
    await visitor(embedded, TokenRole.ADMIN, "acme").get("/live/s2/stop", 404)


async def test_what_others_wrote_is_shown_as_text(embedded: Asking) -> None:
    now = utc_now()
    embedded.books.open("s1", at=now, end_user=HOSTILE[:200])
    row = {"session_id": "s1", "instance_id": "i1", "seen_at": now, "cost_nanousd": 1, "responses": 1}
    with writing(embedded.engine) as connection:
        connection.execute(insert(live_session).values(**row, model=HOSTILE))
    admin = visitor(embedded)
    async with watching(embedded, admin) as seen:
        for html in ((await admin.get("/live")).html, await seen.message()):
            assert "<script>alert" not in html and "&lt;script&gt;alert" in html


# --- Stopping


async def test_stopped_with_a_reason(api: Asking) -> None:
    run(api, "s1")
    admin = visitor(api)
    page = await admin.get("/live?tenant=acme")
    done = await admin.submit(page.form("/live/s1/stop"), reason="talks to itself")
    assert done.place == "/live?tenant=acme"
    act = (await api.acts(limit="1"))[0]
    assert (act["actor"], act["action"], act["object"]) == ("user:admin@example.com", "session.stop", "s1")
    assert act["reason"] == "talks to itself"


async def test_a_stop_that_cannot_be(embedded: Asking) -> None:
    run(embedded, "s1")
    admin = visitor(embedded)
    form = (await admin.get("/live/s1/stop")).form("/live/s1/stop")
    again = await admin.submit(form, 422)
    assert "Say why" in again.text and "acme" in again.text
    long = await admin.submit(form, 422, reason="y" * 501)
    assert "y" * 501 in long.html
    with writing(embedded.engine) as connection:
        connection.execute(delete(live_session))
    gone = await admin.submit(form, 409, reason="now")
    assert "No session 's1' is live" in gone.text and 'value="now"' in gone.html
    await admin.get("/live/s9/stop", 404)
    assert [one["action"] for one in await embedded.acts() if one["action"] == "session.stop"] == []


# --- Events


@dataclass
class Seen:
    """A stream of events."""

    answer: aiohttp.ClientResponse

    async def event(self) -> tuple[str, str]:
        """Return the next event's name and data; a comment's name is empty."""
        name = ""
        data: list[str] = []
        async with asyncio.timeout(WAIT_S):
            while line := (await self.answer.content.readline()).decode():
                if line == "\n":
                    return name, "\n".join(data)
                field, _, value = line.rstrip("\n").partition(": ")
                if field == "event":
                    name = value
                if field == "data":
                    data.append(value)
        return "end", ""

    async def message(self) -> str:
        name, data = await self.event()
        assert name == "message", (name, data)
        return data


@asynccontextmanager
async def watching(
    api: Asking, who: Visitor, path: str = "/live/events", status: int = 200
) -> AsyncIterator[Seen]:
    headers = {"Cookie": f"{COOKIE}={who.secret}", "Accept": "text/event-stream"}
    async with aiohttp.ClientSession() as http, http.get(f"{api.url}{path}", headers=headers) as answer:
        assert answer.status == status, await answer.text()
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"
        yield Seen(answer)


async def test_costs_tick(api: Asking) -> None:
    run(api, "s1")
    admin = visitor(api)
    async with watching(api, admin) as seen:
        assert seen.answer.content_type == "text/event-stream"
        first = await seen.message()
        page = (await admin.get("/live")).html
        region = page[page.index("data-live-region>") :]
        assert 'id="live-s1"' in first and first.splitlines()[0] in region
        token = page.split('name="csrf" value="')[1].split('"')[0]
        assert f'value="{token}"' in first, "its forms are this viewer's"
        spend(api, "s1", 8_880_000_000)
        while "$8.88" not in (html := await seen.message()):
            assert 'id="live-s1"' in html


async def test_many_viewers_look_once_a_second(embedded: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten watch for about three seconds: few looks, as for one; another scope has its own."""
    run(embedded, "s1")
    run(embedded, "s2", "globex", cost_nanousd=7_770_000_000)
    looks: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if "live_session" in statement and "session.closed_at IS NULL" in statement:
            looks.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(_watch(embedded, visitor(embedded, name=f"w{n}@example.com")))
                for n in range(10)
            ]
        assert 3 <= len(looks) <= 6, len(looks)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert all("$7.77" in task.result() for task in tasks)
    confined = await _watch(embedded, visitor(embedded, TokenRole.ADMIN, "acme"))
    assert "s1's user" in confined.replace("&#39;", "'") and "globex" not in confined


async def _watch(api: Asking, who: Visitor) -> str:
    async with watching(api, who) as seen:
        return [await seen.message() for _ in range(3)][-1]


async def test_it_ends_with_the_sign_in(embedded: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "RECHECK_S", 0.5)
    monkeypatch.setattr(feeds, "BEAT_S", 0.2)
    admin = visitor(embedded)
    async with watching(embedded, admin) as seen:
        await seen.message()
        page = await admin.get("/live")
        await admin.submit(page.form("/sign-out"))
        assert await seen.event() == ("reload", "signed out")
        assert await seen.event() == ("end", "")
    async with watching(embedded, admin) as seen:  # and whoever comes again is told at once
        assert await seen.event() == ("reload", "signed out")
    assert (await stranger(embedded).get("/live/events", 303)).place.startswith("/sign-in")


async def test_watching_is_no_visit(embedded: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever only watches is signed out in the end, as whoever is away."""
    monkeypatch.setattr(feeds, "RECHECK_S", 0.3)
    monkeypatch.setattr(feeds, "BEAT_S", 0.1)
    async with watching(embedded, visitor(embedded)) as seen:
        await seen.message()
        with writing(embedded.engine) as connection:
            connection.execute(update(sign_in).values(seen_at=utc_now() - timedelta(hours=2)))
        assert await seen.event() == ("reload", "signed out")


async def test_quiet_streams_are_kept_alive(embedded: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "KEEP_ALIVE_S", 0.3)
    monkeypatch.setattr(feeds, "BEAT_S", 0.1)
    async with watching(embedded, visitor(embedded)) as seen:
        assert "Nobody is talking now" in await seen.message()
        assert await seen.event() == ("", "")


async def test_there_are_only_so_many(embedded: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "STREAMS_MAX", 1)
    monkeypatch.setattr(feeds, "BEAT_S", 0.1)
    admin = visitor(embedded)
    async with watching(embedded, admin) as seen:
        await seen.message()
        shown = await admin.get("/live/events", 503)
        assert "1 live pages are open, and no more at a time" in shown.text
        await admin.get("/live")
    async with asyncio.timeout(WAIT_S):
        while True:  # who left has made room
            try:
                async with watching(embedded, admin) as seen:
                    await seen.message()
                return
            except AssertionError:
                await asyncio.sleep(0.1)


async def test_nobody_keeps_all_others_out(embedded: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "STREAMS_OF_ONE_MAX", 1)
    one, other = visitor(embedded, name="ann@example.com"), visitor(embedded, name="bob@example.com")
    async with watching(embedded, one) as seen:
        await seen.message()
        assert "You have 1 live pages open" in (await one.get("/live/events", 503)).text
        async with watching(embedded, other) as others:
            await others.message()


async def test_the_control_plane_stops_without_waiting_for_viewers(tmp_path: Path, sqlite_url: str) -> None:
    async with contextlib.AsyncExitStack() as watchers:
        async with asking(tmp_path, sqlite_url) as api:
            seen = await watchers.enter_async_context(watching(api, visitor(api)))
            await seen.message()
            began = time.monotonic()
        assert time.monotonic() - began < 0.9, "not what a server waits for before it cancels"
        assert await seen.event() == ("end", "")


async def test_what_is_refused_is_no_stream(embedded: Asking) -> None:
    await visitor(embedded).get("/live/events?tenant=nobody", 404)


async def test_events_are_lines() -> None:
    assert feeds.event("a\r\nb\rc") == b"event: message\ndata: a\ndata: b\ndata: c\n\n"
