"""The agents package holds conversations through Talkmeter: by text, by voice, with a tool."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from agents import function_tool, set_tracing_disabled
from agents.realtime import RealtimeAgent, RealtimeRunner, RealtimeSession
from websockets.exceptions import InvalidStatus

from proxy.simulator.audio import silence, tone
from tests.e2e.oracle import Booked
from tests.e2e.place import WAIT_S, Home, Place

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])
EVERY_LOOP = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])

set_tracing_disabled(True)


@function_tool
def get_weather(city: str) -> str:
    """Return the weather of a city."""
    return f"sunny in {city}"


@asynccontextmanager
async def running(place: Place, secret: str | None = None, **agent: Any) -> AsyncIterator[RealtimeSession]:
    """Run a session whose URL names no model: it comes with the first `session.update`."""
    assistant: RealtimeAgent[Any] = RealtimeAgent(name="assistant", instructions="Be brief.", **agent)
    model: Any = {"url": f"{place.ws_url}/realtime", "api_key": secret or place.home.secret}
    async with await RealtimeRunner(assistant).run(model_config=model) as session:
        yield session


async def turn(session: RealtimeSession, ends: int = 1) -> list[Any]:
    """Return the events until the agent has ended so many times; none of them is an error."""
    events: list[Any] = []
    async with asyncio.timeout(WAIT_S):
        async for event in session:
            events.append(event)
            assert event.type != "error", event
            ends -= event.type == "agent_end"
            if ends == 0:
                return events
    raise AssertionError("the session ended first")


def heard_tokens(events: list[Any]) -> int:
    """Return how many audio tokens were heard: 50 ms of PCM each."""
    return sum(len(event.audio.data) for event in events if event.type == "audio") // 2_400


def transcriptions(events: list[Any]) -> int:
    return sum(
        event.type == "raw_model_event" and event.data.type == "input_audio_transcription_completed"
        for event in events
    )


def responses(booked: list[Booked]) -> list[Booked]:
    return [entry for entry in booked if entry.kind == "response"]


@EVERY_LOOP
@pytest.mark.parametrize("home", ["plain", "tls"], indirect=True)
async def test_speech_in_and_out_with_transcription(home: Home) -> None:
    """The package appends audio with `type` last and turns transcription on by itself."""
    async with home.open() as place:
        async with running(place) as session:
            heard, transcribed = [], 0
            for _ in range(2):
                for piece in (tone(600), silence(700)):
                    await session.send_audio(piece)
                events = await turn(session)
                heard.append(heard_tokens(events))
                transcribed += transcriptions(events)
            async with asyncio.timeout(WAIT_S):
                while transcribed < 2:
                    transcribed += transcriptions([await anext(aiter(session))])
        booked = await place.over()
    assert [entry.lines["audio_out"] for entry in responses(booked)] == heard
    assert {entry.model for entry in responses(booked)} == {"gpt-realtime-2.1"}
    others = [entry for entry in booked if entry.kind == "transcription"]
    assert [entry.model for entry in others] == ["gpt-4o-mini-transcribe"] * 2


async def test_text_and_a_tool(home: Home) -> None:
    async with home.open() as place:
        async with running(place, tools=[get_weather]) as session:
            await session.send_message("Good morning")
            assert heard_tokens(await turn(session)) > 0
            await session.send_message("Please use get_weather")
            events = await turn(session, ends=2)
        (ended,) = [event for event in events if event.type == "tool_end"]
        assert ended.output == "sunny in sample"
        assert len(await place.over()) == 3


async def test_speaking_over_the_answer_interrupts_it(home: Home) -> None:
    async with home.open(speed=5) as place:
        async with running(place) as session:
            await session.send_message("Give me 900 words")
            async for event in session:
                if event.type == "audio":
                    break
            await session.send_audio(tone(600))
            events = await turn(session)
            assert "audio_interrupted" in [event.type for event in events]
        booked = await place.over()
        who = {"tenant": "acme", "model": "gpt-realtime-2.1"}
        value = place.app.metrics.registry.get_sample_value
        assert value("talkmeter_interruptions_total", who) == 1
        spoken = value("talkmeter_output_audio_seconds_total", who) or 0
        assert 0 < (value("talkmeter_unheard_audio_seconds_total", who) or 0) <= spoken  # the package says so
    assert [entry.status for entry in responses(booked)] == ["cancelled"]


async def test_an_unknown_key_comes_out_of_run(home: Home) -> None:
    async with home.open() as place:
        with pytest.raises(InvalidStatus) as refused:
            async with running(place, secret="tm_" + "x" * 43):
                raise AssertionError("this should be refused")
        assert refused.value.response.status_code == 401
        assert await place.over() == []
