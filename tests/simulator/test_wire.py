"""What can go wrong on the connection, seen from the other end."""

import asyncio
import base64
import json
from pathlib import Path

import pytest
import websockets

from proxy.simulator import read
from tests.simulator.talk import KEY, MODEL, Client, bills, connected, simulating


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    return tmp_path / "truth.jsonl"


async def start(client: Client) -> None:
    await client.configure()
    await client.say("Tell me 40 words")
    await client.send("response.create")


@pytest.mark.parametrize(
    ("fault", "end"),
    [
        ("abort_after_audio:3", (1006, "")),
        ("drop_after_audio:3", (1006, "")),
        ("close_after_audio:3", (1011, "server_error.internal_error")),
        ("abort_before_done", (1006, "")),
    ],
)
async def test_a_session_lost_in_mid_response_bills_nothing(
    truth: Path, fault: str, end: tuple[int, str]
) -> None:
    async with simulating(truth) as simulator, connected(simulator, f"{MODEL}&sim={fault}") as client:
        await start(client)
        assert await client.ended() == end
    assert [line.what for line in read(truth)] == ["opened"]
    audio = len(client.of("response.output_audio.delta"))
    if not fault.startswith("abort"):  # a reset may destroy what was not read yet
        assert audio == 3


async def test_a_reset_behind_the_bill_leaves_the_bill(truth: Path) -> None:
    async with (
        simulating(truth) as simulator,
        connected(simulator, f"{MODEL}&sim=abort_after_done") as client,
    ):
        await start(client)
        assert await client.ended() == (1006, "")
    assert [bill.status for bill in bills(truth)] == ["completed"]


async def test_a_reset_is_a_reset(truth: Path) -> None:
    """The peer sees ECONNRESET, not an orderly end."""
    async with simulating(truth) as simulator:
        url = f"ws://127.0.0.1:{simulator.port}/v1/realtime?{MODEL}&sim=abort_before_done,words:1"
        headers = {"Authorization": f"Bearer {KEY}"}
        async with websockets.connect(url, additional_headers=headers, proxy=None) as connection:
            await connection.send(json.dumps({"type": "response.create"}))
            with pytest.raises(websockets.ConnectionClosedError) as caught:
                while True:
                    await asyncio.wait_for(connection.recv(), 20)
    assert isinstance(caught.value.__cause__, ConnectionResetError)


async def test_a_stall_says_nothing_more_and_bills_nothing(truth: Path) -> None:
    async with (
        simulating(truth) as simulator,
        connected(simulator, f"{MODEL}&sim=stall_after_audio:2") as client,
    ):
        await start(client)
        await client.until("response.output_audio.delta")
        await client.until("response.output_audio.delta")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.connection.recv(), 0.2)
    assert [line.what for line in read(truth)] == ["opened"]


async def test_a_stall_from_the_start(truth: Path) -> None:
    async with (
        simulating(truth) as simulator,
        connected(simulator, f"{MODEL}&sim=stall_after_audio:0") as client,
    ):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.connection.recv(), 0.2)


async def test_fragmented_messages_are_whole_at_the_end() -> None:
    async with (
        simulating() as simulator,
        connected(simulator, f"{MODEL}&sim=fragment:100") as client,
    ):
        fragments = [fragment async for fragment in client.connection.recv_streaming()]
        assert len(fragments) > 1
        assert json.loads("".join(map(str, fragments)))["type"] == "session.created"
        await start(client)
        await client.until("response.done")


async def test_obfuscation_rides_on_audio_deltas() -> None:
    async with simulating() as simulator, connected(simulator, f"{MODEL}&sim=obfuscation") as client:
        await start(client)
        await client.until("response.done")
    deltas = client.of("response.output_audio.delta")
    assert deltas and all(len(delta["obfuscation"]) == 16 for delta in deltas)


async def test_an_audio_delta_starts_with_its_type() -> None:
    async with simulating() as simulator, connected(simulator) as client:
        await client.send("response.create")
        while True:
            text = str(await asyncio.wait_for(client.connection.recv(), 20))
            if "output_audio.delta" in text:
                break
    assert text.startswith('{"type":"response.output_audio.delta","event_id":"event_')
    assert len(base64.b64decode(json.loads(text)["delta"])) == 4 * 2_400
