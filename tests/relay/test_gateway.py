"""All sessions of an instance: draining, failing, counting."""

import asyncio
import logging

import pytest

from proxy.core.events import ResponseEnded
from proxy.core.limits import Limits
from proxy.core.models import ModelRule, ModelRules
from proxy.core.records import Entry, SessionClosed, SessionOpened
from proxy.core.refusal import DISK_FULL
from proxy.core.session import Session
from proxy.relay import gateway
from tests.core.accounts import account
from tests.relay.peers import OTHER_KEY, Stage, stage, until, upgrade

STARTED = {"type": "response.created", "response": {"id": "resp_1"}}
ENDED = {"type": "response.done", "response": {"id": "resp_1", "status": "completed", "usage": {}}}


async def test_draining_lets_sessions_end_by_themselves() -> None:
    async with stage(drain_s=10) as it:
        client, upstream = await it.pair()
        draining = asyncio.ensure_future(it.gateway.drain())
        await until(lambda: it.gateway.is_draining)
        await upstream.exactly(client.say({"type": "x"}))
        await upstream.exactly(client.close(1000))
        upstream.close(1000)
        await draining
        assert [closed.reason for closed in it.journal.of(SessionClosed)] == ["client_closed"]


async def test_draining_finishes_the_running_response_then_says_that_it_restarts() -> None:
    async with stage(drain_s=0.1) as it:
        client, upstream = await it.pair()
        await client.exactly(upstream.say(STARTED))
        draining = asyncio.ensure_future(it.gateway.drain())
        await asyncio.sleep(0.3)
        await client.exactly(upstream.say(ENDED))
        assert (await client.get()).close[0] == 1012
        client.close(1012)
        assert (await upstream.get()).close == (1001, "")
        upstream.close(1001)
        await draining
        (closed,) = it.journal.of(SessionClosed)
        assert (closed.close_code, closed.reason) == (1012, "drained")
        assert len(it.journal.of(Entry)) == 1


async def test_draining_closes_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Session k of n at k/n of the spread. Whose turn has not come goes on, also with a new response."""
    monkeypatch.setattr(gateway, "SPREAD_S", 1.2)
    async with stage(drain_s=0) as it:
        pairs = [await it.pair() for _ in range(4)]
        began_at = asyncio.get_running_loop().time()
        draining = asyncio.ensure_future(it.gateway.drain())
        last, last_upstream = pairs[-1]
        await last.exactly(last_upstream.say(STARTED))
        closed_after_s = []
        for client, upstream in pairs:
            if client is last:
                await asyncio.sleep(0.1)  # its turn has come: now it waits for its response alone
                await last.exactly(last_upstream.say(ENDED))
            assert (await client.get()).close == (1012, "restarting, connect again")
            closed_after_s.append(asyncio.get_running_loop().time() - began_at)
            client.close(1012)
            assert (await upstream.get()).close == (1001, "")
            upstream.close(1001)
        await draining
        assert all(at >= 0.3 * k - 0.01 for k, at in enumerate(closed_after_s)), closed_after_s
        assert {closed.reason for closed in it.journal.of(SessionClosed)} == {"drained"}
        assert [entry.estimated for entry in it.journal.of(Entry)] == [False]


async def test_who_hurries_a_drain_does_not_wait_for_the_spread() -> None:
    async with stage(drain_s=0) as it:
        pairs = [await it.pair() for _ in range(3)]
        draining = asyncio.ensure_future(it.gateway.drain())
        assert (await pairs[0][0].get()).close[0] == 1012
        it.gateway.abort()
        await asyncio.wait_for(draining, gateway.SPREAD_S / 3)


async def test_a_bug_in_one_session_keeps_no_other_from_draining(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "SPREAD_S", 0.2)
    async with stage(drain_s=0) as it:
        (broken, _), (client, upstream) = await it.pair(), await it.pair()
        first = next(iter(it.gateway.sessions.values()))
        monkeypatch.setattr(first.tunnel, "leave", None)  # calling it is a bug now
        draining = asyncio.ensure_future(it.gateway.drain())
        assert await broken.end() == b""
        assert (await client.get()).close == (1012, "restarting, connect again")
        client.close(1012)
        assert (await upstream.get()).close == (1001, "")
        upstream.close(1001)
        await draining
        assert {closed.reason for closed in it.journal.of(SessionClosed)} == {"failed", "drained"}


async def test_draining_does_not_wait_for_ever() -> None:
    async with stage(drain_s=0.1, linger_s=0.3) as it:
        client, upstream = await it.pair()
        await client.exactly(upstream.say(STARTED))
        await it.gateway.drain()  # nobody answers anything
        assert not it.gateway.sessions
        assert [entry.estimated for entry in it.journal.of(Entry)] == [True]


async def test_draining_waits_for_the_last_records() -> None:
    async with stage(drain_s=0.1, linger_s=0.1) as it:
        client, upstream = await it.pair()
        it.journal.is_slow = True
        client.reset()
        await upstream.get()
        await upstream.leave()
        draining = asyncio.ensure_future(it.gateway.drain())
        await until(lambda: bool(it.journal.of(SessionClosed)))
        await asyncio.sleep(0.1)
        assert not draining.done()
        it.journal.catch_up()
        await draining


async def test_a_failed_journal_drops_everything_at_once() -> None:
    async with stage() as it:
        pairs = [await it.pair() for _ in range(3)]
        it.gateway.abort()
        for client, upstream in pairs:
            assert await client.end() == await upstream.end() == b""
        await it.over()
        assert {closed.reason for closed in it.journal.of(SessionClosed)} == {"aborted"}


async def test_a_bug_ends_its_session_and_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with stage() as it:
        client, upstream = await it.pair()
        other, other_upstream = await it.pair()
        good = Session.receive

        def receive(session: Session, *args: object) -> object:
            if session is broken:
                raise RuntimeError("a bug")
            return good(session, *args)  # type: ignore[arg-type]

        broken = next(iter(it.gateway.sessions.values())).tunnel.session
        monkeypatch.setattr(Session, "receive", receive)
        client.say({"type": "x"})
        assert await client.end() == await upstream.end() == b""
        await until(lambda: len(it.gateway.sessions) == 1)
        await other_upstream.exactly(other.say({"type": "x"}))
        (closed,) = it.journal.of(SessionClosed)
        assert closed.reason == "failed"
    failures = [record for record in caplog.records if record.message == "session failed"]
    assert [record.levelno for record in failures] == [logging.ERROR]
    assert "a bug" in caplog.text


async def test_a_bug_costs_no_bill_that_waits_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage() as it:
        client, upstream = await it.pair()
        it.journal.is_slow = True
        upstream.say(STARTED)
        await until(lambda: it.journal.is_waited_for)
        (live,) = it.gateway.sessions.values()
        ended = ResponseEnded("resp_1", "completed", None, None)
        live.tunnel.upstream_lane.receive(ended)  # behind the record that is on its way to the disk
        assert not it.journal.of(Entry)
        monkeypatch.setattr(live.tunnel, "sweep", None)  # calling it is a bug now
        await until(lambda: bool(it.journal.of(SessionClosed)))
        assert [entry.estimated for entry in it.journal.of(Entry)] == [False]
        it.journal.is_slow = False
        it.journal.catch_up()


async def test_records_frame_the_session() -> None:
    async with stage() as it:
        client, upstream = await it.pair()
        (session_id,) = it.gateway.sessions
        await upstream.exactly(client.close(1000))
        upstream.close(1000)
        await it.over()
        first, last = it.journal.records[0], it.journal.records[-1]
        assert isinstance(first, SessionOpened) and isinstance(last, SessionClosed)
        assert first.session_id == last.session_id == session_id
        assert (first.tenant_id, first.api_key_id, first.model) == ("ten_1", "key_1", "gpt-realtime-2.1")


async def test_traffic_is_counted() -> None:
    async with stage() as it:
        client, upstream = await it.pair()
        raw = client.say({"type": "input_audio_buffer.append", "audio": "AAAA" * 500}) + client.say(
            {"type": "x"}
        )
        await upstream.exactly(raw)

        def count(name: str) -> float | None:
            return it.metrics.registry.get_sample_value(f"talkmeter_{name}_total", {"sender": "client"})

        await until(lambda: count("messages") == 2)
        assert count("relayed_bytes") == len(raw)


async def test_many_sessions_at_once() -> None:
    async with stage() as it:
        pairs = [await it.pair() for _ in range(50)]
        for client, upstream in pairs:
            await upstream.exactly(client.say({"type": "x"}) * 1)
        for client, _ in pairs:
            client.reset()
        for _, upstream in pairs:
            assert (await upstream.get()).close == (1001, "")
            await upstream.leave()
        await it.over()
        assert len(it.journal.of(SessionClosed)) == 50


# Limits and models


def counted(it: Stage, metric: str, refusal: str) -> float | None:
    return it.metrics.registry.get_sample_value(f"talkmeter_{metric}_total", {"refusal": refusal})


async def test_sessions_beyond_the_limit_are_refused_until_one_ends() -> None:
    async with stage() as it:
        it.catalog.limits["ten_1"] = Limits(sessions=1)
        client, upstream = await it.pair()
        head, body, _ = await it.ask(upgrade())
        assert head.startswith("HTTP/1.1 429 ") and b'"too_many_sessions"' in body
        await it.connect(authorization=f"Bearer {OTHER_KEY}")
        assert counted(it, "refusals", "limit_sessions") == 1
        await upstream.exactly(client.close(1000))
        upstream.close(1000)
        await until(lambda: len(it.gateway.sessions) == 1)
        await it.connect()


async def test_a_place_that_was_not_taken_is_given_back() -> None:
    async with stage() as it:
        it.catalog.limits["key_1"] = Limits(sessions=1)
        it.upstream.answer = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
        for _ in range(2):
            head, _, _ = await it.ask(upgrade())
            assert head.startswith("HTTP/1.1 401 ")
        it.upstream.answer = None
        await it.connect()


async def test_new_sessions_a_minute() -> None:
    async with stage() as it:
        it.catalog.limits["key_1"] = Limits(sessions_per_minute=2)
        await it.connect()
        await it.connect()
        head, body, _ = await it.ask(upgrade())
        assert head.startswith("HTTP/1.1 429 ") and b'"rate_limit_exceeded"' in body


async def test_new_sessions_a_minute_that_come_at_once() -> None:
    """Money is waited for, so that all are at the door before the first is in."""
    async with stage() as it:
        it.catalog.limits["key_1"] = Limits(sessions_per_minute=2)
        it.budgets.door.clear()
        asked = [asyncio.create_task(it.ask(upgrade())) for _ in range(8)]
        await until(lambda: sum(one.done() for one in asked) == 6)
        it.budgets.door.set()
        heads = [head for head, _, _ in await asyncio.gather(*asked)]
        assert sorted(head.split()[1] for head in heads) == ["101"] * 2 + ["429"] * 6


async def test_who_has_no_money_has_begun_no_session() -> None:
    """So it is told that, however often it comes, and not to try again shortly."""
    async with stage() as it:
        it.catalog.limits["key_1"] = Limits(sessions_per_minute=2)
        it.budgets.accounts = [account(0)]
        for _ in range(4):
            head, _, _ = await it.ask(upgrade())
            assert head.startswith("HTTP/1.1 402 ")
        it.budgets.accounts = []
        await it.connect()


async def test_a_model_that_is_not_allowed_is_refused_at_the_url() -> None:
    async with stage() as it:
        it.catalog.models = ModelRules(((ModelRule("gpt-realtime-2*", True),),))
        await it.connect()
        head, body, _ = await it.ask(upgrade("/v1/realtime?model=gpt-realtime-mini"))
        assert head.startswith("HTTP/1.1 403 ") and b'"model_not_allowed"' in body
        assert counted(it, "refusals", "model_not_allowed") == 1
        assert len(it.gateway.sessions) == 1


async def test_a_model_without_a_price_ends_its_session_once_a_budget_has_an_amount() -> None:
    """Also where the catalogue stays as it is: whose budget it is may be known only later."""
    async with stage() as it:
        client, _ = await it.pair()
        (live,) = it.gateway.sessions.values()
        await until(lambda: live.version is not None)
        live.tunnel.session.allowance.is_priced_only = it.budgets.is_changed = True
        assert (await client.get()).json["error"]["code"] == "model_not_allowed"
        assert (await client.get()).close[0] == 1008


async def test_a_limit_that_is_set_meanwhile_reaches_a_session_with_nothing_open() -> None:
    async with stage() as it:
        client, _ = await it.pair()
        it.catalog.limits["key_1"] = Limits(session_s=0.001)
        it.catalog.version += 1
        assert (await client.get()).json["error"]["code"] == "session_limit_exceeded"
        code, reason = (await client.get()).close
        assert code == 1008 and "session_seconds" in reason
        assert counted(it, "cuts", "limit_session_seconds") == 1


async def test_on_a_full_disk_no_response_begins_until_there_is_room() -> None:
    async with stage() as it:
        client, upstream = await it.pair()
        (live,) = it.gateway.sessions.values()
        it.journal.is_full = True
        await until(lambda: live.tunnel.session.standstill is not None)
        client.say({"type": "response.create"})
        assert (await client.get()).json["error"]["code"] == "journal_unavailable"
        it.journal.is_full = False
        await until(lambda: live.tunnel.session.standstill is None)
        await upstream.exactly(client.say({"type": "response.create"}))
        it.journal.is_full = True
        await it.connect()
        (new,) = (one for one in it.gateway.sessions.values() if one is not live)
        assert new.tunnel.session.standstill is DISK_FULL


async def test_a_model_that_is_denied_meanwhile_ends_its_sessions() -> None:
    async with stage() as it:
        client, _ = await it.pair()
        it.catalog.models = ModelRules(((ModelRule("gpt-realtime-2.1", False),),))
        it.catalog.version += 1
        assert (await client.get()).json["error"]["code"] == "model_not_allowed"
        assert (await client.get()).close[0] == 1008
        assert counted(it, "cuts", "model_not_allowed") == 1
