"""The openai package holds conversations with the simulator, as an app would."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from openai.types.realtime import RealtimeResponse, RealtimeResponseUsage
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from proxy.simulator import Simulator
from proxy.simulator.audio import silence, tone
from tests.simulator.talk import bills, simulating

IMAGE = "data:image/png;base64,iVBORw0KGgo="
MANUAL: Any = {"input": {"turn_detection": None, "transcription": {"model": "gpt-4o-mini-transcribe"}}}
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    return tmp_path / "truth.jsonl"


@asynccontextmanager
async def connection(
    simulator: Simulator, *, key: str = "sk-simulator", **given: Any
) -> AsyncIterator[AsyncRealtimeConnection]:
    async with (
        openai.AsyncOpenAI(api_key=key, websocket_base_url=simulator.url) as client,
        client.realtime.connect(**({"model": "gpt-realtime-2.1"} | given)) as connected,
    ):
        yield connected


async def until(connected: AsyncRealtimeConnection, kind: str, seen: list[Any] | None = None) -> Any:
    async for event in connected:
        if seen is not None:
            seen.append(event)
        if event.type == kind:
            return event
    raise AssertionError(f"the connection ended before {kind}")


def sound(ms: int, silent_ms: int = 0) -> str:
    return base64.b64encode(tone(ms) + silence(silent_ms)).decode()


async def text_item(connected: AsyncRealtimeConnection, text: str, *more: Any) -> None:
    content: Any = [*more, {"type": "input_text", "text": text}]
    await connected.conversation.item.create(item={"type": "message", "role": "user", "content": content})


async def finished(connected: AsyncRealtimeConnection, seen: list[Any] | None = None) -> RealtimeResponse:
    done = await until(connected, "response.done", seen)
    response: RealtimeResponse = done.response
    return response


async def test_manual_turns_with_growing_context(truth: Path) -> None:
    async with simulating(truth) as simulator, connection(simulator) as connected:
        await connected.session.update(session={"type": "realtime", "audio": MANUAL})
        usages: list[RealtimeResponseUsage] = []
        for _ in range(3):
            await connected.input_audio_buffer.append(audio=sound(2_000))
            await connected.input_audio_buffer.commit()
            await connected.response.create()
            seen: list[Any] = []
            response = await finished(connected, seen)
            audio = sum(
                len(base64.b64decode(e.delta)) for e in seen if e.type == "response.output_audio.delta"
            )
            assert response.usage is not None and response.usage.output_token_details is not None
            assert response.usage.output_token_details.audio_tokens == audio // 2_400
            usages.append(response.usage)
        read = [usage.input_tokens or 0 for usage in usages]
        assert read[0] < read[1] < read[2]
        assert usages[2].input_token_details is not None
        assert (usages[2].input_token_details.cached_tokens or 0) >= 64
        await until_all_transcribed(connected, truth)
    kinds = [bill.what for bill in bills(truth)]
    assert (kinds.count("response"), kinds.count("transcription")) == (3, 3)


async def until_all_transcribed(connected: AsyncRealtimeConnection, truth: Path) -> None:
    """Read until the third transcription has been billed; the last may have come with the last answer."""
    while [bill.what for bill in bills(truth)].count("transcription") < 3:
        await connected.recv()


async def test_turns_by_voice_detection() -> None:
    async with simulating() as simulator, connection(simulator) as connected:
        for _ in range(2):
            await connected.input_audio_buffer.append(audio=sound(700, 500))
            seen: list[Any] = []
            response = await finished(connected, seen)
            assert response.status == "completed"
            kinds = [event.type for event in seen]
            assert "input_audio_buffer.speech_started" in kinds and "input_audio_buffer.committed" in kinds


async def test_a_tool() -> None:
    async with simulating() as simulator, connection(simulator) as connected:
        await connected.session.update(session={"type": "realtime", "tools": [WEATHER]})
        await text_item(connected, "What does the tool say?")
        await connected.response.create()
        call = ((await finished(connected)).output or [])[0]
        assert call.type == "function_call" and call.call_id
        await connected.conversation.item.create(
            item={"type": "function_call_output", "call_id": call.call_id, "output": "12 degrees"}
        )
        await connected.response.create()
        seen: list[Any] = []
        await finished(connected, seen)
        said = [event.transcript for event in seen if event.type == "response.output_audio_transcript.done"]
    assert said == ["The tool answered: 12 degrees"]


async def test_an_image_and_an_out_of_band_response(truth: Path) -> None:
    async with simulating(truth) as simulator, connection(simulator) as connected:
        await text_item(
            connected, "What is this?", {"type": "input_image", "image_url": IMAGE, "detail": "low"}
        )
        await connected.response.create()
        response = await finished(connected)
        assert response.usage is not None and response.usage.input_token_details is not None
        assert response.usage.input_token_details.image_tokens == 85
        await connected.response.create(
            response={
                "conversation": "none",
                "output_modalities": ["text"],
                "input": [],
                "metadata": {"a": "b"},
            }
        )
        apart = await finished(connected)
    assert apart.conversation_id is None and apart.metadata == {"a": "b"}
    assert len(bills(truth)) == 2


async def test_a_cancel(truth: Path) -> None:
    async with simulating(truth, speed=5) as simulator, connection(simulator) as connected:
        await text_item(connected, "Give me 900 words")
        await connected.response.create()
        await until(connected, "response.output_audio.delta")
        await connected.response.cancel()
        response = await finished(connected)
    assert response.status == "cancelled" and response.status_details is not None
    assert response.status_details.reason == "client_cancelled"
    assert [bill.status for bill in bills(truth)] == ["cancelled"]


async def test_a_transcription_session(truth: Path) -> None:
    given: Any = {"model": openai.omit, "extra_query": {"intent": "transcription"}}
    async with simulating(truth) as simulator, connection(simulator, **given) as connected:
        audio: Any = {"input": {"turn_detection": None, "transcription": {"model": "gpt-realtime-whisper"}}}
        await connected.session.update(session={"type": "transcription", "audio": audio})
        await connected.input_audio_buffer.append(audio=sound(3_400))
        await connected.input_audio_buffer.commit()
        done = await until(connected, "conversation.item.input_audio_transcription.completed")
    assert (done.usage.type, done.usage.seconds) == ("duration", 3.4)
    assert [bill.usd for bill in bills(truth)] == ["0.000963333"]  # 3.4 × 0.017 / 60


async def test_errors_are_events_and_not_the_end() -> None:
    async with simulating() as simulator, connection(simulator) as connected:
        await connected.input_audio_buffer.commit()
        error = await until(connected, "error")
        assert error.error.code == "input_audio_buffer_commit_empty"
        await connected.response.create()
        assert (await finished(connected)).status == "completed"


async def test_a_bad_key_is_an_event_and_a_close() -> None:
    async with simulating() as simulator, connection(simulator, key="sk-wrong") as connected:
        event = await connected.recv()
        assert event.type == "error" and event.error.code == "invalid_api_key"
        with pytest.raises(ConnectionClosedError, match="3000"):
            await connected.recv()


async def test_a_refusal_over_http_is_an_exception() -> None:
    async with simulating(refuse_http=(402, "{}")) as simulator:
        with pytest.raises(InvalidStatus):
            async with connection(simulator):
                pass
