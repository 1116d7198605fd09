"""The agents package holds conversations with the simulator: by text, by voice, with a tool."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from agents import function_tool, set_tracing_disabled
from agents.realtime import RealtimeAgent, RealtimeRunner, RealtimeSession

from proxy.simulator import Simulator
from proxy.simulator.audio import silence, tone
from tests.simulator.talk import PATIENCE_S, bills, simulating

set_tracing_disabled(True)


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    return tmp_path / "truth.jsonl"


@function_tool
def get_weather(city: str) -> str:
    """Return the weather of a city."""
    return f"sunny in {city}"


@asynccontextmanager
async def running(simulator: Simulator, **agent: Any) -> AsyncIterator[RealtimeSession]:
    """A session whose URL names no model: it comes with the first `session.update`."""
    assistant: RealtimeAgent[Any] = RealtimeAgent(name="assistant", instructions="Be brief.", **agent)
    runner = RealtimeRunner(assistant)
    url = f"{simulator.url}/realtime"
    async with await runner.run(model_config={"url": url, "api_key": "sk-simulator"}) as session:
        yield session


async def turn(session: RealtimeSession, ends: int = 1) -> list[Any]:
    """Return the events until the agent has ended so many times; none of them is an error."""
    events: list[Any] = []
    async with asyncio.timeout(PATIENCE_S):
        async for event in session:
            events.append(event)
            assert event.type != "error", event
            ends -= event.type == "agent_end"
            if ends == 0:
                return events
    raise AssertionError("the session ended first")


def audio_bytes(events: list[Any]) -> int:
    return sum(len(event.audio.data) for event in events if event.type == "audio")


def is_transcription(event: Any) -> bool:
    return bool(event.type == "raw_model_event" and event.data.type == "input_audio_transcription_completed")


async def transcribed(session: RealtimeSession, times: int) -> None:
    """Return when so many more transcriptions have come."""
    async with asyncio.timeout(PATIENCE_S):
        while times > 0:
            times -= is_transcription(await anext(aiter(session)))


async def test_text_turns_with_speech_for_an_answer(truth: Path) -> None:
    async with simulating(truth) as simulator, running(simulator) as session:
        heard = []
        for text in ("Good morning", "How are you?"):
            await session.send_message(text)
            heard.append(audio_bytes(await turn(session)))
    assert [bill.model for bill in bills(truth)] == ["gpt-realtime-2.1"] * 2
    billed = [bill.usage["output_token_details"]["audio_tokens"] for bill in bills(truth) if bill.usage]
    assert heard == [tokens * 2_400 for tokens in billed]


async def test_speech_in_and_out_with_transcription(truth: Path) -> None:
    async with simulating(truth) as simulator, running(simulator) as session:
        heard = 0
        for _ in range(2):
            for piece in (tone(600), silence(700)):
                await session.send_audio(piece)
            events = await turn(session)
            heard += sum(is_transcription(event) for event in events)
            assert audio_bytes(events) > 0
        await transcribed(session, 2 - heard)
    transcriptions = [bill for bill in bills(truth) if bill.what == "transcription"]
    assert {bill.model for bill in transcriptions} == {"gpt-4o-mini-transcribe"}
    assert all(bill.usage and bill.usage["type"] == "tokens" for bill in transcriptions)


async def test_speaking_over_the_answer_interrupts_it(truth: Path) -> None:
    async with simulating(truth, speed=5) as simulator, running(simulator) as session:
        await session.send_message("Give me 900 words")
        async for event in session:
            if event.type == "audio":
                break
        await session.send_audio(tone(600))
        events = await turn(session)
        assert "audio_interrupted" in [event.type for event in events]
    assert [bill.status for bill in bills(truth)] == ["cancelled"]


async def test_a_tool_is_called_and_its_result_spoken(truth: Path) -> None:
    async with simulating(truth) as simulator, running(simulator, tools=[get_weather]) as session:
        await session.send_message("Please use get_weather")
        events = await turn(session, ends=2)
    (ended,) = [event for event in events if event.type == "tool_end"]
    assert ended.output == "sunny in sample"
    assert audio_bytes(events) > 0
    assert len(bills(truth)) == 2
