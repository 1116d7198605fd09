"""The beta shape, event by event and in a whole turn."""

from proxy.simulator.beta import from_beta, to_beta
from proxy.simulator.config import Config
from proxy.simulator.options import Options
from tests.simulator.talk import connected, simulating

BETA = {"OpenAI-Beta": "realtime=v1"}


def test_events_are_renamed_or_dropped() -> None:
    assert to_beta({"type": "response.output_audio.done"}) == {"type": "response.audio.done"}
    assert to_beta({"type": "response.cancelled"}) == {"type": "response.cancelled"}
    assert to_beta({"type": "conversation.item.done", "item": {}}) is None
    item = {"type": "message", "content": [{"type": "output_audio", "transcript": "x"}]}
    assert to_beta({"type": "conversation.item.added", "item": item}) == {
        "type": "conversation.item.created",
        "item": {"type": "message", "content": [{"type": "audio", "transcript": "x"}]},
    }


def test_a_session_is_flat_and_back() -> None:
    config = Config(Options(), "realtime", None, kind_fixed=True)
    shown = to_beta({"type": "session.created", "session": config.show()})
    assert shown is not None
    flat = shown["session"]
    assert flat["input_audio_format"] == flat["output_audio_format"] == "pcm16"
    assert flat["modalities"] == ["text", "audio"]
    assert flat["turn_detection"]["type"] == "server_vad"
    flat["input_audio_format"] = "g711_ulaw"
    flat.pop("expires_at")
    config.update(from_beta(flat))
    assert config.show()["audio"]["input"]["format"] == {"type": "audio/pcmu"}


def test_what_is_no_object_stays_for_the_check_to_find() -> None:
    assert from_beta("text") == "text"


async def test_a_turn_in_the_beta_shape() -> None:
    async with (
        simulating(beta=True) as simulator,
        connected(simulator, headers=BETA, check=False) as client,
    ):
        session = (await client.until("session.created"))["session"]
        assert session["voice"] == "marin"
        await client.send("session.update", session={"turn_detection": None, "modalities": ["audio", "text"]})
        assert (await client.until("session.updated"))["session"]["turn_detection"] is None
        await client.speak(500)
        await client.send("input_audio_buffer.commit")
        await client.send("response.create", response={"modalities": ["audio", "text"]})
        done = (await client.until("response.done"))["response"]
    assert done["modalities"] == ["text", "audio"]
    assert done["output"][0]["content"][0]["type"] == "audio"
    assert done["usage"]["input_token_details"]["audio_tokens"] == 5
    assert "conversation.item.created" in client.kinds()
    assert client.of("response.audio.delta") and client.of("response.audio_transcript.delta")
    assert not [
        kind for kind in client.kinds() if "output_audio" in kind or kind == "conversation.item.added"
    ]
