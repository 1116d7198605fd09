"""Responses: streamed, stopped, cut short, and billed for what was generated."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest

from proxy.simulator import Options
from tests.simulator.talk import MODEL, Client, Event, bills, connected, simulating

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    return tmp_path / "truth.jsonl"


def audio_ms(client: Client) -> int:
    deltas = client.of("response.output_audio.delta")
    return sum(len(base64.b64decode(event["delta"])) for event in deltas) // 48


def output(response: Event) -> tuple[int, int]:
    """Return a response's output tokens: text and audio."""
    details = response["usage"]["output_token_details"]
    return details["text_tokens"], details["audio_tokens"]


async def test_the_events_of_a_spoken_answer_in_order() -> None:
    async with simulating() as simulator, connected(simulator, f"{MODEL}&sim=words:1") as client:
        await client.configure()
        await client.say("Hello")
        client.events.clear()
        done = await client.respond()
        await client.until("rate_limits.updated")
    assert client.kinds() == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio.delta",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]
    assert done["status"] == "completed" and done["status_details"] is None
    assert client.events[0]["response"]["status"] == "in_progress"
    assert done["output"][0]["content"] == [{"type": "output_audio", "transcript": "You"}]


async def test_audio_sent_is_audio_billed() -> None:
    async with simulating() as simulator, connected(simulator) as client:
        await client.say("Give me 23 words")
        done = await client.respond()
    assert output(done)[1] == 23 * 7
    assert audio_ms(client) == 23 * 7 * 50


async def test_a_written_answer() -> None:
    async with simulating() as simulator, connected(simulator) as client:
        await client.configure(output_modalities=["text"])
        await client.say("Good morning")
        done = await client.respond()
    assert (
        "".join(event["delta"] for event in client.of("response.output_text.delta"))
        == "You said: Good morning"
    )
    assert done["output"][0]["content"] == [{"type": "output_text", "text": "You said: Good morning"}]
    assert output(done) == (6, 0)  # 22 characters
    assert audio_ms(client) == 0


async def test_a_tool_is_called_and_its_answer_spoken() -> None:
    async with simulating() as simulator, connected(simulator) as client:
        await client.configure(tools=[WEATHER])
        await client.say("Please use the tool")
        done = await client.respond()
        (call,) = done["output"]
        assert (call["type"], call["name"], call["status"]) == ("function_call", "get_weather", "completed")
        assert json.loads(call["arguments"]) == {"city": "sample"}
        deltas = client.of("response.function_call_arguments.delta")
        assert "".join(event["delta"] for event in deltas) == call["arguments"]
        assert output(done) == (8, 0)  # "get_weather" is 3 tokens, '{"city": "sample"}' 5
        item = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
        await client.send("conversation.item.create", item=item)
        spoken = await client.respond()
    assert spoken["output"][0]["content"][0]["transcript"] == "The tool answered: sunny"


async def test_reasoning_is_inside_the_text_tokens() -> None:
    async with simulating() as simulator, connected(simulator, f"{MODEL}&sim=words:2") as client:
        await client.configure(reasoning={"effort": "low"})
        await client.say("Hello")
        done = await client.respond()
    assert done["usage"]["output_token_details"] == {
        "text_tokens": 16 + 3,  # "You said:" is 3
        "audio_tokens": 14,
        "reasoning_tokens": 16,
    }


@pytest.mark.parametrize("limit", [1, 5, 8, 9, 33, 100])
@pytest.mark.parametrize("modality", ["audio", "text"])
async def test_a_limit_is_met_to_the_token(limit: int, modality: str) -> None:
    async with simulating() as simulator, connected(simulator) as client:
        await client.say("Give me 500 words")
        done = await client.respond(max_output_tokens=limit, output_modalities=[modality])
    assert (done["status"], done["status_details"]["reason"]) == ("incomplete", "max_output_tokens")
    assert done["usage"]["output_tokens"] == limit
    assert done["output"][0]["status"] == "incomplete"
    assert output(done)[1] * 50 == audio_ms(client)


async def test_reasoning_can_use_up_the_limit() -> None:
    async with simulating() as simulator, connected(simulator) as client:
        await client.configure(reasoning={"effort": "high"}, max_output_tokens=100)
        done = await client.respond()
    assert (done["status"], done["output"], output(done)) == ("incomplete", [], (100, 0))


async def test_a_limit_that_is_not_reached_changes_nothing() -> None:
    async with simulating() as simulator, connected(simulator, f"{MODEL}&sim=words:2") as client:
        await client.say("Hello")
        done = await client.respond(max_output_tokens=17)  # exactly what it takes: 3 + 14
    assert done["status"] == "completed"


async def test_a_function_call_cut_short() -> None:
    async with simulating() as simulator, connected(simulator) as client:
        await client.configure(tools=[WEATHER])
        done = await client.respond(tool_choice="required", max_output_tokens=5)
    (call,) = done["output"]
    assert (done["status"], call["status"], call["arguments"]) == ("incomplete", "incomplete", '{"city":')
    assert done["usage"]["output_tokens"] == 5


async def cancelled(client: Client, deltas: int) -> Event:
    """Start a long answer, cancel it after so many deltas, and return its end."""
    await client.configure()
    await client.say("Give me 900 words")
    await client.send("response.create")
    await client.until("response.created")
    for _ in range(deltas):
        await client.until("response.output_audio.delta")
    await client.send("response.cancel")
    done: Event = (await client.until("response.done"))["response"]
    return done


async def test_a_cancelled_answer_bills_what_was_generated(truth: Path) -> None:
    async with simulating(truth, speed=5) as simulator, connected(simulator) as client:
        done = await cancelled(client, 3)
    assert (done["status"], done["status_details"]) == (
        "cancelled",
        {"type": "cancelled", "reason": "client_cancelled"},
    )
    assert done["output"][0]["status"] == "incomplete"
    transcript = done["output"][0]["content"][0]["transcript"]
    assert output(done) == (-(-len(transcript) // 4), audio_ms(client) // 50)
    assert 11 <= output(done)[1] < 900
    (bill,) = bills(truth)
    assert (bill.status, bill.usage) == ("cancelled", done["usage"])


async def test_tokens_generated_ahead_are_billed_though_never_sent() -> None:
    async with simulating(speed=5) as simulator, connected(simulator, f"{MODEL}&sim=ahead:40") as client:
        done = await cancelled(client, 1)
    assert output(done)[1] == audio_ms(client) // 50 + 40


@pytest.mark.parametrize(("early", "usage"), [("zero", 0), ("null", None), ("usage", 1)])
async def test_cancelled_before_any_output(truth: Path, early: str, usage: int | None) -> None:
    query = f"{MODEL}&sim=slow_response:30,early_cancel:{early}"
    async with simulating(truth) as simulator, connected(simulator, query) as client:
        done = await cancelled(client, 0)
    assert (done["status"], done["output"]) == ("cancelled", [])
    (bill,) = bills(truth)
    assert bill.usage == done["usage"]
    if usage is None:
        assert (done["usage"], bill.usd) == (None, None)
    elif usage == 0:
        assert (done["usage"]["total_tokens"], bill.usd) == (0, "0")
    else:
        assert done["usage"]["total_tokens"] == done["usage"]["input_tokens"] > 0


async def test_a_cancel_that_is_ignored() -> None:
    async with (
        simulating(speed=100) as simulator,
        connected(simulator, f"{MODEL}&sim=ignore_cancel,words:30") as client,
    ):
        done = await cancelled(client, 1)
    assert (done["status"], output(done)[1]) == ("completed", 30 * 7)


async def test_a_cancel_that_is_never_answered(truth: Path) -> None:
    async with (
        simulating(truth, speed=5) as simulator,
        connected(simulator, f"{MODEL}&sim=mute_cancel") as client,
    ):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(cancelled(client, 1), 0.5)
        await client.send("response.create")
        assert (await client.until("error"))["error"]["code"] == "conversation_already_has_active_response"
    assert bills(truth) == []


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [("content_filter", "incomplete", "content_filter"), ("fail:insufficient_quota", "failed", None)],
)
async def test_other_ends(truth: Path, fault: str, status: str, reason: str | None) -> None:
    async with simulating(truth) as simulator, connected(simulator, f"{MODEL}&sim={fault}") as client:
        await client.say("Give me 900 words")
        done = await client.respond()
    details: dict[str, Any] = done["status_details"]
    assert (done["status"], details.get("reason")) == (status, reason)
    if status == "failed":
        assert (done["usage"], details["error"]["code"]) == (None, "insufficient_quota")
    else:
        assert output(done)[1] == 7
    assert [bill.status for bill in bills(truth)] == [status]


async def test_speech_in_g711_costs_the_same_in_fewer_bytes() -> None:
    async with simulating() as simulator, connected(simulator, f"{MODEL}&sim=words:3") as client:
        await client.configure(audio={"output": {"format": {"type": "audio/pcmu"}}})
        done = await client.respond()
    sizes = [len(base64.b64decode(event["delta"])) for event in client.of("response.output_audio.delta")]
    assert output(done)[1] == 21
    assert sum(sizes) == 21 * 400
    assert done["audio"]["output"]["format"] == {"type": "audio/pcmu"}


def test_speed_has_a_default_faster_than_speech() -> None:
    assert Options().speed > 1
