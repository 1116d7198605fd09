"""Conversations over a plain WebSocket, every event checked by the SDK's types, usage by hand."""

import asyncio
import gc
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.protocol import State

from proxy.simulator import read, total_usd
from proxy.simulator.config import Config
from proxy.simulator.faults import Faults
from proxy.simulator.options import Options
from proxy.simulator.session import Session
from proxy.simulator.truth import TruthFile
from tests.simulator.talk import MODEL, Client, Event, bills, connected, simulating

IMAGE = "data:image/png;base64,iVBORw0KGgo="


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    return tmp_path / "truth.jsonl"


def usage(text: int, audio: int, cached: tuple[int, int], out: tuple[int, int], image: int = 0) -> Event:
    read_tokens, generated = text + audio + image, sum(out)
    return {
        "total_tokens": read_tokens + generated,
        "input_tokens": read_tokens,
        "output_tokens": generated,
        "input_token_details": {
            "text_tokens": text,
            "audio_tokens": audio,
            "image_tokens": image,
            "cached_tokens": sum(cached),
            "cached_tokens_details": {
                "text_tokens": cached[0],
                "audio_tokens": cached[1],
                "image_tokens": 0,
            },
        },
        "output_token_details": {"text_tokens": out[0], "audio_tokens": out[1]},
    }


async def test_two_manual_turns_worked_out_by_hand(truth: Path) -> None:
    async with (
        simulating(truth, cache_step=8, cache_minimum=8) as simulator,
        connected(simulator, f"{MODEL}&sim=words:2") as client,
    ):
        await client.configure(instructions="Answer in one word.")
        await client.speak(2_300)
        await client.send("input_audio_buffer.commit")
        first = await client.respond()
        await client.say("Tell me more")
        second = await client.respond()
    # instructions 19 characters = 5; audio 2300 ms = 23; out "I heard" = 2 text and 2 × 7 audio
    assert first["usage"] == usage(5, 23, (0, 0), (2, 14))
    # + the answer (2 text, 14 audio) + "Tell me more" = 3. Shared before: 5 + 23 = 28, in steps of 8: 24
    assert second["usage"] == usage(10, 37, (5, 19), (3, 14))
    # first: 5×4 + 23×32 + 2×24 + 14×64 = 20 + 736 + 48 + 896 = 1700
    # second: 5×4 + 5×0.4 + 18×32 + 19×0.4 + 3×24 + 14×64 = 20 + 2 + 576 + 7.6 + 72 + 896 = 1573.6
    assert [bill.usd for bill in bills(truth)] == ["0.0017", "0.0015736"]
    assert total_usd(read(truth)) == Decimal("0.0032736")


async def test_the_cache_grows_in_steps_and_breaks_in_front(truth: Path) -> None:
    async with simulating(truth) as simulator, connected(simulator, f"{MODEL}&sim=words:1") as client:
        await client.configure(instructions="x" * 400)  # 100 tokens
        spoken = []
        for _ in range(3):
            await client.speak(5_000)  # 50 tokens each
            await client.send("input_audio_buffer.commit")
            spoken.append((await client.respond())["usage"])
        await client.configure(instructions="y" * 400)
        await client.say("Hello")
        after_change = (await client.respond())["usage"]
    # read: 100+50; then +1+7+50; then +1+7+50. The common prefix is always what was read before.
    assert spoken == [
        usage(100, 50, (0, 0), (1, 7)),
        usage(101, 107, (100, 28), (1, 7)),  # 150 shared → 128
        usage(102, 164, (101, 91), (1, 7)),  # 208 shared → 192
    ]
    assert after_change["input_token_details"]["cached_tokens"] == 0


async def test_deleting_and_truncating_break_the_cache_where_they_are(truth: Path) -> None:
    async with (
        simulating(truth, cache_step=1, cache_minimum=1) as simulator,
        connected(simulator, f"{MODEL}&sim=words:4") as client,
    ):
        await client.configure(instructions="")
        first = await client.say("one")
        await client.say("two")
        answer = (await client.respond())["output"][0]
        await client.send(
            "conversation.item.truncate", item_id=answer["id"], content_index=0, audio_end_ms=300
        )
        await client.until("conversation.item.truncated")
        truncated = (await client.respond())["usage"]
        await client.send("conversation.item.delete", item_id=first["id"])
        await client.until("conversation.item.deleted")
        deleted = (await client.respond())["usage"]
    # "one" + "two" = 2, shared; the answer has become 300 ms = 6 tokens without a transcript
    assert truncated["input_token_details"] == usage(2, 6, (2, 0), (0, 0))["input_token_details"]
    assert deleted["input_token_details"]["cached_tokens"] == 0


async def test_another_model_reads_everything_anew() -> None:
    async with (
        simulating(cache_step=1, cache_minimum=1) as simulator,
        connected(simulator, f"{MODEL}&sim=words:1") as client,
    ):
        await client.respond()
        await client.configure(model="gpt-realtime-2.1-mini")
        other = (await client.respond())["usage"]
        same = (await client.respond())["usage"]
    assert other["input_token_details"]["cached_tokens"] == 0
    assert same["input_token_details"]["cached_tokens"] == other["input_tokens"]


async def test_an_image_worked_out_by_hand(truth: Path) -> None:
    async with simulating(truth) as simulator, connected(simulator, f"{MODEL}&sim=words:1") as client:
        await client.configure(instructions="")
        image = {"type": "input_image", "image_url": IMAGE, "detail": "high"}
        text = {"type": "input_text", "text": "What is this?"}
        await client.say("", content=[image, text])
        done = await client.respond()
    # 323 of image, 13 characters = 4; out "I" = 1 text and 7 audio: 323×5 + 4×4 + 24 + 448 = 2103
    assert done["usage"] == usage(4, 0, (0, 0), (1, 7), image=323)
    assert [bill.usd for bill in bills(truth)] == ["0.002103"]


async def test_server_vad_answers_by_itself(truth: Path) -> None:
    async with simulating(truth) as simulator, connected(simulator, f"{MODEL}&sim=words:1") as client:
        await client.until("session.created")
        await client.speak(1_000, silent_ms=400)
        started = await client.until("input_audio_buffer.speech_started")
        stopped = await client.until("input_audio_buffer.speech_stopped")
        done = (await client.until("response.done"))["response"]
    assert (started["audio_start_ms"], stopped["audio_end_ms"]) == (0, 1_200)
    committed = client.of("input_audio_buffer.committed")[0]["item_id"]
    assert started["item_id"] == stopped["item_id"] == committed
    assert done["usage"]["input_token_details"]["audio_tokens"] == 12


async def test_a_turn_that_asks_for_no_answer() -> None:
    async with simulating() as simulator, connected(simulator) as client:
        await client.configure(
            audio={"input": {"turn_detection": {"type": "server_vad", "create_response": False}}}
        )
        await client.speak(500, silent_ms=400)
        await client.until("conversation.item.done")
        done = await client.respond()
    assert len(client.of("response.created")) == 1
    assert done["usage"]["input_token_details"]["audio_tokens"] == 7


@pytest.mark.parametrize("kind", ["server_vad", "semantic_vad"])
async def test_speaking_over_an_answer_interrupts_it(truth: Path, kind: str) -> None:
    async with simulating(truth, speed=5) as simulator, connected(simulator) as client:
        await client.configure(audio={"input": {"turn_detection": {"type": kind}}})
        await client.say("Give me 900 words")
        await client.send("response.create")
        await client.until("response.output_audio.delta")
        await client.speak(400, silent_ms=800)
        interrupted = (await client.until("response.done"))["response"]
        await client.send("response.cancel")
        await client.until("response.done")
    assert (interrupted["status"], interrupted["status_details"]["reason"]) == ("cancelled", "turn_detected")
    assert 0 < interrupted["usage"]["output_token_details"]["audio_tokens"] < 900 * 7
    order = [
        kind
        for kind in client.kinds()
        if kind.endswith(("speech_started", "response.done", "speech_stopped"))
    ]
    assert order.index("input_audio_buffer.speech_started") < order.index("response.done")
    assert len(client.of("response.created")) == 2
    assert [bill.status for bill in bills(truth)][0] == "cancelled"


async def test_speech_that_may_not_interrupt_finds_the_conversation_busy() -> None:
    detection = {"type": "server_vad", "interrupt_response": False}
    async with simulating(speed=5) as simulator, connected(simulator) as client:
        await client.configure(audio={"input": {"turn_detection": detection}})
        await client.say("Give me 900 words")
        await client.send("response.create")
        await client.until("response.output_audio.delta")
        await client.speak(400, silent_ms=400)
        refused = (await client.until("error"))["error"]
    assert refused["code"] == "conversation_already_has_active_response"
    assert not client.of("response.done")


async def test_out_of_band_responses_leave_the_conversation_alone(truth: Path) -> None:
    async with simulating(truth, speed=5) as simulator, connected(simulator) as client:
        await client.configure(instructions="Be kind.")
        await client.say("Give me 900 words")
        await client.send("response.create")
        active = (await client.until("response.created"))["response"]["id"]
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Classify"}]}
        apart: dict[str, Any] = {
            "conversation": "none",
            "output_modalities": ["text"],
            "instructions": "Say ok.",
            "input": [item],
            "metadata": {"topic": "x"},
        }
        done = await client.respond(**apart)
        await client.send("response.cancel", response_id=active)
        await client.until("response.done")
    assert (done["conversation_id"], done["metadata"]) == (None, {"topic": "x"})
    assert done["usage"] == usage(4, 0, (0, 0), (5, 0))  # "Say ok." + "Classify"; "You said: Classify"
    added = [event["item"]["id"] for event in client.of("conversation.item.added")]
    assert done["output"][0]["id"] not in added
    assert {bill.status for bill in bills(truth)} == {"completed", "cancelled"}


async def test_an_out_of_band_response_can_read_items_by_reference() -> None:
    async with simulating() as simulator, connected(simulator) as client:
        item = await client.say("Remember me")
        given = {
            "conversation": "none",
            "instructions": "",
            "input": [{"type": "item_reference", "id": item["id"]}],
        }
        done = await client.respond(**given)
    assert done["usage"]["input_tokens"] == 3


async def test_items_are_retrieved_with_their_sound() -> None:
    async with simulating() as simulator, connected(simulator) as client:
        await client.configure()
        await client.speak(20_000)
        await client.send("input_audio_buffer.commit")
        item_id = (await client.until("input_audio_buffer.committed"))["item_id"]
        await client.send("conversation.item.retrieve", item_id=item_id)
        item = (await client.until("conversation.item.retrieved"))["item"]
    assert len(item["content"][0]["audio"]) == 20 * 48_000 * 4 // 3


async def test_old_items_leave_a_small_context() -> None:
    async with (
        simulating(context_tokens=200) as simulator,
        connected(simulator, f"{MODEL}&sim=words:1") as client,
    ):
        await client.configure(instructions="")
        for _ in range(4):
            await client.say("x" * 320)  # 80 tokens
            done = await client.respond()
        await client.configure(truncation="disabled")
        await client.say("x" * 320)
        await client.send("response.create", event_id="too much")
        refused = (await client.until("error"))["error"]
    assert done["usage"]["input_tokens"] <= 200
    assert (refused["code"], refused["event_id"]) == ("context_length_exceeded", "too much")


async def refusal(client: Client, message: str | bytes) -> Event:
    await client.connection.send(message)
    error: Event = (await client.until("error"))["error"]
    return error


@pytest.mark.parametrize(
    ("message", "code", "event_id"),
    [
        ("not json", "invalid_json", None),
        ("[" * 100_000, "invalid_json", None),
        ("[]", "invalid_event", None),
        ('{"event_id":"e1"}', "invalid_event", None),
        ('{"type":"response.sing","event_id":"e1"}', "invalid_value", "e1"),
        (b"\x00\x01", "invalid_event", None),
        ('{"type":"input_audio_buffer.append","audio":"%","event_id":"e1"}', "invalid_value", "e1"),
        ('{"type":"input_audio_buffer.append","audio":7}', "invalid_value", None),
        ('{"type":"input_audio_buffer.commit"}', "input_audio_buffer_commit_empty", None),
        ('{"type":"response.cancel"}', "response_cancel_not_active", None),
        ('{"type":"response.cancel","response_id":"resp_x"}', "response_cancel_not_active", None),
        ('{"type":"conversation.item.delete","item_id":"x"}', "item_delete_invalid_item_id", None),
        ('{"type":"conversation.item.retrieve"}', "item_retrieve_invalid_item_id", None),
        ('{"type":"session.update","session":{"model":"gpt-surprise"}}', "model_not_found", None),
        ('{"type":"response.create","response":{"input":[1]}}', "invalid_type", None),
    ],
)
async def test_mistakes_are_answered_and_the_session_goes_on(
    message: str | bytes, code: str, event_id: str | None
) -> None:
    async with simulating() as simulator, connected(simulator) as client:
        error = await refusal(client, message)
        assert (error["code"], error["event_id"]) == (code, event_id)
        await client.say("Still there?")


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "session.update", "session": {"reasoning": {"effort": []}}},
        {"type": "session.update", "session": {"audio": {"input": {"format": {"type": []}}}}},
        {"type": "response.create", "response": {"audio": [1]}},
        {"type": "conversation.item.create", "item": {"type": "message", "role": [], "content": []}},
    ],
)
async def test_values_of_the_wrong_type_end_nothing(fields: dict[str, Any]) -> None:
    async with simulating() as simulator, connected(simulator) as client:
        kind = fields.pop("type")
        await client.send(kind, **fields)
        await client.say("Still there?")
        assert (await client.respond())["status"] in ("completed", "failed")


async def test_a_second_response_is_refused_while_one_is_active() -> None:
    async with simulating(speed=5) as simulator, connected(simulator) as client:
        await client.say("Give me 900 words")
        await client.send("response.create")
        await client.until("response.created")
        error = await refusal(client, '{"type":"response.create","event_id":"second"}')
        assert (error["code"], error["event_id"]) == ("conversation_already_has_active_response", "second")
        await client.send("response.cancel")
        await client.send("response.create")  # waits for the cancelled one
        await client.until("response.done")
        await client.until("response.created")


async def test_clearing_the_buffer_leaves_nothing_to_commit() -> None:
    async with simulating() as simulator, connected(simulator) as client:
        await client.configure()
        await client.speak(500)
        await client.send("input_audio_buffer.clear")
        await client.until("input_audio_buffer.cleared")
        error = await refusal(client, '{"type":"input_audio_buffer.commit"}')
    assert error["code"] == "input_audio_buffer_commit_empty"


async def test_a_session_expires() -> None:
    async with simulating() as simulator, connected(simulator, f"{MODEL}&sim=expire:0.05") as client:
        assert await client.ended() == (1001, "session_expired")
    assert client.events[-1]["error"]["code"] == "session_expired"


class Leaving:
    """A connection that is lost behind `session.created`."""

    state = State.OPEN

    async def send(self, text: str) -> None:
        assert "session.created" in text

    def __aiter__(self) -> AsyncIterator[str]:
        raise ConnectionClosedError(None, None)


async def test_a_client_that_is_lost_at_once() -> None:
    """The session ends before anything beside it has begun; nothing is left behind unawaited."""
    options = Options()
    config = Config(options, "realtime", None, kind_fixed=True)
    await Session(Leaving(), options, Faults(), TruthFile(None), config).run()  # type: ignore[arg-type]
    gc.collect()


async def test_200_sessions_at_once(truth: Path) -> None:
    async with simulating(truth) as simulator:

        async def one() -> None:
            async with connected(simulator, f"{MODEL}&sim=words:4", check=False) as client:
                await client.speak(300, silent_ms=300)
                await client.until("response.done")

        await asyncio.gather(*(one() for _ in range(200)))
        assert simulator.sessions == 200
    assert len({bill.session for bill in bills(truth)}) == 200
    assert {bill.usd for bill in bills(truth)} == {bills(truth)[0].usd}
