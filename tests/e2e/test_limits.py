"""Limits and model rules, from the database to the client and back into the ledger."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import websockets
from sqlalchemy import Connection

from proxy.core.limits import LimitName
from proxy.store import limits
from proxy.store.audit import Act
from proxy.store.database import open_database, writing
from tests.e2e.place import Home, Place
from tests.relay.peers import until
from tests.simulator.talk import Client

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])
EVERY_HOME = pytest.mark.parametrize("home", ["plain", "postgres"], indirect=True)
SLOW = {"speed": 20.0}
TOOL = {"type": "function", "name": "look_up", "description": "x", "parameters": {"type": "object"}}


def change(home: Home, act: Callable[[Connection], object]) -> None:
    engine = open_database(home.database_url)
    try:
        with writing(engine) as connection:
            act(connection)
    finally:
        engine.dispose()


def limit(home: Home, name: LimitName, text: str) -> None:
    """Set a limit of the tenant, as a person writes it."""
    value = limits.parse_value(name, text)
    change(
        home,
        lambda connection: limits.set_limit(
            connection, "acme", name, value, act=Act("test", datetime.now(UTC))
        ),
    )


def rule(home: Home, model: str, allowed: bool) -> None:
    change(
        home,
        lambda connection: limits.set_model(
            connection, "acme", model, allowed, act=Act("test", datetime.now(UTC))
        ),
    )


async def cut(client: Client) -> tuple[str, int, str]:
    """Wait for the end; return the code of the only error event, and the close code and reason."""
    code, reason = await client.ended()
    (error,) = client.of("error")
    return error["error"]["code"], code, reason


async def counted(place: Place, line: str) -> None:
    """See a line in the metrics."""
    assert line in (await place.metrics()).splitlines()


@EVERY_HOME
async def test_responses(home: Home) -> None:
    limit(home, LimitName.RESPONSES, "2")
    async with home.open() as place:
        async with place.connected() as client:
            await client.configure()
            for _ in range(2):
                await client.say("Hello")
                await client.respond()
            await client.send("response.create")
            code, close, reason = await cut(client)
        assert (code, close) == ("session_limit_exceeded", 1008) and "limit responses" in reason
        assert len(await place.over()) == 2
        await counted(place, 'talkmeter_cuts_total{refusal="limit_responses"} 1.0')


async def test_self_talk(home: Home) -> None:
    """A tool that is called again and again: its output is not from the user."""
    limit(home, LimitName.SELF_TALK, "3")
    async with home.open() as place:
        async with place.connected() as client:
            await client.configure(tools=[TOOL])
            await client.say("Hello")
            for n in range(3):
                await client.respond()
                output = {"type": "function_call_output", "call_id": f"call_{n}", "output": "{}"}
                await client.send("conversation.item.create", item=output)
            await client.send("response.create")
            code, close, reason = await cut_despite_errors(client)
        assert (code, close) == ("session_limit_exceeded", 1008) and "3 times" in reason
        assert len(await place.over()) == 3


async def test_silence_that_is_answered_is_self_talk(home: Home) -> None:
    """Nobody speaks, and turn detection lets the model prompt the user again and again."""
    limit(home, LimitName.SELF_TALK, "3")
    detection = {"type": "server_vad", "idle_timeout_ms": 5_000}
    async with home.open() as place:
        async with place.connected() as client:
            await client.configure(audio={"input": {"turn_detection": detection}})
            await client.say("Hello")
            await client.respond()
            for _ in range(2):
                await client.speak(0, silent_ms=5_000)
                await client.until("response.done")
            await client.speak(0, silent_ms=5_000)
            code, close, reason = await cut_despite_errors(client)
        assert (code, close) == ("session_limit_exceeded", 1008) and "3 times" in reason
        assert len(client.of("input_audio_buffer.timeout_triggered")) == 3
        assert len(await place.over()) == 4  # the last one was cancelled as it began


async def cut_despite_errors(client: Client) -> tuple[str, int, str]:
    """As `cut`, where the voice API may have complained before."""
    code, reason = await client.ended()
    return client.of("error")[-1]["error"]["code"], code, reason


async def test_a_user_who_answers_is_not_self_talk(home: Home) -> None:
    limit(home, LimitName.SELF_TALK, "1")
    async with home.open() as place:
        async with place.connected() as client:
            await client.configure()
            for _ in range(3):
                await client.say("Hello")
                await client.respond()
            await client.speak(500)
            await client.send("input_audio_buffer.commit")
            await client.respond()
        assert len(await place.over()) == 4


async def test_session_seconds_in_mid_response(home: Home) -> None:
    limit(home, LimitName.SESSION_SECONDS, "0.5")
    async with home.open(**SLOW) as place:
        async with place.connected() as client:
            await client.configure()
            await client.say("Give me 3000 words")
            await client.send("response.create")
            code, close, reason = await cut(client)
        assert (code, close) == ("session_limit_exceeded", 1008) and "0.5 s" in reason
        (entry,) = await place.over()
        assert (entry.status, entry.estimated) == ("cancelled", False)
        await counted(place, 'talkmeter_cuts_total{refusal="limit_session_seconds"} 1.0')


async def test_idle_seconds_though_bytes_flow(home: Home) -> None:
    limit(home, LimitName.IDLE_SECONDS, "0.8")
    async with home.open() as place:
        async with place.connected() as client:

            async def silence() -> None:
                while True:
                    await client.speak(0, silent_ms=100)
                    await asyncio.sleep(0.02)

            ended = asyncio.ensure_future(cut(client))
            with pytest.raises(websockets.ConnectionClosed):
                await silence()
            code, close, reason = await ended
        assert (code, close) == ("session_limit_exceeded", 1008) and "limit idle_seconds" in reason
        assert await place.over() == []


async def test_session_cost_in_mid_response(home: Home) -> None:
    limit(home, LimitName.SESSION_COST, "0.02")
    async with home.open(**SLOW) as place:
        async with place.connected() as client:
            await client.configure()
            await client.say("Give me 3000 words")
            await client.send("response.create")
            code, close, reason = await cut(client)
        assert (code, close) == ("session_limit_exceeded", 1008) and "$0.02" in reason
        (entry,) = await place.over()
        assert entry.status == "cancelled" and (entry.cost_nanousd or 0) >= 20_000_000


async def test_input_tokens(home: Home) -> None:
    limit(home, LimitName.INPUT_TOKENS, "500")
    async with home.open() as place:
        async with place.connected() as client:
            await client.configure()
            await client.say("word " * 1_000)
            await client.send("response.create")
            code, close, reason = await cut(client)
        assert (code, close) == ("session_limit_exceeded", 1008)
        assert await place.over() == []


@EVERY_HOME
async def test_concurrent_sessions(home: Home) -> None:
    limit(home, LimitName.SESSIONS, "1")
    async with home.open() as place:
        async with place.connected():
            with pytest.raises(websockets.InvalidStatus) as refused:
                async with place.connected():
                    pass
            assert refused.value.response.status_code == 429
            assert b"too_many_sessions" in (refused.value.response.body or b"")
        await until(lambda: not place.app.gateway.sessions)
        async with place.connected() as client:
            await client.configure()
        await counted(place, 'talkmeter_refusals_total{refusal="limit_sessions"} 1.0')


async def test_models(home: Home) -> None:
    """At the URL before anything is dialled, in `session.update` without ending the session."""
    rule(home, "gpt-realtime*", True)
    rule(home, "gpt-realtime-mini", False)
    async with home.open() as place:
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with place.connected("model=gpt-realtime-mini"):
                pass
        assert refused.value.response.status_code == 403
        assert b"model_not_allowed" in (refused.value.response.body or b"")
        async with place.connected() as client:
            await client.configure()
            await client.send("session.update", event_id="evt_1", session=transcribing("whisper-1"))
            error = (await client.until("error"))["error"]
            assert (error["code"], error["event_id"]) == ("model_not_allowed", "evt_1")
            await client.say("Hello")
            await client.respond()
        assert len(await place.over()) == 1


def transcribing(model: str) -> dict[str, Any]:
    return {"type": "realtime", "audio": {"input": {"transcription": {"model": model}}}}


async def test_a_change_reaches_a_session_that_runs(home: Home) -> None:
    async with home.open(**SLOW) as place:
        async with place.connected() as client:
            await client.configure()
            await client.say("Give me 3000 words")
            await client.send("response.create")
            await client.until("response.output_audio.delta")
            await asyncio.to_thread(rule, home, "gpt-realtime-2.1", False)
            loop = asyncio.get_running_loop()
            since = loop.time()
            code, close, _ = await cut(client)
            assert (code, close) == ("model_not_allowed", 1008)
            assert loop.time() - since < 10  # two seconds on an idle machine
        assert [entry.status for entry in await place.over()] == ["cancelled"]
