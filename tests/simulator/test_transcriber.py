"""Input transcription: asynchronous, billed on its own model, in tokens or seconds."""

from pathlib import Path

import pytest

from proxy.simulator.transcriber import KIND
from tests.simulator.talk import MODEL, Client, bills, connected, simulating


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    return tmp_path / "truth.jsonl"


async def speak_one_turn(client: Client, model: str) -> None:
    await client.configure(audio={"input": {"transcription": {"model": model}}})
    await client.speak(2_340)
    await client.send("input_audio_buffer.commit")


async def test_tokens(truth: Path) -> None:
    async with simulating(truth) as simulator, connected(simulator) as client:
        await speak_one_turn(client, "gpt-4o-transcribe")
        done = await client.until(f"{KIND}.completed")
        item_id = client.of("input_audio_buffer.committed")[0]["item_id"]
    assert "".join(event["delta"] for event in client.of(f"{KIND}.delta")) == done["transcript"]
    # "This is what I said for 2340 milliseconds." has 42 characters: 11 tokens
    assert done["usage"] == {
        "type": "tokens",
        "total_tokens": 35,
        "input_tokens": 24,
        "input_token_details": {"text_tokens": 0, "audio_tokens": 24},
        "output_tokens": 11,
    }
    (bill,) = bills(truth)
    # 24 × 6 + 11 × 10 = 254 per million
    assert (bill.what, bill.subject, bill.usd) == ("transcription", f"{item_id}:0", "0.000254")
    assert bill.model == "gpt-4o-transcribe"


@pytest.mark.parametrize(("model", "usd"), [("whisper-1", "0.000234"), ("gpt-realtime-whisper", "0.000663")])
async def test_seconds(truth: Path, model: str, usd: str) -> None:
    async with simulating(truth) as simulator, connected(simulator, "intent=transcription") as client:
        await client.until("session.created")
        audio = {"input": {"turn_detection": None, "transcription": {"model": model}}}
        await client.send("session.update", session={"type": "transcription", "audio": audio})
        shown = (await client.until("session.updated"))["session"]
        assert shown["type"] == "transcription" and "model" not in shown
        await client.speak(2_340)
        await client.send("input_audio_buffer.commit")
        done = await client.until(f"{KIND}.completed")
        await client.send("response.create", event_id="mine")
        refused = (await client.until("error"))["error"]
    assert done["usage"] == {"type": "duration", "seconds": 2.34}
    assert refused["event_id"] == "mine"
    assert [bill.usd for bill in bills(truth)] == [usd]  # 2.34 s × price per minute / 60


async def test_a_late_transcription_comes_after_its_response(truth: Path) -> None:
    async with (
        simulating(truth) as simulator,
        connected(simulator, f"{MODEL}&sim=late_transcription:0.5") as client,
    ):
        await speak_one_turn(client, "gpt-4o-mini-transcribe")
        await client.respond()
        assert not client.of(f"{KIND}.completed")
        await client.until(f"{KIND}.completed")
    assert [bill.what for bill in bills(truth)] == ["response", "transcription"]


async def test_a_transcription_without_usage(truth: Path) -> None:
    async with (
        simulating(truth) as simulator,
        connected(simulator, f"{MODEL}&sim=omit_transcription_usage", check=False) as client,
    ):
        await speak_one_turn(client, "gpt-4o-transcribe")
        done = await client.until(f"{KIND}.completed")
    assert "usage" not in done
    (bill,) = bills(truth)
    assert (bill.usage, bill.usd, bill.fault) == (None, None, "omit_transcription_usage")


async def test_a_transcription_that_fails_is_not_billed(truth: Path) -> None:
    async with (
        simulating(truth) as simulator,
        connected(simulator, f"{MODEL}&sim=fail_transcription") as client,
    ):
        await speak_one_turn(client, "gpt-4o-transcribe")
        failed = await client.until(f"{KIND}.failed")
    assert failed["error"]["code"] == "audio_unintelligible"
    assert bills(truth) == []
